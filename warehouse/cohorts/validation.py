"""Checks what the SQL of a cohort may use: public views, its own steps, and deterministic functions.

Cohorts are untrusted SQL, so warehouse/query/sandbox checks them; this module adds the line in the file. The rows of an
answer are checked too: each must name what it is a row of, once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from warehouse.catalog import columns
from warehouse.cohorts.definition import Definition
from warehouse.cohorts.header import Problem, choose_comparable
from warehouse.cohorts.sql_text import find_line
from warehouse.cohorts.tables.declaration import explain_table_name
from warehouse.engine.names import fold_name, quote_name, suggest_nearest
from warehouse.errors import UntrustedSqlError, UsageError
from warehouse.query import sandbox

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


def find_refusals(
    con: duckdb.DuckDBPyConnection, definition: Definition, tables: Collection[str] = ()
) -> list[Problem]:
    """List the reasons why the SQL may not run, found in its text; the plan is checked when it runs. `tables` are the
    user's own, which it may read."""
    unknown = list(_find_unknown_relations(definition, tables))
    if unknown:
        return unknown
    try:
        sandbox.check_tree(con, definition.bound_sql, repeatable=True, relations=tables)
        return _find_misread_steps(con, definition)
    except UntrustedSqlError as error:
        return [Problem(error.line or definition.answer.line, _reword_for_cohorts(error.reason))]
    except UsageError as error:  # sqlglot parses it and DuckDB does not
        text, _, place = str(error).partition("\n\nLINE ")
        line = place.partition(":")[0]
        return [Problem(int(line) if line.isdigit() else definition.answer.line, text.strip())]
    except RecursionError:
        return [Problem(definition.answer.line, sandbox.TOO_DEEP)]


def _find_misread_steps(con: duckdb.DuckDBPyConnection, definition: Definition) -> list[Problem]:
    """Report if DuckDB parses the steps differently from how they were split, which would change the question. No such
    text is known."""
    whole, cut = (_split_parts(con, sql) for sql in (definition.bound_sql, definition.followed_by("select 1")))
    names = [*(step.name for step in definition.steps), "the answer"]
    if [name for name, _ in cut[:-1]] == names and [body for _, body in whole] == [body for _, body in cut[:-1]]:
        return []
    return [Problem(definition.answer.line, "The steps of this SQL cannot be separated. Write it in a simpler form.")]


def _split_parts(con: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[str, str]]:
    """Return DuckDB's parse of the steps of a query by name, followed by its final SELECT, without offsets."""
    node = sandbox.parse_query(con, sql)[0]["node"]
    entries = [(entry["key"], entry["value"]["query"]["node"]) for entry in node["cte_map"].get("map", ())]
    return [
        (name, re.sub(r'"query_location": \d+', "", json.dumps(below)))
        for name, below in [*entries, ("", {**node, "cte_map": {}})]
    ]


def _reword_for_cohorts(reason: str) -> str:
    if "is not deterministic" not in reason:
        return reason
    return f"{reason} The same question must have the same answer: use a parameter, or --as-of."


def _find_unknown_relations(definition: Definition, tables: Collection[str]) -> Any:
    """Yield a problem for each relation that is neither a view nor a step, with the nearest name."""
    from sqlglot import exp

    known = {
        *(view.name for view in columns.list_views()),
        *(fold_name(cte.alias) for cte in definition.tree.find_all(exp.CTE)),
        *map(fold_name, tables),
    }
    unknown = [
        table
        for table in definition.tree.find_all(exp.Table)
        if not isinstance(table.this, exp.Func) and not table.db and fold_name(table.name) not in known
    ]
    near = choose_comparable(unknown, known)
    for table in unknown:
        line = find_line(definition.sql, table.this.meta.get("start", definition.answer.start))
        shown = table.name if table.name.isascii() and table.name.isidentifier() else quote_name(table.name)
        own = "" if explain_table_name(table.name) else f" A table of your own is given by  --table {table.name}=FILE"
        yield Problem(line, f"There is no view or step {shown}.{suggest_nearest(table.name, near)}{own}")


def check_days(table: pa.Table, definition: Definition) -> None:
    """DefinitionError for a day that neither Python nor most readers of a file have, such as infinity."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for column in table.schema:
        if pa.types.is_date(column.type):
            first, last, kind = pa.scalar(date.min), pa.scalar(date.max), pa.date32()
        elif pa.types.is_timestamp(column.type) and column.type.unit == "us":  # nanoseconds end in the year 2262
            kind = pa.timestamp("us")
            first, last = pa.scalar(datetime.min, kind), pa.scalar(datetime.max, kind)
        else:
            continue
        values = table[column.name].cast(kind)
        if pc.any(pc.or_(pc.less(values, first), pc.greater(values, last))).as_py():
            raise definition.problem(
                definition.answer.line,
                f"{column.name} has a day before year 1 or after year 9999, such as infinity. Select null instead.",
            )


def check_grain(table: pa.Table, definition: Definition) -> None:
    """DefinitionError for null or duplicate ids. It never states how many: commands that round counts show it too."""
    import pyarrow.compute as pc

    column = table[definition.grain_column]
    where = f"{definition.grain_column}, the identifier of the grain {definition.grain}"
    if column.null_count:
        raise definition.problem(
            definition.answer.line,
            f"Some rows have no {where}. Exclude them, as by where {definition.grain_column} is not null.",
        )
    counts = pc.value_counts(column)
    most = pc.max(counts.field("counts")).as_py() if len(counts) else 0
    if most and most > 1:
        twice = counts.filter(pc.greater(counts.field("counts"), 1))
        example = twice[0]["values"].as_py()
        raise definition.problem(
            definition.answer.line,
            f"Some rows have the same {where}, for example {example}. "
            "Keep one of each, as by qualify row_number() over (partition by … order by …) = 1.",
        )
