"""Names from outside: which may be used, and that we hold two for one exactly where DuckDB does."""

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from warehouse.engine import sql_files
from warehouse.engine.names import MOST_CHARACTERS, RESERVED, check_names, explain_name, fold_name

#: Letters that some fold makes one of another: Python's lower or casefold, Unicode's compatibility forms, C's toupper.
CONFUSABLE = "kK\u212asS\u017fiI\u0130\u0131åÅ\u212bßẞσΣςμµéÉeE\u0301dzǅǆﬁﬀKAＡaａ_1"


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def test_the_reserved_words_are_those_of_this_duckdb(con: duckdb.DuckDBPyConnection) -> None:
    query = "select keyword_name from duckdb_keywords() where keyword_category = 'reserved'"
    assert {word for (word,) in con.execute(query).fetchall()} == RESERVED


@settings(deadline=None, max_examples=300)
@given(
    one=st.text(
        st.one_of(st.sampled_from(CONFUSABLE), st.characters(codec="utf-8", exclude_characters="\0")),
        min_size=1,
        max_size=4,
    ),
    how=st.sampled_from((str.lower, str.upper, str.casefold, str.title, str.swapcase, str)),
)
@example(one="\u212a", how=str.lower)
@example(one="\u0130", how=str.lower)
@example(one="ẞ", how=str.casefold)
@example(one="É", how=str.lower)
def test_two_names_are_the_same_where_duckdb_treats_them_so(
    con: duckdb.DuckDBPyConnection, one: str, how: object
) -> None:
    """Of CTEs, columns and tables; the other name is what some function of Python's makes of the one."""
    other = how(one)  # type: ignore[operator]
    a, b = sql_files.identifier(one), sql_files.identifier(other)
    for query in (
        f"with {a} as (select 1) from {b}",
        f"select {b} from (select 1 as {a})",
        f"select t.{b} from (select 1 as {a}) t",
        f"select {b}.x from (select 1 as x) {a}",
    ):
        try:
            con.execute(query)
            is_same = True
        except (duckdb.BinderException, duckdb.CatalogException):
            is_same = False
        assert is_same == (fold_name(one) == fold_name(other)), query


@settings(deadline=None)
@given(st.text(max_size=70))
@example("a" * 64)
@example("a\n")
@example("select")
@example("Select")
@example("été")
@example("\u212aelvin")
@example('a"b')
def test_a_name_that_is_let_in_needs_no_quotes(con: duckdb.DuckDBPyConnection, name: str) -> None:
    if explain_name(name):
        return
    assert len(name) <= MOST_CHARACTERS
    answer = con.execute(f"select 1 as {name}")
    assert answer.description
    assert answer.description[0][0] == name


@given(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,62}", fullmatch=True))
def test_plain_names_are_let_in(name: str) -> None:
    assert bool(explain_name(name)) == (name.lower() in RESERVED)


def test_the_message_states_what_is_wrong_with_a_name() -> None:
    found = check_names(["fine", "Fine", "fine", "x" * 64, "", "1st", "a b", 'a"', "order", "\u212a"], "label")
    assert len(found) == 9
    assert "differs from fine" in found[0]
    assert "twice" in found[1]
    assert all(text.isascii() or "…" in text for text in found)
    assert check_names(["a", "b", "_1"], "label") == []
