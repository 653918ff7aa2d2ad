"""The Python interface: a lake opened for reading, its cohorts, checks, report and patients.

    import warehouse

    wh = warehouse.open("lake")
    wh.as_of("2020-06-01").patients().pl()

The only module that knows all that can be made of a lake; each of them is imported when it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.cohorts.answer import CohortAnswer
from warehouse.engine.faults import explain_faults
from warehouse.query.session import Session
from warehouse.settings import SUPPRESS, Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from warehouse.cohorts.attrition import Count
    from warehouse.manifests.manifest import Manifest
    from warehouse.query.checks import Result
    from warehouse.query.patient import Patient


@dataclass(frozen=True, slots=True)
class Warehouse(Session):
    """A lake opened for reading. Created by `warehouse.open`; closed by `close()` or at the end of a `with` block."""

    def check(self, name: str | None = None) -> list[Result]:
        """Run the checks of sql/checks, or one, on the data of this Warehouse; most severe results first.

        `result.rows` has the faulty rows as an Arrow table. UsageError for an unknown name.
        """
        from warehouse.query import checks

        return checks.run_checks(self, name)

    @explain_faults()
    def report(self, path: str | Path, *, suppress: int = SUPPRESS) -> None:
        """Write one self-contained HTML page on the quality of the data that this Warehouse shows: counts only.

        Counts are rounded to multiples of `suppress` to protect individuals; 0 gives exact counts. The same snapshot,
        as-of date, group and `suppress` give the same page. UsageError if it cannot be written.
        """
        from warehouse import quality_report

        quality_report.write_report(self, Path(path), suppress)

    @explain_faults()
    def cohort(self, name_or_path: str | Path, /, as_of: date | str | None = None, **parameters: object) -> Cohort:
        """Prepare a cohort of sql/cohorts by name, or of a file ending in .sql, with parameters (docs/cohorts.md).

        `wh.cohort("covid_risk", as_of="2020-06-01").relation().pl()`. UsageError has the file, the line and the
        nearest name for every error in it.
        """
        return Cohort.prepare(self.as_of(as_of) if as_of else self, name_or_path, parameters)

    def patient(self, patient_id: str) -> Patient:
        """Find all data of one patient; NotFoundError if this Warehouse does not show them."""
        from warehouse.query.patient import find_patient

        return find_patient(self, patient_id)


@dataclass(frozen=True)
class Cohort(CohortAnswer):
    """A cohort of a warehouse: its answer, the counts of its steps, and its manifest."""

    @explain_faults()
    def steps(self, *, suppress: int = 0) -> list[Count]:
        """Count the patients, studies, series and images after each step; the answer comes last. Counts are rounded to
        multiples of `suppress`, all steps together; 0 gives exact counts."""
        from warehouse.cohorts import attrition

        return attrition.count_steps(self, suppress)

    @explain_faults()
    def attrition(self, *, suppress: int = 0) -> pa.Table:
        """The same as an Arrow table, one row per step."""
        from warehouse.cohorts import attrition

        return attrition.to_table(self.steps(suppress=suppress))

    @explain_faults()
    def export(
        self, folder: str | Path, *, objects: tuple[str, ...] = ("dcm", "json"), columns: tuple[str, ...] = ()
    ) -> Manifest:
        """Write the manifest of the answer to a new folder (docs/manifests.md), and register it in the lake.

        `columns` of view `images`, such as InstanceNumber, become columns of its rows.
        """
        from warehouse.manifests.export import export_manifest

        return export_manifest(self, folder, objects=objects, columns=columns)


def open(
    lake_address: str = "",
    *,
    snapshot: int | None = None,
    unpublished: bool = False,
    settings: Settings | None = None,
    trusted: bool = True,
) -> Warehouse:
    """Open a lake for reading, at its newest published snapshot or at the one given.

    `lake_address` defaults to CHEST_LAKE, then ./lake. Raises LakeError if there is no lake or it cannot be opened,
    UsageError for a snapshot that was not published. With `trusted=False` all SQL runs in the sandbox.
    `unpublished` opens the newest snapshot of all, which may be incomplete or blocked: for inspection only.
    """
    return Warehouse.open(lake_address, snapshot=snapshot, unpublished=unpublished, settings=settings, trusted=trusted)
