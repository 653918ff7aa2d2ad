"""What the assets share: which bucket and which lake, opened for one step.

Belongs here: configuration, and turning the library's progress and errors into Dagster's.
Does not: any work on the data.
"""

import contextlib
import time
from collections.abc import Iterator

import dagster as dg

from pipelines import retries
from warehouse.errors import UsageError
from warehouse.settings import LAKE_VARIABLE, SOURCE_VARIABLE, load
from warehouse.steps import Progress, Run, opened

_SECONDS_BETWEEN_LINES = 10.0


class ChestWarehouse(dg.ConfigurableResource[None]):
    """A bucket and the lake it is loaded into; what is left empty, the environment says at run time."""

    source: str = ""
    lake: str = ""
    first_wait: float = retries.FIRST_WAIT  # seconds until a step that may heal is tried again

    @contextlib.contextmanager
    def opened(self, context: dg.AssetExecutionContext, prefix: str = "") -> Iterator[Run]:
        """Open bucket and lake for one step of this Dagster run; dg.Failure with the one line that helps.

        Faults of the program keep their traceback.
        """
        with retries.healing(context, self.first_wait):
            settings = load()
            source = self.source or settings.source
            if not source:
                raise UsageError(
                    f"No bucket is named. Set {SOURCE_VARIABLE} to s3://BUCKET[/PREFIX] or a folder "
                    f"(and {LAKE_VARIABLE} to the lake, unless it is {settings.lake})."
                )
            with opened(
                source,
                self.lake or settings.lake,
                prefixes=(prefix,),
                refresh_id=context.run.run_id,
                settings=settings,
                progress=_logged(context),
            ) as run:
                yield run


def _logged(context: dg.AssetExecutionContext) -> Progress:
    """Progress as a line in the run's log every ten seconds; steps shorter than that say nothing."""
    said = time.monotonic()

    def report(step: str, done: int, total: int) -> None:
        nonlocal said
        if (now := time.monotonic()) - said >= _SECONDS_BETWEEN_LINES:
            said = now
            context.log.info(f"{step}: {done:,}" + (f" of {total:,}" if total else ""))

    return report
