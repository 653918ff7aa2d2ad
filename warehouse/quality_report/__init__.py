"""The quality report: one self-contained page about what a session shows, in counts alone.

    warehouse.open("lake").as_of("2020-06-01").report("report.html")

Steps that know nothing of each other's trade: `counting` asks the lake and gives dataclasses of counts (`figures`),
`hiding` rounds them, `charts` and `heat_maps` draw what is left, `page` fills the template. What is
on the page went through `hiding.suppressed`; nothing is asked later.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.errors import UsageError
from warehouse.filesystem import files

if TYPE_CHECKING:
    from warehouse.query.checks import Result
    from warehouse.query.session import Session


def write_report(warehouse: Session, target: Path, suppress: int, results: Sequence[Result] | None = None) -> None:
    """Write the report of a warehouse's snapshot, as-of date and group; the file is whole or not there at all.

    Counts are rounded to `suppress`; 0 shows them as they are. The checks are run, unless what all of them found is
    given. The same snapshot, day, group and `suppress` give the same bytes. UsageError when the file
    cannot be written, LakeError when the snapshot is older than the views that the report asks.
    """
    from warehouse.quality_report import html, metrics, suppression

    try:
        # Opened first: counting may take minutes, and a wrong path is better told at once.
        with files.write_text_atomically(target) as file:
            file.write(
                html.render_page(suppression.suppress_counts(metrics.collect_metrics(warehouse, results), suppress))
            )
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}.") from None
