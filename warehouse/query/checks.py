"""Checks of a lake: each is a file of sql/checks whose rows are faults.

    from warehouse import checks

    for result in checks.run(warehouse.open("lake")):
        print(result.check.name, result.n_rows)

A check asks the public views, so it obeys as-of date and group; blocking checks ask the tables themselves. What the
rules are is read in warehouse/catalog/check_rules.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse import notebook
from warehouse.catalog.check_rules import Check, Severity, find_definition, load_definitions, load_shared
from warehouse.engine.faults import explain_faults
from warehouse.engine.rows import fetch_first
from warehouse.errors import AccessRefusedError, LakeError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from warehouse.query.session import Session

__all__ = ["Check", "Result", "Severity", "count_rows", "find_definition", "load_definitions", "run_checks"]

_BATCH = 10_000
#: A table of the lake in the SQL of a check.
_TABLES = re.compile(r"\b(?:raw|core|ops)\.\w")
#: DuckDB's messages for a missing table or column; an older tool may have made the snapshot without it.
_LACKING = ("does not exist", "not found in FROM clause")


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found: how many faulty rows, the first of them, and of which patients they are; None if they name
    no patients."""

    check: Check
    n_rows: int
    rows: pa.Table
    patients: frozenset[str] | None = None

    def __repr__(self) -> str:
        """Its name, severity and number of rows; the rows themselves are in `rows`."""
        return f"<Result {self.check.name} ({self.check.severity}): {self.n_rows:,} rows>"

    def _repr_html_(self) -> str:
        """The same for a notebook, with the title and the first rows."""
        first = self.rows.slice(0, notebook.MOST_ROWS)
        rows = list(zip(*(column.to_pylist() for column in first.columns), strict=True))
        facts = {"finds": self.check.title, "severity": str(self.check.severity), "rows": self.n_rows}
        return notebook.show_facts(f"Check {self.check.name}", facts) + notebook.show_rows(
            first.column_names, rows, self.n_rows
        )

    @property
    def n_patients(self) -> int | None:
        """Of how many patients the rows are; None if they name no patients."""
        return None if self.patients is None else len(self.patients)

    @property
    def failed(self) -> bool:
        """Whether the check has faulty rows that are more than a warning."""
        return self.n_rows > 0 and self.check.severity is not Severity.WARNING

    @classmethod
    def empty(cls, check: Check, n_rows: int = 0) -> Result:
        """A result of so many rows that keeps none of them."""
        import pyarrow as pa

        return cls(check, n_rows, pa.table({}))


@explain_faults()
def run_checks(warehouse: Session, name: str | None = None, *, limit: int | None = None) -> list[Result]:
    """Run one check or all, most severe first, on what the warehouse shows: its snapshot, as-of date and group.

    `limit` bounds the rows that a result keeps, never the count. Raises UsageError for an unknown name, LakeError when
    the snapshot lacks what a check asks for.
    """
    wanted = [find_definition(name)] if name else list(load_definitions().values())
    if warehouse.cover:  # what asks the tables themselves sees more than an agreement covers
        if name and _TABLES.search(wanted[0].sql):
            raise AccessRefusedError(
                f"Agreement {warehouse.cover.agreement} does not cover check {name}, which reads more than the views."
            )
        wanted = [check for check in wanted if not _TABLES.search(check.sql)]
    shared = _Shared(warehouse.con, wanted)
    try:
        return [_run(warehouse, check, limit, shared) for check in wanted]
    finally:
        shared.drop()


def count_rows(con: duckdb.DuckDBPyConnection, check: Check) -> Result:
    """Only count the faulty rows of a check, on a connection with the lake attached; for blocking checks, which ask
    the tables themselves."""
    row = fetch_first(con.execute(f"select count(*) from ({check.sql.rstrip().rstrip(';')}\n)"))
    return Result.empty(check, int(row[0]) if row else 0)


class _Shared:
    """The queries that several of the wanted checks contain: each is run once, into a temporary table."""

    def __init__(self, con: duckdb.DuckDBPyConnection, wanted: list[Check]) -> None:
        self._con = con
        self._queries = {
            f"shared_{name}": query
            for name, query in load_shared().items()
            if sum(query in check.sql for check in wanted) > 1
        }
        self._made: set[str] = set()

    def rewrite(self, sql: str) -> str:
        """The SQL of a check with tables in place of the shared queries."""
        for table, query in self._queries.items():
            if query in sql:
                if table not in self._made:
                    self._con.execute(f"create or replace temp table {table} as {query}")
                    self._made.add(table)
                sql = sql.replace(query, f"temp.{table}")
        return sql

    def drop(self) -> None:
        """Drop the tables."""
        for table in self._made:
            self._con.execute(f"drop table if exists temp.{table}")


def _run(warehouse: Session, check: Check, limit: int | None, shared: _Shared) -> Result:
    import duckdb
    import pyarrow as pa

    try:
        reader = warehouse.con.execute(shared.rewrite(check.sql)).to_arrow_reader(_BATCH)
    except (duckdb.CatalogException, duckdb.BinderException) as error:
        if not any(words in str(error) for words in _LACKING):
            raise
        raise LakeError(
            f"Snapshot {warehouse.snapshot.number} cannot be asked for {check.name}: it lacks what this version of the "
            f"tool makes ({str(error).splitlines()[0]}). Refresh the lake, or choose a later snapshot."
        ) from None
    # Faults may be as many as images: they are counted as they stream by.
    n_rows, kept = 0, []
    patients: set[str] | None = set() if "patient_id" in reader.schema.names else None
    for batch in reader:
        if patients is not None:
            patients.update(batch.column("patient_id").unique().drop_null().to_pylist())
        if limit is None or n_rows < limit:
            kept.append(batch.slice(0, None if limit is None else limit - n_rows))
        n_rows += batch.num_rows
    rows = pa.Table.from_batches(kept, reader.schema)
    return Result(check, n_rows, rows, None if patients is None else frozenset(patients))
