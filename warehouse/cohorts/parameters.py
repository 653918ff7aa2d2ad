"""The parameters of a cohort: values given or by default, cast to their types without loss."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from warehouse.cohorts.definition import Definition
from warehouse.cohorts.header import Parameter
from warehouse.engine.names import fold_name, suggest_nearest
from warehouse.engine.placeholders import refuse_placeholders
from warehouse.engine.rows import fetch_first
from warehouse.errors import UsageError
from warehouse.query import sandbox

if TYPE_CHECKING:
    import duckdb


#: Parameters of the included cohorts that fix how many patients are drawn, or draw others; and that name patients.
FIXING, NAMING = frozenset({"per_answer", "draw"}), frozenset({"patients"})


def may_disclose(name: str, value: object) -> bool:
    """Whether rounded counts disclose single patients if this is chosen, again and again: patients who are named, how
    many are drawn, or sums of several values (docs/security.md, The service)."""
    # A text in brackets is a list as well, however many values it has.
    is_list = len(value) > 1 if isinstance(value, list) else isinstance(value, str) and value.startswith("[")
    return fold_name(name) in FIXING | NAMING or is_list


def parse_parameters(
    con: duckdb.DuckDBPyConnection, definition: Definition, given: Mapping[str, object]
) -> dict[str, Any]:
    """Return the value of every parameter, given or by default, as a Python value of its type.

    UsageError for an unknown parameter, a missing required one, or a value of the wrong type.
    """
    known = {fold_name(p.name): p for p in definition.params}
    for name in given:
        if fold_name(name) not in known:
            takes = (
                f" Its parameters are {', '.join(p.name for p in definition.params)}."
                if known
                else " It has no parameters."
            )
            raise UsageError(f"Cohort {definition.name} has no parameter {name}.{suggest_nearest(name, known)}{takes}")
    refuse_placeholders("A parameter", *given.values())
    words = {fold_name(name): value for name, value in given.items()}
    return {p.name: _parse_value(con, definition, p, words) for p in definition.params}


def _parse_value(
    con: duckdb.DuckDBPyConnection, definition: Definition, param: Parameter, given: Mapping[str, object]
) -> Any:
    import duckdb

    if fold_name(param.name) not in given and param.default is None:
        raise UsageError(
            f"Cohort {definition.name} requires the parameter {param.name} ({param.type}): {param.meaning}"
        )
    try:
        if fold_name(param.name) not in given:
            return _fetch_one(con.execute(f"select cast(({_parse_default(con, definition, param)}) as {param.type})"))
        given_value = _to_list(param, given[fold_name(param.name)])
        value = _fetch_one(con.execute(f"select cast($value as {param.type})", {"value": given_value}))
        if not _is_kept(given_value, value):
            raise UsageError(
                f"Parameter {param.name} of {definition.name} is {param.type}: {given_value!r} would become {value!s}."
            )
        return value
    except duckdb.Error:
        if fold_name(param.name) not in given:
            raise definition.problem(param.line, f"The default of {param.name} is not a valid {param.type}.") from None
        value = given[fold_name(param.name)]
        raise UsageError(f"Parameter {param.name} of {definition.name} is {param.type}, not {value!r}.") from None


def _parse_default(con: duckdb.DuckDBPyConnection, definition: Definition, param: Parameter) -> str:
    """Return the default of a parameter, if DuckDB parses it as a literal too."""
    text = param.default or "null"
    try:
        (statement,) = sandbox.parse_query(con, f"select ({text})")
        node = statement["node"]
        is_plain = node["type"] == "SELECT_NODE" and node["from_table"] == {"type": "EMPTY"} and not node["cte_map"]
        if is_plain and len(node["select_list"]) == 1 and _is_constant(node["select_list"][0]):
            return text
    except (UsageError, ValueError):
        pass
    raise definition.problem(param.line, f"The default of {param.name} must be a literal.")


def _is_constant(node: Any) -> bool:
    """Whether an expression consists only of constants, casts, lists and signs."""
    if node["class"] == "CONSTANT":
        return True
    is_list = node["class"] in ("FUNCTION", "OPERATOR") and (
        node.get("function_name") in ("list_value", "-") or node["type"] == "ARRAY_CONSTRUCTOR"
    )
    if node["class"] != "CAST" and not is_list:
        return False
    below = [node["child"]] if "child" in node else node.get("children", [])
    return all(map(_is_constant, below)) and "filter" not in node


def _is_kept(given: object, value: object) -> bool:
    """Whether a cast preserved a value: DuckDB silently rounds numbers and drops the time of a timestamp."""
    if isinstance(value, list):
        return not isinstance(given, list) or all(map(_is_kept, given, value))
    if isinstance(value, bool):
        return str(given).strip().lower() in ("true", "false", "t", "f", "yes", "no", "y", "n", "1", "0")
    if isinstance(value, int | float | Decimal) and "_" in str(given):
        return False  # digits in groups are a spelling of programs, not of numbers
    if isinstance(value, int | Decimal):
        try:
            return Decimal(str(given).strip()) == value
        except InvalidOperation:
            return False
    if isinstance(value, date) and not isinstance(value, datetime):
        return str(given).strip() == value.isoformat()
    return True


def _to_list(param: Parameter, value: object) -> object:
    """Wrap a single value for a list parameter in a list; a string in brackets is a list in DuckDB's notation."""
    if not param.is_list or value is None or (isinstance(value, str) and value.startswith("[")):
        return value
    return [value] if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)


def _fetch_one(answer: duckdb.DuckDBPyConnection) -> Any:
    row = fetch_first(answer)
    assert row is not None
    return row[0]
