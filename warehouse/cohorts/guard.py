"""What the SQL of a cohort may use: the public views, its own steps, and functions that always answer the same.

It is somebody else's code, so warehouse/foreign.py judges it; here its words get their line in the file.
"""

from typing import TYPE_CHECKING, Any

from warehouse import columns, foreign
from warehouse.cohorts.definition import Definition, line_of
from warehouse.cohorts.header import Problem, nearest
from warehouse.errors import ForeignSqlError, UsageError

if TYPE_CHECKING:
    import duckdb


def refusals(con: "duckdb.DuckDBPyConnection", definition: Definition) -> list[Problem]:
    """Why the SQL may not run, by what its text says; the plan is judged where it runs."""
    unknown = list(_unknown(definition))
    if unknown:
        return unknown
    try:
        foreign.check_tree(con, definition.bound_sql, repeatable=True)
    except ForeignSqlError as error:
        return [Problem(error.line or definition.answer.line, _for_cohorts(error.reason))]
    except UsageError as error:  # what sqlglot reads and DuckDB does not
        text, _, place = str(error).partition("\n\nLINE ")
        line = place.partition(":")[0]
        return [Problem(int(line) if line.isdigit() else definition.answer.line, text.strip())]
    return []


def _for_cohorts(reason: str) -> str:
    if "answers otherwise" not in reason:
        return reason
    return f"{reason} The same question must have the same answer: make it a parameter, or ask --as-of a day."


def _unknown(definition: Definition) -> "Any":
    """Relations that are neither views nor steps, with the nearest that is."""
    from sqlglot import exp

    known = {
        *(view.name for view in columns.views()),
        *(cte.alias.lower() for cte in definition.tree.find_all(exp.CTE)),
    }
    for table in definition.tree.find_all(exp.Table):
        if not isinstance(table.this, exp.Func) and not table.db and table.name.lower() not in known:
            line = line_of(definition.sql, table.this.meta.get("start", definition.answer.start))
            yield Problem(line, f"There is no view or step {table.name}.{nearest(table.name, known)}")
