"""The quality report: one self-contained page on the data of a session, with counts only.

    warehouse.open("lake").as_of("2020-06-01").report("report.html")

The steps are independent: `metrics` queries the lake and returns dataclasses of counts (`model`), `suppression` rounds
them, `bar_charts` and `heat_maps` draw the result, and `html` fills the template. Everything on the page has passed
through `suppression`; nothing is queried later.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.errors import LakeError, UsageError
from warehouse.filesystem import files
from warehouse.settings import require_base

if TYPE_CHECKING:
    from warehouse.query.checks import Result
    from warehouse.query.session import Session


def write_report(warehouse: Session, target: Path, suppress: int, results: Sequence[Result] | None = None) -> None:
    """Write the report of a warehouse's snapshot, as-of date and group; the file is written completely or not at all.

    Counts are rounded to multiples of `suppress`; 0 gives exact counts. Runs the checks, unless the results of all are
    given. The same snapshot, day, group and `suppress` give the same bytes. UsageError for a base that does not
    protect, or if the file cannot be written, LakeError if the snapshot has other views than the report needs.
    """
    from warehouse.quality_report import html, metrics, suppression

    require_base(suppress)
    try:
        # Opened first: counting may take minutes, and a wrong path should be reported at once.
        with files.write_text_atomically(target) as file, warehouse.explain_lacks():
            file.write(
                html.render_page(suppression.suppress_counts(metrics.collect_metrics(warehouse, results), suppress))
            )
    except (
        LookupError,
        TypeError,
        ValueError,
    ) as error:  # the views are the lake's own, and may be another's than ours
        raise LakeError(
            f"The views of snapshot {warehouse.snapshot.number} do not fit each other: what one names, another lacks "
            f"({type(error).__name__}: {str(error)[:200]}). Refresh the lake, which makes its views again."
        ) from error
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}.") from None
