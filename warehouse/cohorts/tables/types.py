"""The types of a table's columns: which a table may have, which all values of a column fit, and which value does not.

An identifier stays a text: a column that has the name of a text column of the views, or that ends in id or uid, and a
column with a leading zero or with more digits than a BIGINT holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from warehouse.catalog import columns as catalog
from warehouse.engine import sql_files
from warehouse.engine.names import fold_name, quote_name
from warehouse.errors import UsageError

if TYPE_CHECKING:
    import duckdb

_INTEGER = r"U?(?:TINYINT|SMALLINT|INTEGER|BIGINT)"
_DECIMALS = r"FLOAT|DOUBLE|DECIMAL\(\d+,\d+\)"
#: The most digits of a DECIMAL in DuckDB.
_MOST_DIGITS = 38
#: Types that are kept as they are.
_PLAIN = re.compile(rf"(?:BOOLEAN|{_INTEGER}|{_DECIMALS}|VARCHAR|DATE|TIME|TIMESTAMP|TIMESTAMP WITH TIME ZONE)")
#: Types that have a plain equivalent: those of categories, of columns without a value, and of other clocks.
_EQUIVALENT = (
    (re.compile(r"ENUM\(.*|UUID|\"NULL\"|JSON", re.DOTALL), "VARCHAR"),
    (re.compile(r"TIMESTAMP_(?:S|MS|NS)"), "TIMESTAMP"),
    (re.compile(r"U?HUGEINT"), "DECIMAL(38,0)"),
)

#: What a text must look like to be of a type; DuckDB's casts alone would round 1.5 and drop a time of day.
_FORMS = {
    "BOOLEAN": r"(?i)true|false",
    "INTEGER": r"-?(0|[1-9][0-9]*)",
    "BIGINT": r"-?(0|[1-9][0-9]*)",
    "DOUBLE": r"-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?([eE][+-]?[0-9]+)?",
    "DATE": r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "TIMESTAMP": r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?",
}
#: More lenient forms for a type that somebody has declared.
_DECLARED_FORMS = {
    **_FORMS,
    "BOOLEAN": r"(?i)true|false|t|f|yes|no|y|n|1|0",
    "INTEGER": r"[+-]?[0-9]+",
    "BIGINT": r"[+-]?[0-9]+",
    "DOUBLE": r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?",
}
#: Types that a text is tried for, in this order.
_CANDIDATES = ("BOOLEAN", "BIGINT", "DOUBLE", "DATE", "TIMESTAMP")


def check_plain(name: str, described: Iterable[tuple[str, str]]) -> None:
    """UsageError for a column whose type a table cannot have, such as a list."""
    for column, kind in described:
        if not _PLAIN.fullmatch(str(kind)) and not any(form.fullmatch(str(kind)) for form, _ in _EQUIVALENT):
            raise UsageError(
                f"Table {name}: column {column} is {str(kind)[:60]}. A table has plain values: leave the column "
                "out, or turn it into text."
            )


def check_decimals(name: str, digits: Iterable[tuple[str, int]]) -> None:
    """UsageError for a decimal of more digits than DuckDB has, which it would read from Parquet as another number."""
    for column, number in digits:
        if number > _MOST_DIGITS:
            raise UsageError(
                f"Table {name}: column {column} is a decimal of {number} digits; the limit is {_MOST_DIGITS}. Leave "
                "the column out, or turn it into text."
            )


def quote_type(kind: str) -> str:
    """A type for SQL; ValueError unless it is one that a table can have."""
    if not _PLAIN.fullmatch(kind):
        raise ValueError(f"{kind!r} is not the type of a table's column.")
    return kind


@cache
def _list_text_columns() -> frozenset[str]:
    return frozenset(fold_name(c.name) for view in catalog.list_views() for c in view.columns if c.type == "VARCHAR")


def _is_identifier(column: str) -> bool:
    """Whether a column has the name of a text column of the views, or of an identifier."""
    folded = fold_name(column)
    return folded in _list_text_columns() or folded == "id" or folded.endswith(("_id", "uid"))


def infer_types(con: duckdb.DuckDBPyConnection, given: Mapping[str, str]) -> dict[str, str]:
    """Infer the types of the columns of `given` from all of its rows."""
    found = {column: _normalize(column, kind) for column, kind in given.items()}
    texts = [column for column in given if given[column] == "VARCHAR" and not _is_identifier(column)]
    tests = [(column, kind) for column in texts for kind in _CANDIDATES]
    if not tests:
        return found
    counted = ", ".join(
        f"count(*) filter ({_render_misfit(column, 'VARCHAR', kind, _FORMS)})" for column, kind in tests
    )
    filled = ", ".join(f"count({sql_files.identifier(column)})" for column in texts)
    sql = sql_files.read_statements("tables/reading.sql")["test types"]
    row = con.execute(sql_files.fill(sql, tests=f"{counted}, {filled}")).fetchall()[0]
    has_values = {column for column, n in zip(texts, row[len(tests) :], strict=True) if n}
    for (column, kind), misfits in reversed([*zip(tests, row, strict=False)]):
        if column in has_values and not misfits:
            found[column] = kind
    return found


def _normalize(column: str, kind: str) -> str:
    """The type that a column of a file or frame keeps."""
    plain = next((other for form, other in _EQUIVALENT if form.fullmatch(kind)), kind)
    return "VARCHAR" if _is_identifier(column) and re.fullmatch(_INTEGER, plain) else plain


def check_fit(con: duckdb.DuckDBPyConnection, name: str, given: Mapping[str, str], chosen: Mapping[str, str]) -> None:
    """UsageError with the row for the first value that does not fit the type of its column."""
    for column, kind in chosen.items():
        is_text = fold_name(column) in _list_text_columns()
        if re.fullmatch(_DECIMALS, given[column]) and (kind == "VARCHAR" or is_text):
            raise UsageError(
                f"Table {name}: {column} has decimals ({given[column]}) and should be text. Identifiers become "
                "decimals when a column with empty cells is read as numbers: read it as text."
            )
    tests = [column for column, kind in chosen.items() if kind not in ("VARCHAR", given[column])]
    if not tests:
        return
    parts = []
    for column in tests:
        misfit = _render_misfit(column, given[column], chosen[column], _DECLARED_FORMS)
        value = f"left(cast({sql_files.identifier(column)} as varchar), 60)"
        parts += [f'min("the row") filter ({misfit})', f'arg_min({value}, "the row") filter ({misfit})']
    sql = sql_files.read_statements("tables/reading.sql")["misfits"]
    row = con.execute(sql_files.fill(sql, misfits=", ".join(parts))).fetchall()[0]
    wrong = [(row[2 * n], column, row[2 * n + 1]) for n, column in enumerate(tests) if row[2 * n] is not None]
    if wrong:
        number, column, value = min(wrong)
        raise UsageError(
            f"Table {name}, row {number:,}: {column} is {chosen[column]}, not {quote_name(value)}. Correct the value, "
            f"or declare {column} as VARCHAR."
        )


def _render_misfit(column: str, given: str, kind: str, forms: Mapping[str, str]) -> str:
    """The condition, as SQL, under which a value of a column does not fit a type."""
    value = sql_files.identifier(column)
    cast = f"try_cast({value} as {quote_type(kind)})"
    if given == "VARCHAR":
        form = forms.get(kind)
        is_formed = f"regexp_full_match({value}, {sql_files.literal(form)})" if form else "true"
        if kind == "DOUBLE":  # a text such as 1e999 becomes infinity
            is_formed += f" and isfinite({cast})"
        return f"{value} is not null and ({cast} is null or not ({is_formed}))"
    back = f"try_cast({cast} as {_quote_given(given)})"
    return f"{value} is not null and ({cast} is null or {back} is distinct from {value})"


def _quote_given(kind: str) -> str:
    """The type that a file or frame has, for SQL; texts of categories are compared as texts."""
    return kind if _PLAIN.fullmatch(kind) else next(other for form, other in _EQUIVALENT if form.fullmatch(kind))


def render_cast(column: str, given: str, kind: str) -> str:
    """The column in its type, as SQL."""
    value = sql_files.identifier(column)
    return value if given == kind else f"cast({value} as {quote_type(kind)}) as {value}"
