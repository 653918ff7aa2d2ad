"""The rules for identifying data against plain readings of JSON and text: nothing hides from their quick first look."""

import json
import re
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.catalog import columns
from warehouse.engine import sql_files
from warehouse.query import checks

RULES = {row["tag"]: row for row in columns.list_identifying_attributes()}
TAGS = ("00080080", "00081050", "00100010", "00100020", "00100030", "00101002", "0040A123")
PARTS = ("Alphabetic", "Ideographic", "Phonetic")


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    """What the rules ask for, as tables of a database in memory."""
    with duckdb.connect() as con:
        con.execute("set threads = 1")
        con.execute("create schema raw; create schema core")
        con.execute("create table headers (patient_id varchar, key varchar, header json)")
        con.execute("create table raw.objects as select 'Covid1' as patient_id union all select 'P-7' as patient_id")
        con.execute("create table core.dicom_attributes as select '00204000' as tag, 'ImageComments' as keyword")
        for name in ("masked", "is_nhs_number"):
            con.execute(sql_files.read(f"macros/{name}.sql"))
        yield con


def found(con: duckdb.DuckDBPyConnection, sql: str, *headers: str) -> list[tuple[Any, ...]]:
    con.execute("delete from headers")
    con.execute(
        "insert into headers select 'Covid1', place, header from (select unnest($headers) as header, "
        "generate_subscripts($headers, 1) as place)",
        {"headers": headers},
    )
    return con.execute(sql).fetchall()


# Every way that a writer of JSON has to write the same: white space, escapes.
styles = st.sampled_from(
    [{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}, {"separators": (" , ", " : ")}]
)
words = st.sampled_from(
    [
        "",
        " ",
        "^^",
        "Covid1",
        "Covid77",
        "P-7",
        "19560101",
        "19560312",
        "REMOVED",
        "n/a",
        "Smith^Jo",
        "}",
        "null",
        'say "x"',
        "back\\slash",
        "{",
        "[a]",
        '": {',
        "é",
        "Zoë",
        "0",
        "00080080",
        "a/b",
    ]
)
plain_values = st.one_of(words, st.none(), st.integers(0, 9), st.booleans())
names = st.dictionaries(st.sampled_from([*PARTS, "alphabetic", "FamilyName"]), words | st.none(), max_size=3)
vrs = st.sampled_from(["LO", "PN", "DA", "SQ", "UN"])


