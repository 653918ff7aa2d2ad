"""Cleans clinical files again that were cleaned by other rules: from raw.records, in one transaction."""

from __future__ import annotations

from warehouse import cleaning
from warehouse.catalog import columns
from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_first
from warehouse.ingest import extraction, record_extraction, reject_reasons, unreading
from warehouse.ingest.context import Run

#: Files cleaned at a time.
_UNIT = 16_384


def reclean(run: Run) -> int:
    """Clean every clinical file again whose row was not cleaned by the present rules; returns their number.

    Rules change with the column table, the tables in sql/cleaning and the cleaning's version; a lake of an older schema
    has rows without a version of the rules.
    """
    sql = sql_files.read_statements("ingest/recleaning.sql")
    rules = {"rules": cleaning.compute_rules_digest()}
    if not fetch_first(run.con.execute(sql["any"], rules)):
        return 0
    run.con.execute(sql["stale"], rules)
    row = fetch_first(run.con.execute("select count(*) from stale"))
    total = int(row[0]) if row else 0

    def work(extractor: extraction.Extractor) -> None:
        for done in range(0, total, _UNIT):
            unit = run.con.execute(sql["unit"], {"first": done + 1, "last": done + _UNIT}).to_arrow_table()
            rows, issues = record_extraction.extract_records(extractor, unit)
            if not done:
                for table in ("core.clinical", "core.clinical_issues"):
                    run.con.execute(sql_files.fill(sql["forget"], table=table))
            unreading.reject_rows(run, rows, unit, flag="is_record", wanted=reject_reasons.RECORD, table="raw.records")
            rows = rows.filter(rows.column("is_record"))
            for table, found in (("core.clinical", rows), ("core.clinical_issues", issues)):
                run.con.register("cleaned", found)
                names = columns.template_values()[f"names_{table.replace('.', '_')}"]
                run.con.execute(sql_files.fill(sql["insert"], table=table, names=names))
                run.con.unregister("cleaned")
            run.progress("reclean", min(done + _UNIT, total), total)

    if total:
        with extraction.open_extractor() as extractor:
            run.commit("reclean", lambda: work(extractor), recleaned=total)
    run.con.execute("drop table stale")
    return total
