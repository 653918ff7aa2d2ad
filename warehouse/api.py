"""The Python interface: a lake opened for reading, its cohorts, checks, report and patients.

    import warehouse

    wh = warehouse.open("lake")
    wh.as_of("2020-06-01").patients().pl()

The only module that knows all that can be made of a lake; each of them is imported when it is asked for.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.access.current import may_have_events
from warehouse.cohorts.answer import CohortAnswer
from warehouse.engine.faults import explain_faults
from warehouse.query.session import Session, attach_as
from warehouse.settings import AGREEMENT_VARIABLE, SUPPRESS, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb
    import pyarrow as pa

    from warehouse.cohorts.attrition import Count
    from warehouse.cohorts.balance import Sides
    from warehouse.cohorts.table1 import Table1
    from warehouse.cohorts.tables import Given
    from warehouse.cohorts.why import Why
    from warehouse.manifests.manifest import Manifest
    from warehouse.query.checks import Result
    from warehouse.query.citation import Citation
    from warehouse.query.patient import Patient


@dataclass(frozen=True, slots=True)
class Warehouse(Session):
    """A lake opened for reading. Created by `warehouse.open`; closed by `close()` or at the end of a `with` block."""

    @classmethod
    def open(
        cls,
        lake_address: str | Path = "",
        *,
        snapshot: int | None = None,
        unpublished: bool = False,
        settings: Settings | None = None,
        trusted: bool = True,
        agreement: str = "",
    ) -> Warehouse:
        """Open a lake for reading, at its newest published snapshot or at the one given.

        `lake_address` defaults to CHEST_LAKE, then ./lake. Raises LakeError if there is no lake or it cannot be opened,
        UsageError for a snapshot that was not published. With `trusted=False` all SQL runs in the sandbox.
        `unpublished` opens the newest snapshot of all, which may be incomplete or blocked: for inspection only.

        Under an `agreement` (by default CHEST_AGREEMENT) it shows what that covers; where the lake enforces agreements,
        one is needed. AccessRefusedError, which is logged, if it does not hold; opening it is logged as a release.
        """
        opened = attach_as(
            cls, lake_address, snapshot=snapshot, unpublished=unpublished, settings=settings, trusted=trusted
        )
        name, what = agreement or os.environ.get(AGREEMENT_VARIABLE, ""), "warehouse.open"
        try:
            if not name and not may_have_events(opened.con, opened.location):
                return opened
            from warehouse.access.coverage import Cover
            from warehouse.access.enforcement import find_permit

            found = find_permit(opened.con, opened.location, opened.settings, name, leaves=True, what=what)
            if found is None:
                return opened
            held = opened.under(Cover.of(found))
            held.log_release(what)
        except BaseException:
            opened.close()
            raise
        return held

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
        as-of date, group and `suppress` give the same page. UsageError for a base from 1 to 4, or if the page cannot be
        written.
        """
        from warehouse import quality_report

        quality_report.write_report(self, Path(path), suppress)

    @explain_faults()
    def cohort(
        self,
        name_or_path: str | Path,
        /,
        as_of: date | str | None = None,
        tables: Given | None = None,
        **parameters: object,
    ) -> Cohort:
        """Prepare a cohort of sql/cohorts by name, or of a file ending in .sql, with parameters (docs/cohorts.md).

        `wh.cohort("covid_risk", as_of="2020-06-01").relation().pl()`. UsageError has the file, the line and the
        nearest name for every error in it. `tables` are tables of your own that it reads, by name: paths of .csv or
        .parquet files, or frames (polars, pandas, Arrow, a DuckDB relation); `cohort.tables` shows their types.
        """
        return Cohort.prepare(self.as_of(as_of) if as_of else self, name_or_path, parameters, tables)

    def changes_since(self, snapshot: int) -> duckdb.DuckDBPyRelation:
        """List the images and clinical files that were added, changed or removed since an earlier published snapshot.

        Both are read as of the same day and for the same group; columns as in sql/reports/changes_since.sql.
        UsageError if the snapshot was not published or is gone.
        """
        from warehouse.query.changes import create_changes_view

        forked = self.with_history()
        create_changes_view(forked, snapshot)
        return forked.con.sql("from changes")

    def cite(self) -> Citation:
        """How to cite the data that this Warehouse shows: `.text`, `.bibtex` or `.fields`."""
        from warehouse.query.citation import cite_session

        return cite_session(self)

    def export_meds(self, folder: str | Path, *, cohort: CohortAnswer | None = None) -> dict[str, int]:
        """Write the data that this Warehouse shows as a MEDS dataset, with the labels of a cohort (docs/meds.md).

        Returns the numbers of subjects, events, codes and labels. UsageError when the folder is in the way.
        """
        from warehouse.exports.meds import export_meds

        return export_meds(self, folder, cohort)

    def patient(self, patient_id: str) -> Patient:
        """Find all data of one patient; NotFoundError if this Warehouse does not show them."""
        from warehouse.query.patient import find_patient

        return find_patient(self, patient_id)