def elements(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(values, max_size=3)
    return st.one_of(
        st.none(),
        words,
        st.fixed_dictionaries({}),
        st.fixed_dictionaries({"vr": vrs}),
        st.fixed_dictionaries({"vr": vrs, "Value": lists}),
        st.fixed_dictionaries({"Value": lists, "vr": vrs}),
        st.fixed_dictionaries({"vr": vrs, "Value": words}),
        st.fixed_dictionaries({"vr": vrs, "values": words | st.lists(st.lists(words, max_size=2), max_size=2)}),
        st.fixed_dictionaries({"vr": vrs, "InlineBinary": st.sampled_from(["QUJD", None])}),
    )


def datasets(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from([*TAGS, "00081110", "00091001"]), elements(values), max_size=4)


headers = datasets(st.recursive(plain_values | names, datasets, max_leaves=6))


def at_any_depth(node: Any, name: str) -> Iterator[Any]:
    """Every member of that name."""
    if isinstance(node, dict):
        if name in node:
            yield node[name]
        for child in node.values():
            yield from at_any_depth(child, name)
    elif isinstance(node, list):
        for child in node:
            yield from at_any_depth(child, name)


def contents(element: Any) -> Iterator[str]:
    """All that is text or number in an attribute, under whatever name."""
    if isinstance(element, dict | list):
        named = element.items() if isinstance(element, dict) else enumerate(element)
        for name, child in named:
            if name != "vr":
                yield from contents(child)
    elif isinstance(element, bool):
        yield str(element).lower()
    elif isinstance(element, str | int):
        yield str(element).strip(" ^=")


def is_allowed(text: str, allowed: str) -> bool:
    if allowed == "the pseudonym" and (text in ("Covid1", "P-7") or re.fullmatch("Covid[0-9]+", text)):
        return True
    if allowed == "1 January" and re.fullmatch("[0-9]{4}0101", text):
        return True
    return text in ("", "REMOVED", "n/a", "null")


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(header=headers, style=styles)
def test_identifying_attributes_are_found_anywhere(
    con: duckdb.DuckDBPyConnection, header: dict[str, Any], style: dict[str, Any]
) -> None:
    expected = sorted(
        (RULES[tag]["keyword"], f"{text.strip()[0]}… ({len(text.strip())})")
        for tag in TAGS
        for element in at_any_depth(header, tag)
        for text in contents(element)
        if not is_allowed(text, RULES[tag]["allowed"])
    )
    rows = found(con, checks.find_definition("identifying_attributes").sql, json.dumps(header, **style))
    assert sorted((row[2], row[5]) for row in rows) == expected


@pytest.mark.parametrize(
    ("tag", "value", "found_masked"),
    [("00100030", "Covid1", "C… (6)"), ("00080080", "19560101", "1… (8)"), ("00101040", "Covid1", "C… (6)")],
)
def test_what_one_attribute_may_hold_another_may_not(
    con: duckdb.DuckDBPyConnection, tag: str, value: str, found_masked: str
) -> None:
    header = json.dumps({tag: {"vr": "LO", "Value": [value]}})
    rows = found(con, checks.find_definition("identifying_attributes").sql, header)
    assert [(row[3], row[5]) for row in rows] == [(tag, found_masked)]


pieces = st.sampled_from(
    [
        "943 476 5919",
        "9434765919",
        "943-476-5919",
        "9434765918",
        "1.2.",
        ".5",
        "SW1A 1AA",
        "LS29JT",
        "W1A 1AA",
        "07700900123",
        "+44 20 7946 0958",
        "(0161) 496 0000",
        "tel 02079460958",
        "020 7946 0958",
        "\n",
        "\t",
        '"',
        "\\",
        "DOB ",
        "born",
        "12/03/1956",
        "12.3.1956",
        "1956-03-12",
        "3rd Mar 1948",
        "19560312",
        "Doe^Jane",
        "^^",
        "Dr Doe",
        "MISS DOE",
        "surname: Doe",
        "Patient name = doe",
        "DOE, Jane",
        "é",
        "Zoë^Ann",
        "CHEST",
        " ",
        " ",
        " ",
        ",",
    ]
)
free_texts = st.lists(pieces, max_size=6).map("".join)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(texts=st.lists(free_texts, min_size=10, max_size=30), style=styles, slashed=st.booleans())
def test_no_text_hides_from_the_first_look(
    con: duckdb.DuckDBPyConnection, texts: list[str], style: dict[str, Any], slashed: bool
) -> None:
    headers = [json.dumps({"00204000": {"vr": "LT", "Value": [text]}}, **style) for text in texts]
    if slashed:
        headers = [header.replace("/", "\\/") for header in headers]
    sql = checks.find_definition("identifying_text").sql
    everything = sql.replace(sql_files.read_expression("expressions/identifying.sql", "shapes"), "'\"'")
    assert everything != sql
    assert found(con, sql, *headers) == found(con, everything, *headers)


@settings(max_examples=100, deadline=None)
@given(number=st.one_of(st.from_regex("[0-9]{10}", fullmatch=True), st.sampled_from(["9434765919", "943 476 5919"])))
def test_the_check_digit_of_an_nhs_number(con: duckdb.DuckDBPyConnection, number: str) -> None:
    digits = [int(digit) for digit in number if digit.isdigit()]
    check = 11 - sum(weight * digit for weight, digit in zip(range(10, 1, -1), digits[:9], strict=True)) % 11
    expected = len(set(digits)) > 1 and {11: 0}.get(check, check) == digits[9]
    assert con.execute("select is_nhs_number($number)", {"number": number}).fetchone() == (expected,)


@pytest.mark.parametrize("number", ["4010232137", "9434765919"])
def test_known_nhs_numbers(con: duckdb.DuckDBPyConnection, number: str) -> None:
    assert con.execute("select is_nhs_number($number)", {"number": number}).fetchone() == (True,)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("NHS No 943 476 5919", "an NHS number"),
        ("4010232137 and another", "an NHS number"),
        ("DOB:19560312", "a date of birth"),
        ("d.o.b. 12 March 1956", "a date of birth"),
        ("born on 12/03/2019", "a date of birth"),
        ("12-03-1956", "a date of birth"),
        ("W1A 1AA", "a postcode"),
        ("home (LS2 9JT)", "a postcode"),
        ("07700 900123", "a telephone number"),
        ("+447700900123", "a telephone number"),
        ("(0161) 496 0000", "a telephone number"),
        ("DOE^JANE^^MRS", "a name"),
        ("asked for by Prof. O'Neill", "a name"),
        ("Pt name: doe jane", "a name"),
        ("DOE, Jane A.", "a name"),
    ],
)
def test_what_looks_identifying(con: duckdb.DuckDBPyConnection, text: str, kind: str) -> None:
    header = json.dumps({"00204000": {"vr": "LT", "Value": [text]}})
    rows = found(con, checks.find_definition("identifying_text").sql, header)
    assert [row[4] for row in rows] == [kind]
    assert len(str(rows[0][5]).split("…")[0]) == 1


@pytest.mark.parametrize(
    "text",
    [
        "943 476 5918",
        "1.2.840.9434765919",
        "1111111111",
        "09434765919",
        "02079460958",
        "01-12-2020 10:30",
        "2020-03-12",
        "MR Cardiac",
        "DR Chest PA",
        "CT, HEAD/BRAIN WO CONT",
        "Protocol name: chest",
        "^^^^",
        "L1 2nd view",
        "B31f",
        "LightSpeedApps14.13_2.8.2L_H2.1M4",
        "1.12.3.1999",
        "BCU7500263",
        "THORAX",
        "acp_3403",
        "Siemens, Erlangen DE",
    ],
)
def test_what_only_resembles_it(con: duckdb.DuckDBPyConnection, text: str) -> None:
    header = json.dumps({"00204000": {"vr": "LT", "Value": [text]}})
    assert found(con, checks.find_definition("identifying_text").sql, header) == []
