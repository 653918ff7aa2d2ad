"""Cleans clinical files again that were cleaned by other rules: from raw.records, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from warehouse import cleaning
from warehouse.catalog import columns
from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_first
from warehouse.ingest import extraction, key_ranges, record_extraction, reject_reasons, unreading
from warehouse.ingest.context import Run

if TYPE_CHECKING:
    import pyarrow as pa

#: Files cleaned at a time.
_UNIT = 16_384

_SQL = "ingest/recleaning.sql"
_TABLES = ("core.clinical", "core.clinical_issues")


def reclean(run: Run) -> int:
    """Clean every clinical file again whose row was not cleaned by the present rules; returns their number.

    Rules change with the column table, the tables in sql/cleaning and the cleaning's version; a lake of an older schema
    has rows without a version of the rules.
    """
    sql = sql_files.read_statements(_SQL)
    rules = {"rules": cleaning.compute_rules_digest()}
    if not fetch_first(run.con.execute(sql["any"], rules)):
        return 0
    ranges = key_ranges.find_ranges(run.con)
    run.con.execute(sql["begin"])
    for one in ranges:
        run.con.execute(sql_files.fill(sql["find"], in_range=one.render("key")), rules)
    row = fetch_first(run.con.execute("select count(*) from stale"))
    total = int(row[0]) if row else 0

    def work(extractor: extraction.Extractor) -> None:
        _forget(run, ranges)
        done = 0
        for unit in _fetch_units(run, total):
            _clean(run, extractor, unit)
            done += unit.num_rows
            run.progress("reclean", done, total)

    if total:
        with extraction.open_extractor() as extractor:
            run.commit("reclean", lambda: work(extractor), recleaned=total)
    run.con.execute("drop table temp.stale")
    return total


def _forget(run: Run, ranges: Sequence[key_ranges.KeyRange]) -> None:
    sql = sql_files.read_statements(_SQL)
    for one in ranges:
        for table in _TABLES:
            run.con.execute(sql_files.fill(sql["forget"], table=table, in_range=one.render("key")))


def _fetch_units(run: Run, total: int) -> Iterator[pa.Table]:
    """The objects and texts of the files, in order of their keys."""
    sql = sql_files.read_statements(_SQL)
    for first in range(1, total + 1, _UNIT):
        places = {"first": first, "last": first + _UNIT - 1}
        ((low, high),) = run.con.execute(sql["bounds"], places).fetchall()
        text = sql_files.fill(sql["unit"], low=sql_files.literal(low), high=sql_files.literal(high))
        yield run.con.execute(text, places).to_arrow_table()


def _clean(run: Run, extractor: extraction.Extractor, unit: pa.Table) -> None:
    sql = sql_files.read_statements(_SQL)
    rows, issues = record_extraction.extract_records(extractor, unit)
    unreading.reject_rows(run, rows, unit, flag="is_record", wanted=reject_reasons.RECORD, table="raw.records")
    rows = rows.filter(rows.column("is_record"))
    for table, found in zip(_TABLES, (rows, issues), strict=True):
        run.con.register("cleaned", found)
        names = columns.template_values()[f"names_{table.replace('.', '_')}"]
        run.con.execute(sql_files.fill(sql["insert"], table=table, names=names))
        run.con.unregister("cleaned")