@dataclass(frozen=True)
class Cohort(CohortAnswer):
    """A cohort of a warehouse: its answer, the counts of its steps, and its manifest."""

    @explain_faults()
    def steps(self, *, suppress: int = 0) -> list[Count]:
        """Count the patients, studies, series and images after each step; the answer comes last. With `suppress` only
        patients are counted, rounded to its multiples, all steps together; 0 gives exact counts of all. UsageError for
        a base from 1 to 4."""
        from warehouse.cohorts import attrition

        return attrition.count_steps(self, suppress)

    @explain_faults()
    def attrition(self, *, suppress: int = 0) -> pa.Table:
        """The same as an Arrow table, one row per step."""
        from warehouse.cohorts import attrition

        return attrition.to_table(self.steps(suppress=suppress))

    @explain_faults()
    def demographics(self, *, suppress: int = 0) -> pa.Table:
        """How each step shifts age, sex, ethnicity and centre, as an Arrow table: a row for each step, characteristic
        and level, with the standardised difference from the step before; rounded as in `steps`."""
        from warehouse.cohorts import demographics

        return demographics.to_table(demographics.follow_demographics(self, suppress))

    @explain_faults()
    def table1(self, by: str | None = None, *, suppress: int = SUPPRESS, count_missing: bool = True) -> Table1:
        """Tabulate who is in: characteristics of the patients, overall and by a column of the answer or by one of the
        characteristics (`by="centre"`). Counts are rounded to multiples of `suppress` to protect individuals, and all
        else is computed from rounded counts; 0 gives exact numbers. Missing values are a level, as in tableone, or with
        `count_missing=False` only counted."""
        from warehouse.cohorts import table1

        return table1.tabulate_characteristics(self, by, suppress, count_missing=count_missing)

    @explain_faults()
    def sides(self, *, balance: Sequence[str] = (), suppress: int = 0) -> Sides:
        """Count the patients on each side of a split cohort, and compare the sides by columns (cohorts/balance.py).

        Counts are rounded to multiples of `suppress`; 0 gives exact counts. UsageError if the cohort is not split.
        """
        from warehouse.cohorts import balance as balancing

        return balancing.describe_sides(self, balance, suppress)

    def why(self, patient_id: str) -> Why:
        """Explain whether a patient is in the answer: the step that excluded them, and its conditions that do not hold
        for the patient's rows. NotFoundError if this warehouse does not show the patient."""
        from warehouse.cohorts import why

        return why.explain_patient(self, patient_id)

    @explain_faults()
    def excluded(self) -> pa.Table:
        """The patients of the views who are not in the answer, each with the step that excluded them."""
        from warehouse.cohorts import exclusion

        return exclusion.list_excluded(self)

    @explain_faults()
    def export(
        self,
        folder: str | Path,
        *,
        objects: tuple[str, ...] = ("dcm", "json"),
        columns: tuple[str, ...] = (),
        copy_tables: bool = False,
    ) -> Manifest:
        """Write the manifest of the answer to a new folder (docs/manifests.md), and register it in the lake.

        `columns` of view `images`, such as InstanceNumber, become columns of its rows. `copy_tables` puts a copy of its
        own tables beside the manifest, so that it can be reproduced without them.
        """
        from warehouse.manifests.export import export_manifest

        return export_manifest(self, folder, objects=objects, columns=columns, copy_tables=copy_tables)


open = Warehouse.open  #: As users call it: `warehouse.open`.
