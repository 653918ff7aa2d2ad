"""What the assets share: which buckets and which lake, opened for one step.

Belongs here: configuration, and turning the library's progress and errors into Dagster's.
Does not: any work on the data.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import dagster as dg

import warehouse
from pipelines import retries
from pipelines.settings import load_pipeline_settings
from warehouse.api import Warehouse
from warehouse.errors import UsageError
from warehouse.ingest import BucketRun, Run, open_lake_run, open_run
from warehouse.masking import has_login, mask_within
from warehouse.progress import Progress
from warehouse.query.session import attach_as
from warehouse.settings import (
    AGREEMENT_VARIABLE,
    LAKE_VARIABLE,
    SOURCE_VARIABLE,
    SUPPRESS,
    Settings,
    load_settings,
    load_suppress,
)

_SECONDS_BETWEEN_LINES = 10.0

Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext


class ChestWarehouse(dg.ConfigurableResource[None]):
    """Buckets and the lake they are loaded into; empty fields are taken from the environment at run time."""

    source: str = ""
    lake: str = ""
    first_wait: float = retries.FIRST_WAIT  # seconds until a step that may heal is tried again
    manifests: str = ""
    engine: str = ""  # a Spark cluster that loads many objects: sc://HOST:15002, spark://HOST:7077, yarn
    encrypted: bool = False  # a new lake is made with encrypted files, and no other is written
    layout: str = ""  # of the keys (CHEST_LAYOUT); empty: as the environment or the lake has it
    sources: dict[str, str] = {}  # noqa: RUF012 - pydantic copies it

    def __repr_args__(self) -> list[tuple[str | None, object]]:
        """What it is configured with, without secrets."""
        return [(name, mask_within(value)) for name, value in super().__repr_args__()]

    def refuse_logins(self) -> None:
        """UsageError for a field with a login: Dagster keeps what a resource is configured with, and shows it."""
        given = {name: getattr(self, name) for name in ("source", "lake", "engine")}
        given |= {f"sources[{name!r}]": address for name, address in self.sources.items()}
        for name, value in given.items():
            if not isinstance(value, dg.EnvVar) and has_login(value):
                raise UsageError(
                    f"{name} of the resource chest has a login, which Dagster would keep and show. Leave it to the "
                    f'environment ({LAKE_VARIABLE}, {SOURCE_VARIABLE}), or give dg.EnvVar("NAME").'
                )

    @property
    def settings(self) -> Settings:
        """The settings as they are now."""
        found = load_settings()
        found = replace(found, layout=self.layout) if self.layout else found
        return replace(found, encrypted=int(self.encrypted or found.encrypted), engine=self.engine or found.engine)

    @property
    def folder(self) -> Path:
        """Where manifests and reports go."""
        return Path(self.manifests or load_pipeline_settings().manifests)

    def address(self, name: str = "") -> str:
        """The bucket of a source; UsageError names the variable to set."""
        settings = self.settings
        found = self.sources.get(name, "") if name else self.source or settings.source
        if not found:
            raise UsageError(
                f"No bucket is named. Set {SOURCE_VARIABLE} to s3://BUCKET[/PREFIX] or a folder "
                f"(and {LAKE_VARIABLE} to the lake, unless it is {settings.lake})."
            )
        return found

    @contextlib.contextmanager
    def opened(
        self,
        context: dg.AssetExecutionContext,
        name: str = "",
        prefixes: Sequence[str] = (),
        patients: Sequence[str] = (),
        changed_prefixes: Sequence[str] = (),
    ) -> Iterator[BucketRun]:
        """Open the bucket of a source and the lake for one step of this Dagster run; dg.Failure with the one line
        that helps. Faults of the program keep their traceback.
        """
        with (
            retries.retry_when_healing(context, self.first_wait),
            open_run(
                self.address(name),
                self.lake or self.settings.lake,
                prefixes=prefixes,
                patients=patients,
                changed_prefixes=changed_prefixes,
                refresh_id=context.run.run_id,
                add_source=bool(name),  # named in CHEST_SOURCES, so it is asked for
                settings=self.settings,
                progress=_log_progress(context),
            ) as run,
        ):
            yield run

    @contextlib.contextmanager
    def publishing(self, context: dg.AssetExecutionContext) -> Iterator[Run]:
        """Open the lake alone, to publish; errors as above."""
        with (
            retries.retry_when_healing(context, self.first_wait),
            open_lake_run(
                ", ".join([self.address(name) for name in self.sources] or [self.address()]),
                self.lake or self.settings.lake,
                refresh_id=context.run.run_id,
                settings=self.settings,
                progress=_log_progress(context),
            ) as run,
        ):
            yield run

    @contextlib.contextmanager
    def reading(self, context: Context, *, leaves: bool) -> Iterator[Warehouse]:
        """Open the lake to read, at what was published last; errors as above.

        `leaves`: rows or exact counts do, for which a lake that enforces agreements needs one (CHEST_AGREEMENT).
        """
        lake, settings = self.lake or self.settings.lake, self.settings
        with (
            retries.retry_when_healing(context.op_execution_context, self.first_wait),
            warehouse.open(lake, settings=settings)
            if leaves
            else attach_as(Warehouse, lake, settings=settings) as reader,
        ):
            yield reader

    @property
    def shows_more(self) -> bool:
        """Whether counts are shown that need an agreement where they are enforced: exact ones, those rounded to a base
        of one's own, or those of an agreement that is given."""
        return load_suppress() != SUPPRESS or bool(os.environ.get(AGREEMENT_VARIABLE))


def _log_progress(context: dg.AssetExecutionContext) -> Progress:
    """Progress as a line in the run's log every ten seconds; shorter steps log nothing."""
    last = time.monotonic()

    def report(step: str, done: int, total: int) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= _SECONDS_BETWEEN_LINES:
            last = now
            # Not the number of objects, which may be those of one patient (docs/cohorts.md, Small numbers).
            context.log.info(f"{step}: {100 * done // total} %" if total else f"{step}: {done - done % 1000:,} or more")

    return report
