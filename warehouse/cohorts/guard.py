"""What the SQL of a cohort may use: the public views, its own steps, functions that always answer the same."""

import re
from typing import Any

from warehouse import columns
from warehouse.cohorts.definition import Definition, Problem, line_of, nearest

#: Functions whose answer another call may not repeat.
_FICKLE = {
    *("random", "rand", "setseed", "uuid", "gen_random_uuid", "uuidv4", "uuidv7", "reservoir_quantile"),
    *("now", "today", "current_timestamp", "current_date", "current_time", "current_datetime", "localtime"),
    *("localtimestamp", "get_current_timestamp", "get_current_time", "transaction_timestamp", "txid_current"),
    *("nextval", "currval", "getenv", "getvariable", "current_setting", "version", "current_user", "current_schema"),
}
#: Functions that make rows.
_ROWS = {"unnest", "range", "generate_series", "known_at", "explode"}


def refusals(definition: Definition) -> list[Problem]:
    """Why the SQL may not run: each use of what is not allowed, with its line."""
    from sqlglot import exp

    views = {view.name for view in columns.views()}
    known = {*views, *(cte.alias.lower() for cte in definition.tree.find_all(exp.CTE))}
    found: list[Problem] = []
    for table in definition.tree.find_all(exp.Table):
        if isinstance(table.this, exp.Func):
            name = _function_name(table.this)
            if name not in _ROWS:
                found.append(Problem(_line(definition, table), f"{name}() is not for cohorts: ask the views."))
        elif table.db or table.name.lower() not in known:
            whole = ".".join(part.name for part in table.parts)
            hint = nearest(table.name, known)
            found.append(Problem(_line(definition, table), f"There is no view or step {whole}.{hint}"))
    for function in definition.tree.find_all(exp.Func):
        if _function_name(function) in _FICKLE:
            found.append(
                Problem(
                    _line(definition, function),
                    f"{_function_name(function)}() is not for cohorts: the same question must have the same answer. "
                    "Make it a parameter, or ask --as-of a day.",
                )
            )
    return found


def _function_name(function: Any) -> str:
    from sqlglot import exp

    return str(function.name if isinstance(function, exp.Anonymous) else function.sql_name()).lower()


def _line(definition: Definition, node: Any) -> int:
    """The line of the first name within a node; where the parser kept none, that of its word in the text."""
    for part in node.walk():
        if (start := part.meta.get("start")) is not None:
            return line_of(definition.sql, start)
    word = re.search(rf"^(?!--).*\b{re.escape(node.sql_name())}\b", definition.sql, re.IGNORECASE | re.MULTILINE)
    return line_of(definition.sql, word.start()) if word else definition.answer.line
