"""The metadata of assets in Dagster's catalogue: columns, lineage, counts, tables; no value of a patient."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import duckdb

from warehouse.catalog import columns, public_views, view_lineage
from warehouse.disclosure_control import find_unit, format_rounded, round_count
from warehouse.docs.markdown import format_table
from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_first
from warehouse.lake import store
from warehouse.masking import mask_secrets
from warehouse.text import escape_controls

_SQL = "reports/storage.sql"
#: What Markdown, or HTML within it, could be made of.
_MARKUP = re.compile(r"[\\`*\[\]<>|!&~#$]")

Metadata = dict[str, Any]


def describe_relation(relation: str) -> Metadata:
    """A relation's name and declared columns: they make Dagster's catalogue a data dictionary."""
    declared = [
        dg.TableColumn(c.name, c.type, description=f"{c.meaning} [{c.unit}]" if c.unit else c.meaning)
        for c in columns.load_relations()[relation].columns
    ]
    return {"dagster/table_name": relation, "dagster/column_schema": dg.TableSchema(columns=declared)}


def find_column_lineage(view: str) -> Metadata:
    """From which columns of which views each column of a view comes; tables are not assets under their own names."""
    deps = {
        column: [dg.TableColumnDep(asset_key=dg.AssetKey(["views", name]), column_name=c) for name, c in sources]
        for column, sources in view_lineage.trace_columns(view).items()
        if all(name in public_views.VIEW_ORDER for name, _ in sources)
    }
    return {"dagster/column_lineage": dg.TableColumnLineage(deps_by_column=deps)} if deps else {}


def render_table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> dg.MetadataValue:
    """A small table in markdown; numbers with thousands separators. No cell can become markup, whatever it holds."""
    return dg.MetadataValue.md(format_table(names, rows, _format_cell))


def _format_cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    return escape_markup(str(value).replace("\n", " "))


def escape_markup(text: str) -> str:
    """A text for Dagster's Markdown, of which nothing becomes markup; lines stay."""
    return _MARKUP.sub(r"\\\g<0>", escape_controls(text))


def render_code(sql: str) -> dg.MetadataValue:
    """SQL as a block of code, whatever it holds: the fence is longer than any within."""
    fence = "`" * (2 + max(1, *(len(run) for run in re.findall("`+", sql)), 0))
    return dg.MetadataValue.md(f"{fence}sql\n{escape_controls(sql.strip())}\n{fence}")


def measure_storage(con: duckdb.DuckDBPyConnection, base: int) -> Metadata:
    """Bytes of the buckets' objects, rounded, and of the lake's files, and what could not be read by reason.

    Objects that could not be read are counted exactly: what they are, and whose, is not known.
    """
    sql = sql_files.read_statements(_SQL)
    row = fetch_first(con.execute(sql["bytes"]))
    assert row is not None
    rejects = con.execute(sql["rejects"]).fetchall()
    return {
        "bytes": round_count(int(row[0]), find_unit(int(row[2]), base)),
        "lake bytes": int(row[1]),
        "rejects": sum(count for _, _, count in rejects),
        "rejects by reason": render_table(("kind", "reason", "objects"), rejects) if rejects else "none",
    }


@dataclass(frozen=True, slots=True)
class RowCount:
    """How many rows a relation has, rounded to `unit`, which is 0 if numbers are exact."""

    rows: int
    unit: int


def count_rows(con: duckdb.DuckDBPyConnection, relation: str, base: int) -> RowCount:
    """Count the rows of a table or view of the lake, rounded so that no number of patients under the base is disclosed.

    A relation that names no patient is counted exactly.
    """
    has_patients = any(column.name == "patient_id" for column in columns.load_relations()[relation].columns)
    sql = sql_files.read_statements(_SQL)["rows_by_patient" if has_patients and base else "rows"]
    row = fetch_first(con.execute(sql_files.fill(sql, relation=f"{store.ALIAS}.{_qualify(relation)}")))
    n_rows, most = (int(row[0]), int(row[1])) if row else (0, 0)
    unit = find_unit(most, base) if has_patients else 0
    return RowCount(round_count(n_rows, unit), unit)


def _qualify(relation: str) -> str:
    return relation if "." in relation else f"main.{relation}"


def round_counts(counts: Mapping[str, Any], unit: int) -> Metadata:
    """Round the numbers of a step as its table is; "under 100" is a text. Rejects stay, as in `measure_storage`."""
    return {name: _round(n, unit) if _is_rounded(name, n) else n for name, n in counts.items()}


def _is_rounded(name: str, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and name not in ("rejected", "skipped", "rejects")


def _round(n: int, unit: int) -> int | str:
    return format_rounded(0, unit) if 0 < n < unit else round_count(n, unit)


def measure_steps(instance: dg.DagsterInstance, run_id: str) -> dg.MetadataValue:
    """How long each step of a run took that has ended so far."""
    steps = sorted(instance.get_run_step_stats(run_id), key=lambda step: step.start_time or 0.0)
    took = [
        (step.step_key, f"{step.end_time - step.start_time:.1f}") for step in steps if step.start_time and step.end_time
    ]
    return render_table(("step", "seconds"), took)


def describe_counts(counts: Mapping[str, object]) -> str:
    """Counts in words, without those that are 0; other values as they are."""
    shown = {name: count for name, count in counts.items() if count and not isinstance(count, bool)}
    words = ", ".join(
        f"{count:,} {name}" if isinstance(count, int) else str(count) if name == "note" else f"{count} {name}"
        for name, count in shown.items()
    )
    return escape_controls(mask_secrets(words)) or "nothing new"
