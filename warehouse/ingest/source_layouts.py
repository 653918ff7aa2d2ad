"""Which layout a source has: the one that the lake remembers of it, or the one that is given for a new source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_first
from warehouse.errors import UsageError
from warehouse.object_store.layouts import Layout, parse_layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from warehouse.ingest.context import BucketRun

_SQL = "ingest/layouts.sql"


def find_layout(con: duckdb.DuckDBPyConnection, source: str, text: str, group: str = "") -> tuple[Layout, Layout]:
    """Find the layout for a refresh, the remembered one if none is given; and the remembered one.

    UsageError for another one than the lake remembers: each object would have another patient or group. Only standard
    and standard+dcm may follow each other, and any layout one that has fitted no key.
    """
    known = _recall_layout(con, source)
    if not text:
        if group and group != known.group:
            raise UsageError("--group goes with --layout any or with a pattern. Give both.")
        return known, known
    given = parse_layout(text, group)
    is_bound = fetch_first(con.execute(sql_files.read_statements(_SQL)["keyed"], {"source": source}))
    if is_bound and known != given and not (known.is_standard and given.is_standard):
        raise UsageError(
            f"The lake has {source} by the layout {known.describe()}, not {given.describe()}. Refresh it without "
            "--layout, or load it anew:  chest source remove SOURCE --allow-removals  and then refresh with the other."
        )
    return given, known


def _recall_layout(con: duckdb.DuckDBPyConnection, source: str) -> Layout:
    rows = con.execute(sql_files.read_statements(_SQL)["layouts"]).fetchall()
    return next((Layout(text, group) for name, text, group in rows if name == source), Layout())


def check_patients(layout: Layout, patients: Sequence[str]) -> None:
    """Raise UsageError for patients of a source whose keys do not name them."""
    if patients and not layout.is_standard and "patient" not in layout.groups:
        raise UsageError(
            f"The keys of this source, laid out by {layout.describe()}, do not name patients: only the headers do. A "
            "refresh cannot be limited to patients. Limit it to keys with --prefix, or refresh all."
        )


def remember(run: BucketRun) -> None:
    """Remember the layout of the run; within a transaction."""
    sql = sql_files.read_statements(_SQL)
    run.con.execute(sql["forget"], {"source": run.source})
    if run.layout != Layout():
        values = {"source": run.source, "layout": run.layout.text, "group": run.layout.group}
        run.con.execute(sql["remember"], values)
