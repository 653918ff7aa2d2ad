"""Extracts columns again from headers read by other rules: from raw.headers, one transaction per source."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from warehouse.dicom import normal_form
from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_first
from warehouse.ingest import extraction, header_extraction, key_ranges, planning, preparing, reject_reasons, unreading
from warehouse.ingest.context import Run
from warehouse.ingest.object_kinds import IMAGES
from warehouse.ingest.scope import Scope

if TYPE_CHECKING:
    import pyarrow as pa

_SQL = "ingest/rereading.sql"


def reread(run: Run) -> int:
    """Read every header again that was not read by the present rules; returns their number.

    Covers every source, so that a lake never mixes two readings. Rules change with the declared columns and the version
    of the reading; a lake of an older schema has rows without a version of the rules.
    """
    sources = run.con.execute(sql_files.fill(sql_files.read_statements(_SQL)["stale"], rules=_find_rules())).fetchall()
    stale = f"rules is distinct from {_find_rules()}"
    return sum(_reread(replace(run, source=source, scope=Scope()), stale) for (source,) in sources)


def reextract(run: Run) -> int:
    """Read every stored header of the source in the run's scope again, regardless of the rules that read it."""
    return _reread(run, "true")


def _find_rules() -> str:
    return sql_files.literal(normal_form.compute_rules_digest())


def _reread(run: Run, wanted: str) -> int:
    sql = sql_files.read_statements(_SQL)
    source = {"source": run.source}
    scope = {**source, **run.scope.parameters}
    within = run.within("key")
    ranges = key_ranges.find_ranges(run.con)
    unread = [
        sql_files.fill(
            sql["unread"],
            within=f"{run.within('objects.key')} and {one.render('objects.key')}",
            in_range=one.render("key"),
        )
        for one in ranges
    ]

    def work(extractor: extraction.Extractor) -> int:
        for number, one in enumerate(ranges):
            kept = sql_files.fill(sql["kept"], in_range=one.render("images.key"))
            run.con.execute(sql_files.fill(sql["keep_more" if number else "keep"], kept=kept), source)
        run.con.execute(sql_files.fill(sql["forget"], within=within, wanted=wanted), scope)
        done = 0
        for total, spans in planning.make_plans(run, unread):
            for span in spans:
                batch = run.con.execute(sql["unit"], {**source, **span.places}).to_arrow_table()
                _store(run, extractor, batch.drop_columns(planning.PLAN_ONLY))
                done += span.count
                run.progress("reextract", done, total)
        return done

    row = fetch_first(run.con.execute(sql_files.fill(sql["count"], within=within, wanted=wanted), scope))
    if not row or not row[0]:
        return 0
    with extraction.open_extractor() as extractor:
        return run.commit("reextract", lambda: work(extractor), reextracted=row[0])


def _store(run: Run, extractor: extraction.Extractor, batch: pa.Table) -> None:
    """Write the rows of a unit, and the readings of its headers that have changed."""
    import pyarrow.compute as pc

    sql = sql_files.read_statements(_SQL)
    source = {"source": run.source}
    rows, readings = header_extraction.extract_headers(extractor, batch.drop_columns(["old_reading"]))
    run.con.register("rows_read", rows)
    insert = sql_files.read_statements("ingest/loading.sql")["insert"]
    table = IMAGES.table
    run.con.execute(sql_files.fill(insert, table=table, rows=preparing.list_rows(IMAGES)[table]))
    unreading.reject_rows(run, rows, batch, flag="is_header", wanted=reject_reasons.HEADER, table="raw.headers")
    stored = batch.select(["key", "patient_id", "old_reading"])
    joined = stored.set_column(2, "old_reading", stored.column("old_reading").cast("string")).join(readings, "key")
    old, new = (pc.fill_null(joined.column(name), "") for name in ("old_reading", "reading"))
    changed = joined.filter(pc.not_equal(old, new)).drop_columns(["old_reading"])
    if changed.num_rows:
        run.con.register("changed", changed)
        run.con.execute(sql["renew"], source)
