"""Cleaning, as a rule: total, every value kept or explained, dates and numbers as a plain reading has them."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from warehouse.catalog import columns
from warehouse.cleaning import tables
from warehouse.ingest import extraction, record_extraction

DAY = date(2021, 6, 30)
FIELDS = {key: c for c in columns.list_record_columns() for key in (c.source, *c.other_keys)}
#: Columns that may have their value from another key.
SHARED = {c.name for c in columns.list_record_columns() if c.other_keys}


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with extraction.open_extractor() as opened:
        yield opened


Rows = list[dict[str, Any]]


def cleaned(con: duckdb.DuckDBPyConnection, *records: object) -> tuple[Rows, Rows]:
    """The typed rows of records, in their order, and all their issues."""
    n = len(records)
    batch = {c.name: pa.array([None] * n, pa.string()) for c in columns.load_relations()["raw.objects"].columns}
    batch |= {
        "key": pa.array([f"{i:06}" for i in range(n)]),
        "available_date": pa.array([DAY] * n),
        "last_modified": pa.array([datetime(2021, 6, 30, tzinfo=UTC)] * n),
        "content": pa.array([json.dumps(record) for record in records], pa.string()),
    }
    rows, issues = record_extraction.extract_records(con, pa.table(batch))
    return sorted(rows.to_pylist(), key=lambda row: row["key"]), issues.to_pylist()


def read(con: duckdb.DuckDBPyConnection, field: str, *values: object) -> list[tuple[Any, set[str]]]:
    """What becomes of values of a field: the clean value and the rules met."""
    rows, issues = cleaned(con, *({field: value} for value in values))
    rules: dict[str, set[str]] = {row["key"]: set() for row in rows}
    for issue in issues:
        rules[issue["key"]].add(issue["rule"])
    return [(row[FIELDS[field].name], rules[row["key"]]) for row in rows]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
#: Texts made of what the rules look for, so that odd mixtures of it are met.
MIXED = st.lists(
    st.sampled_from(
        [
            *"0123456789-/., <>~[]%L½\u0663\x00",
            *"\u2212\u00b7_'’;|&+xX\u2013",
            *("minus", "0x1", "non-white", "black", "asian", "and", "Yes", "CVCX1", "1970-01-01", "01/01/1900"),
            *("2020", "-04-01", "mg/L", "kPa", "ng/mL", "CVCX", "white", "blue", "e5", "10^9", "or", "RNA\xa0DETECTED"),
        ]
    ),
    max_size=6,
).map("".join)
SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT | MIXED
JSON = SCALAR | st.lists(SCALAR, max_size=3) | st.dictionaries(TEXT, SCALAR, max_size=2)
SWABS = st.lists(
    st.dictionaries(st.sampled_from(["SwabDate", "SwabStatus", "Other"]), JSON, max_size=3) | JSON, max_size=4
)
RECORD = st.dictionaries(st.sampled_from(sorted(FIELDS)) | TEXT, JSON | MIXED, max_size=12) | st.fixed_dictionaries(
    {"SwabDates": SWABS, "Age": JSON}
)
NESTED = st.builds(
    lambda record, nested: {**record, "OtherDataSources": nested},
    RECORD,
    JSON | st.fixed_dictionaries({"SegmentationData": RECORD | JSON}),
)


NUMBERS, CODES = ("integer", "age", "number", "fio2", "blood_pressure"), ("boolean", "category", "code", "pcr_result")


def plain(column: columns.Column, value: object) -> object:
    """Read a value plainly, without any rule: a number, a day in the order of its field, a code, a text; else None."""
    text = ("true" if value else "false") if isinstance(value, bool) else str(value).strip()
    number = re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text)
    if column.kind in NUMBERS:
        return float(text) if number else None
    if column.kind in CODES and number:
        code = int(float(text)) if float(text) == float(text) // 1 else None
        words = {"boolean": (False, True), "pcr_result": ("Negative", "Positive")}.get(column.kind)
        return words[code] if words and code in (0, 1) else code
    if column.kind in ("boolean", "code"):
        return {"true": True, "false": False, **{f"cvcx{n}": n for n in range(4)}}.get(text.lower())
    if column.kind in ("sex", "ethnicity"):
        return tables.read_mapping(column.kind).get(re.sub(r"\.0*$", "", " ".join(text.lower().split())))
    if column.kind in ("date_us", "date_uk"):
        return plain_day(text, day_first=column.kind == "date_uk")
    return text


def plain_day(text: str, *, day_first: bool) -> date | None:
    if iso := re.fullmatch(r"([0-9]{4})([-/])([0-9]{1,2})\2([0-9]{1,2})", text):
        return valid(int(iso[1]), int(iso[3]), int(iso[4]))
    if parts := re.fullmatch(r"([0-9]{1,2})([-/.])([0-9]{1,2})\2([0-9]{4}|[0-9]{2})", text):
        year, first, second = int(parts[4]) + (2000 if len(parts[4]) == 2 else 0), int(parts[1]), int(parts[3])
        return valid(year, second, first) if day_first else valid(year, first, second)
    return None


#: Rules that flag a value and keep it do not explain a change.
_KEPT = ("unit_unknown", "outside_printed_range", "unit_implausible", "unit_not_convertible")
ONE_FIELD = st.tuples(
    st.sampled_from(sorted(key for key, c in FIELDS.items() if c.kind != "list")), st.booleans() | MIXED | SCALAR
)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(given=st.lists(ONE_FIELD, min_size=1, max_size=25))
def test_nothing_changes_without_a_row(con: duckdb.DuckDBPyConnection, given: list[tuple[str, Any]]) -> None:
    """A clean value that is not the plain reading of the value, or is null where the value is not blank, has a row."""
    rows, issues = cleaned(con, *({field: value} for field, value in given))
    explained = {issue["key"] for issue in issues if issue["rule"] not in _KEPT}
    for row, (field, value) in zip(rows, given, strict=True):
        column = FIELDS[field]
        clean = row.get(column.name)
        if column.kind == "text" and isinstance(value, float):
            continue  # JSON has many texts for a number
        value = store(value) if isinstance(value, str) else value  # noqa: PLW2901
        if not is_blank(value) and (clean is None or clean != plain(column, value)):
            assert row["key"] in explained, (field, value, clean, plain(column, value))


def store(text: str) -> str:
    """A text as it is stored: DuckLake cannot have a zero byte."""
    return text.replace("\0", "\ufffd")


def is_blank(value: object) -> bool:
    """Without a character other than Unicode's White_Space, to which Python adds four separators (U+001C to U+001F)."""
    return value is None or (isinstance(value, str) and all(c.isspace() and not "\x1c" <= c <= "\x1f" for c in value))


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(records=st.lists(RECORD | NESTED, min_size=1, max_size=12))
@example(records=[{"1st RT-PCR result": "\x1f"}, {"1st RT-PCR result": "\N{NO-BREAK SPACE}"}])
def test_total_and_every_value_is_kept_or_explained(
    con: duckdb.DuckDBPyConnection, records: list[dict[str, Any]]
) -> None:
    rows, issues = cleaned(con, *records)
    assert [row["key"] for row in rows] == [f"{i:06}" for i in range(len(records))]
    listed = {(issue["key"], issue["field"]) for issue in issues}
    nulled = {(issue["key"], issue["field"]) for issue in issues if issue["effect"] == "nulled"}
    for row, record in zip(rows, records, strict=True):
        others = record.get("OtherDataSources")
        nested = others.get("SegmentationData") if isinstance(others, dict) else None
        lifted = {**record, **(nested if isinstance(nested, dict) else {})}
        for field, value in lifted.items():
            where = (row["key"], store(field))
            if field not in FIELDS:
                known = field == "OtherDataSources" or (isinstance(nested, dict) and field in nested)
                assert known or where in listed
            elif not is_blank(value) and FIELDS[field].name not in SHARED:
                kept = row.get(FIELDS[field].name)
                assert (kept is None) == (where in nulled), (field, value, kept)
            elif is_blank(value) and isinstance(nested, dict) is False:
                assert where not in listed
    columns_named = {row["column_name"] for row in issues} - {None}
    assert columns_named <= {column.name for column in columns.list_record_columns()}


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(records=st.lists(RECORD | NESTED, min_size=1, max_size=6))
def test_only_a_nulled_value_has_no_clean_value(con: duckdb.DuckDBPyConnection, records: list[dict[str, Any]]) -> None:
    for issue in cleaned(con, *records)[1]:
        of_records = ("unknown_field", "duplicate_field", "overridden_by_segmentation")
        if issue["rule"] not in of_records:
            assert (issue["clean_value"] is None) == (issue["effect"] == "nulled"), issue


def valid(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def is_placeholder(day: date) -> bool:
    """A day of mappings.csv, or the first or last day of a year before any event of the disease."""
    return day in tables.list_placeholder_days() or (
        (day.month, day.day) in ((1, 1), (12, 31)) and 1900 <= day.year < 2019
    )


def oracle(first: int, second: int, year: str, *, day_first: bool) -> tuple[date | None, str]:
    """The day that two numbers and a year are by the rules of a field, and the rule met."""
    whole = int(year) if len(year) == 4 else 2000 + int(year)
    own = valid(whole, second, first) if day_first else valid(whole, first, second)
    other = valid(whole, first, second) if day_first else valid(whole, second, first)
    found = own or other
    if not found:
        return None, "impossible_date"
    if not date(1900, 1, 1) <= found <= DAY + timedelta(days=1):
        return None, "date_outside_window"
    if is_placeholder(found):
        return None, "placeholder_date"
    return found, "" if own else "date_other_order"


PART = st.integers(0, 40)
YEAR = st.sampled_from(["2019", "2020", "2021", "2022", "1899", "1900", "0001", "19", "20", "21", "99", "00"])


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    parts=st.lists(st.tuples(PART, PART, YEAR, st.sampled_from("/-."), st.booleans()), min_size=1, max_size=30),
    day_first=st.booleans(),
)
def test_dates_are_read_as_a_plain_reading_has_them(
    con: duckdb.DuckDBPyConnection, parts: list[tuple[int, int, str, str, bool]], day_first: bool
) -> None:
    field = "SwabDate" if day_first else "Date of admission"
    spelt = [f"{a:02}{s}{b:02}{s}{y}" if padded else f"{a}{s}{b}{s}{y}" for a, b, y, s, padded in parts]
    for (found, rules), (a, b, year, *_), text in zip(read(con, field, *spelt), parts, spelt, strict=True):
        expected, rule = oracle(a, b, year, day_first=day_first)
        assert (found, rules) == (expected, {rule} - {""}), text


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(days=st.lists(st.dates(date(1899, 12, 1), date(2024, 1, 1)), min_size=1, max_size=30))
def test_a_day_in_any_of_its_forms_is_that_day(con: duckdb.DuckDBPyConnection, days: list[date]) -> None:
    cases: list[tuple[object, date | None, set[str]]] = []
    for day in days:
        is_within = date(1900, 1, 1) <= day <= DAY + timedelta(days=1)
        forms: dict[object, set[str]] = {
            day.isoformat(): set(),
            f"{day:%Y/%m/%d}": set(),
            f" {day:%m/%d/%Y} ": set(),
            f"{day} 13:45": {"date_time_dropped"},
            f"[Ward 3] - {day}": {"date_embedded"},
        }
        serial = (day - date(1899, 12, 30)).days
        if 42736 <= serial <= 44926:
            forms |= {serial: {"date_serial"}, f"{serial}.0": {"date_serial"}}
        else:
            cases += [(serial, None, {"not_a_date"}), (str(serial), None, {"not_a_date"})]
        refused = "placeholder_date" if is_placeholder(day) else "" if is_within else "date_outside_window"
        cases += [(form, None, {refused}) if refused else (form, day, rules) for form, rules in forms.items()]
    found = read(con, "Date of death", *(form for form, *_ in cases))
    for (form, *expected), answer in zip(cases, found, strict=True):
        assert [*answer] == expected, form


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    numbers=st.lists(st.decimals(0, 10_000, places=2, allow_nan=False).map(str), min_size=1, max_size=20),
    tail=st.sampled_from(["", " ", "mg/L", " mg/L on arrival", " (see notes)"]),
    limit=st.sampled_from(["", "<", ">", "~"]),
)
def test_numbers_are_the_number_that_starts_the_entry(
    con: duckdb.DuckDBPyConnection, numbers: list[str], tail: str, limit: str
) -> None:
    forms = [limit + number + tail for number in numbers] + [
        f"[{limit}{number}{tail}] - 2020-04-01" for number in numbers
    ]
    expected = ({"limit_reported"} if limit else set()) | ({"number_from_text"} if tail.strip() else set())
    for (found, rules), number in zip(read(con, "CRP on admission", *forms), numbers * 2, strict=True):
        assert found == float(number)
        assert rules - {"unit_unknown", "value_from_brackets"} == expected
        assert ("unit_unknown" in rules) == ("mg/L" not in tail)


@pytest.mark.slow(after=12)
@pytest.mark.parametrize(
    "entry",
    [
        "3-4",
        "3 - 4",
        "3–4 days",
        "3 to 4",
        "3/4",
        "1/3/20",
        "2020-04-01",
        "3:30",
        "½",
        "3½",
        "1 1/2",
        "1,200",
        "3 or 4",
        "between 3 and 4",
        "12.03.2020",
        "3,5",
        "[3-4] - 2020-04-01",
        "120/80",
        "1'200",
        "1\u2019200",
        "1_000",
        "1\u00a0200",
        "1 200 000",
        "12; 15",
        "12;15",
        "12|15",
        "12, 15",
        "12 + 15",
        "12 then 15",
        "9 3",
        "9\t3.5",
        "0x10",
        "0X1f mg/L",
        "[0x10] - 2020-04-01",
        "0b11",
        "10\u2079",
        "5-",
        "3\u22124",
        "5~6",
        "5\u301c6",
        "5\u20266",
        "1\u066c200",
        "1d5",
        "0Fh",
    ],
)
def test_ranges_fractions_and_dates_have_no_single_value(con: duckdb.DuckDBPyConnection, entry: str) -> None:
    ((found, rules),) = read(con, "Ferritin", entry)
    assert found is None
    assert rules <= {"single_value_missing", "not_a_number"}
    assert rules


@pytest.mark.parametrize(
    ("entry", "expected", "rule"),
    [
        ("36\u00b76", 36.6, "number_spelling"),
        ("36\u22c56 C", 36.6, "number_spelling"),
        ("36\uff0e6", 36.6, "number_spelling"),
        ("\u221236.6", None, "out_of_range"),
        ("\uff0d36.6", None, "out_of_range"),
        ("\u2013 36.6", None, "out_of_range"),
        ("- 37.5", None, "out_of_range"),
        ("-37.5", None, "out_of_range"),
        ("minus 37.5", None, "out_of_range"),
        ("negative 37.5", None, "out_of_range"),
        ("neg. 37.5", None, "out_of_range"),
        ("\u279637.5", None, "out_of_range"),
        ("\u02d737.5", None, "out_of_range"),
        ("36\u30026", 36.6, "number_spelling"),
        ("36\u30fb6", 36.6, "number_spelling"),
        ("37.5 (36\u00b76)", 37.5, "number_spelling"),
    ],
)
def test_signs_and_points_of_unicode(
    con: duckdb.DuckDBPyConnection, entry: str, expected: float | None, rule: str
) -> None:
    ((found, rules),) = read(con, "Temperature on admission", entry)
    assert found == expected
    assert rule in rules


@pytest.mark.parametrize("entry", ["5x10^9", "5 x 10^9/L", "5\u00b710^9/L", "5 10^9/L", "5x10\u2079", "5.0x109/L"])
def test_a_power_of_ten_behind_a_number_is_its_unit(con: duckdb.DuckDBPyConnection, entry: str) -> None:
    ((found, rules),) = read(con, "WCC on admission", entry)
    assert (found, rules - {"number_spelling"}) == (5, {"number_from_text"})


@pytest.mark.slow(after=3)
@pytest.mark.parametrize("field", [key for key, column in FIELDS.items() if column.kind in ("date_us", "date_uk")])
def test_placeholder_dates(con: duckdb.DuckDBPyConnection, field: str) -> None:
    entries = ["1900-01-01", "01/01/1970", "1/1/1900", "1970-01-01T00:00:00Z", "[x] - 1970-01-01", "01/01/00"]
    entries += ["1990-01-01", "1/1/1950", "31/12/1900", "2018-12-31"]
    for found, rules in read(con, field, *entries):
        assert (found, rules) == (None, {"placeholder_date"})
    assert read(con, field, "2019-01-01", "2019-12-31") == [(date(2019, 1, 1), set()), (date(2019, 12, 31), set())]
    for found, rules in read(con, field, "31/12/9999", "9999-12-31", "0001-01-01", "1899-12-30", "31/12/2099"):
        assert (found, rules) == (None, {"date_outside_window"})


MIXED_BACKGROUNDS = [
    "D - White and Black Caribbean",
    "White & Black Caribbean",
    "White/Asian",
    "white + asian",
    "White-Asian",
    "Black African and White",
    "White British/Indian",
    "Asian and Black",
    "F: White and Asian",
    "Dual heritage",
    "mixed race",
    "Mixed - not stated",
    "MIXED (WHITE/CHINESE)",
    "Non-white, mixed",
    "Multiracial",
    "Multi-racial",
    "multi ethnic",
    "mix",
    "Half caste",
    "Anglo-Indian",
    "Eurasian",
    "two or more races",
    "More than one group",
    "Arab and White",
    "White/Hispanic",
    "White and Filipino",
    "Jamaican/White",
    "\uff37\uff48\uff49\uff54\uff45 and Asian",
]
NOT_MIXED = {
    "Non-white": "Unknown",
    "not white": "Unknown",
    "nonwhite": "Unknown",
    "White South African": "White",
    "White (Irish)": "White",
    "A - White British": "White",
    "white or asian": "Unknown",
    "BAME (Black, Asian and minority ethnic)": "Unknown",
    "Not mixed": "Unknown",
    "unmixed": "Unknown",
    "White Hispanic": "White",
    "Asian African": "Unknown",
}


def test_a_mixed_background_is_multiple_however_it_is_written(con: duckdb.DuckDBPyConnection) -> None:
    expected = dict.fromkeys(MIXED_BACKGROUNDS, "Multiple") | NOT_MIXED
    found = dict(zip(expected, read(con, "Ethnicity", *expected), strict=True))
    assert {entry: value for entry, (value, _) in found.items()} == expected
    assert all(rules for _, rules in found.values())


#: What becomes of entries by the rules of their fields, beyond the worked examples of the reference.
ENTRIES: dict[str, dict[object, object]] = {
    "FiO2": {
        "24-28%": None,
        "24%": 24,
        "2L 24%": 24,
        "0.5": 50,
        "0": None,
        "1": 25,
        "1.0": 100,
        4.0: 37,
        "28 L": None,
        "4 via nasal": 37,
        "blue mask": 24,
        "2 to 4 L": None,
        "10 litres": 60,
        "15lpm": 100,
        "room air": None,
        "60% venturi": 60,
        "-5": None,
        "-28%": None,
        "FiO2 -28%": None,
        "FiO2 - 28%": None,
        "\u221228%": None,
        "10 15": None,
        "24; 28": None,
        "0x28": None,
        "28\u00b75%": 28.5,
        "101%": None,
        "1.5": None,
        "0.21 L": None,
        "15.5": 15.5,
        "white/blue": None,
    },
    "CXR severity": {
        "Stage-2": 2,
        "-1": None,
        "01": 1,
        "10/3": None,
        "03/04/2020": None,
        "3.0": 3,
        True: None,
        "\u22121": None,
        "1; 2": None,
        "1/2": None,
        "0x1": None,
        **dict.fromkeys(
            ["1 to 2", "1 or 2", "Stage 2/3", "severity 1-2", "1\u20132", "1\u00bd", "1e0", "1d0", "0b1", "1~2"]
        ),
        "Grade 2 (2020)": 2,
    },
    "PMH CKD": {"yes": None, False: False, "1.5": None, "unknown 2": None, "3 then 1": None, 1.0: True},
    "ITU admission": {"1 (HDU)": None, "1.0": True, "yes": None},
    "PMH diabetes mellitus type II": {"YES": True, "1 metformin": None, "No": None},
    "1st RT-PCR result": {"Positive": None, "1.0": "Positive", "RNA  DETECTED (SARS-CoV-2)": "Positive"},
    "SwabStatus": {"RNA DETECTED (SARS-CoV-2)": None, "Negative": None, 0: "Negative"},
    "Ethnicity": {
        99.0: "Unknown",
        "Mixed white and asian": "Multiple",
        "Black African": "Unknown",
        "CHINESE": "Asian",
        "White-British": "White",
    },
    "COVID CODE": {"CVCX 2": None, "cvcx2 ": 2, "2.0": 2, "02": None},
    "Systolic BP": {"120/80 mmHg": 120, "120/": None, "BP 120": None, "1/3/20": None, "120mmHg": 120},
    "Diastolic BP": {"120/80 mmHg": 80, "120 over 80": None, "120 80": None, "[137/91]-2020-06-02": 91},
    "Age": {"45 years": 45, "45y": 45, "6 months": None, "18m": None, "64.5": 65, "-0.4": None, "120.4": None},
    "Pack year history": {"20+": 20, "approx 30": 30, "20.5": 21, "99999999999": None, "1e3": 1000, "10^9": None},
    "Date of admission": {
        **dict.fromkeys(["20/3/2020", "[Text] 2020-03-20", "43910.0", 43910.0, "2020-03-20T25:00"], date(2020, 3, 20)),
        **dict.fromkeys(["2020-03-20 to 2020-03-22", "20200320", "43910.5", "20 March 2020", "3/3/99", "42735"]),
        **dict.fromkeys(["3/4-2020", "3.4/2020", "2020-03/20", "[Text] 2020/03-20"]),
    },
}


@pytest.mark.parametrize("field", ENTRIES)
def test_entries(con: duckdb.DuckDBPyConnection, field: str) -> None:
    entries = ENTRIES[field]
    found = [value for value, _ in read(con, field, *entries)]
    assert dict(zip(entries, found, strict=True)) == entries


def test_a_duration_in_other_units_than_days_is_flagged(con: duckdb.DuckDBPyConnection) -> None:
    weeks, days = read(con, "Duration of symptoms", "2 weeks", "7 days")
    assert weeks == (2, {"number_from_text", "unit_unknown"})
    assert days == (7, {"number_from_text"})


IMPERIAL, CAMBRIDGE = "Imperial College Healthcare NHS Trust", "Cambridge University Hospitals NHS Foundation Trust"
SUFFOLK, SHEFFIELD = "West Suffolk NHS Foundation Trust", "Sheffield Childrens NHS Foundation Trust"


@pytest.mark.slow(after=8)
@pytest.mark.parametrize(
    ("centre", "field", "raw", "value", "unit", "rules"),
    [
        (CAMBRIDGE, "D-dimer on admission", "350", 0.35, "mg/L", {"unit_converted"}),
        (f"  {CAMBRIDGE.upper().replace(' ', '  ')} ", "D-dimer on admission", 350, 0.35, "mg/L", {"unit_converted"}),
        (IMPERIAL, "D-dimer on admission", "0.35", 0.35, "mg/L", set()),
        (CAMBRIDGE, "D-dimer on admission", "0.35 mg/L", 0.35, "mg/L", {"number_from_text"}),
        (IMPERIAL, "D-dimer on admission", "350 ug/L", 0.35, "mg/L", {"number_from_text", "unit_converted"}),
        (IMPERIAL, "D-dimer on admission", "350 µg/L", 0.35, "mg/L", {"number_from_text", "unit_converted"}),
        ("Leeds", "D-dimer on admission", "350", 350, None, {"unit_unknown"}),
        (None, "D-dimer on admission", "350", 350, None, {"unit_unknown"}),
        (IMPERIAL, "D-dimer on admission", "350 mmol/L", 350, None, {"number_from_text", "unit_unknown"}),
        (IMPERIAL, "PaO2", "9.8", 9.8, "kPa", {"unit_not_convertible"}),
        (CAMBRIDGE, "PaO2", "96", 96, "%", set()),
        (CAMBRIDGE, "Pa02", "9.8 kPa", 9.8, "kPa", {"number_from_text", "unit_not_convertible"}),
        (IMPERIAL, "PaO2", "94%", 94, "%", {"number_from_text"}),
        (SUFFOLK, "PaO2", "75 mmHg", 75, None, {"number_from_text", "unit_unknown"}),
        (IMPERIAL, "Ferritin", "400", 400, "ng/mL", set()),
        (IMPERIAL, "Urea on admission", "7.2", 7.2, "ng/mL", {"unit_implausible"}),
        (IMPERIAL, "Urea on admission", "7.2 mmol/L", 7.2, "mmol/L", {"number_from_text"}),
        (SUFFOLK, "Troponin I", "14", 14, None, {"unit_unknown"}),
        (SHEFFIELD, "Troponin I", "0.014", 14, "ng/L", {"unit_converted"}),
        (SHEFFIELD, "Troponin I", "14", 14, None, {"unit_implausible"}),
        (SHEFFIELD, "Troponin I", "14 ng/L", 14, "ng/L", {"number_from_text"}),
        (SUFFOLK, "Troponin T", "1", None, None, {"out_of_range"}),
        (CAMBRIDGE, "Urea on admission", "101", None, None, {"out_of_range"}),
    ],
)
def test_units(
    con: duckdb.DuckDBPyConnection,
    centre: str | None,
    field: str,
    raw: object,
    value: float | None,
    unit: str | None,
    rules: set[str],
) -> None:
    (row,), issues = cleaned(con, {"SubmittingCentre": centre, field: raw})
    column = FIELDS[field].name
    assert (row[column], row[f"{column}_unit"]) == (value, unit)
    assert {issue["rule"] for issue in issues} == rules
    for issue in issues:
        assert (issue["field"], issue["column_name"], issue["raw_value"]) == (field, column, str(raw))
        assert issue["unit"] == unit


def test_a_conversion_records_raw_and_clean_value_and_unit(con: duckdb.DuckDBPyConnection) -> None:
    _, (issue,) = cleaned(con, {"SubmittingCentre": CAMBRIDGE, "D-dimer on admission": 350})
    found = [issue[name] for name in ("raw_value", "raw_unit", "clean_value", "unit", "effect", "submitting_centre")]
    assert found == ["350", "ng/mL", "0.35", "mg/L", "changed", CAMBRIDGE]


ALIASES = [
    (
        {"PMH hypertension": "2", "PMH h1pertension": "1es"},
        "pmh_hypertension",
        True,
        {"unknown_code", "code_from_text"},
    ),
    ({"PMH hypertension": " ", "PMH h1pertension": 0}, "pmh_hypertension", False, set()),
    ({"PMH hypertension": "0", "PMH h1pertension": "1"}, "pmh_hypertension", False, {"alias_conflict"}),
    ({"PMH hypertension": "1", "PMH h1pertension": "1.0"}, "pmh_hypertension", True, set()),
    ({"ITU admission ": "1"}, "itu_admission", True, set()),
    ({"CXR severity 3": "2", "CXR severity 2": "x"}, "cxr_severity_2", 2, {"not_a_code"}),
    ({"pmh hypertension": 1}, "pmh_hypertension", None, {"unknown_field"}),
    ({"PMH hypertension ": 1}, "pmh_hypertension", None, {"unknown_field"}),
    (
        {"PMH CKD": 0, "OtherDataSources": {"SegmentationData": {"PMH CKD": 1}}},
        "pmh_ckd",
        True,
        {"overridden_by_segmentation"},
    ),
    ({"PMH CKD": 0, "OtherDataSources": {"SegmentationData": {"PMH CKD": "0"}}}, "pmh_ckd", False, set()),
    ({"PMH CKD": "", "OtherDataSources": {"SegmentationData": {"PMH CKD": "1"}}}, "pmh_ckd", True, set()),
    ({"PMH CKD": 1, "OtherDataSources": None}, "pmh_ckd", True, set()),
    ({"PMH CKD": 1, "OtherDataSources": {"SegmentationData": None}}, "pmh_ckd", True, set()),
    ({"PMH CKD": 1, "OtherDataSources": {"More": 1}}, "pmh_ckd", True, {"unknown_field"}),
    ({"PMH CKD": {"a": 1}}, "pmh_ckd", None, {"wrong_type"}),
    ({"PMH CKD": True}, "pmh_ckd", True, set()),
]


@pytest.mark.parametrize(("record", "column", "value", "rules"), ALIASES, ids=[str(case[0]) for case in ALIASES])
def test_aliases_and_nested_fields(
    con: duckdb.DuckDBPyConnection, record: dict[str, Any], column: str, value: object, rules: set[str]
) -> None:
    (row,), issues = cleaned(con, record)
    assert row[column] == value
    assert {issue["rule"] for issue in issues} == rules


def test_a_value_replaced_by_a_nested_field_has_an_issue(con: duckdb.DuckDBPyConnection) -> None:
    nested = {"OtherDataSources": {"SegmentationData": {"PMH CKD": "1 - stage 3", "Age": " "}}}
    (row,), issues = cleaned(con, {"PMH CKD": 0, "Age": 50, **nested})
    assert (row["pmh_ckd"], row["age"]) == (True, None)
    found = {(i["field"], i["raw_value"], i["clean_value"], i["rule"]) for i in issues}
    assert found == {
        ("PMH CKD", "1 - stage 3", "true", "code_from_text"),
        ("PMH CKD", "0", "true", "overridden_by_segmentation"),
        ("Age", "50", None, "overridden_by_segmentation"),
    }


def test_swabs_keep_their_order_and_explain_their_parts(con: duckdb.DuckDBPyConnection) -> None:
    swabs = [{"SwabDate": "31/04/2020", "SwabStatus": "x"}, 7, None, {}, {"SwabDate": "05/16/2020", "SwabStatus": 1}]
    (row,), issues = cleaned(con, {"SwabDates": swabs})
    nothing = {"swabdate": None, "swab_status": None}
    assert row["swabdates"] == [nothing] * 4 + [{"swabdate": date(2020, 5, 16), "swab_status": "Positive"}]
    assert sorted((issue["field"], issue["rule"]) for issue in issues) == [
        ("SwabDates[0].SwabDate", "impossible_date"),
        ("SwabDates[0].SwabStatus", "not_a_result"),
        ("SwabDates[1]", "wrong_type"),
        ("SwabDates[4].SwabDate", "date_other_order"),
    ]


def test_a_duplicate_key_has_an_issue(con: duckdb.DuckDBPyConnection) -> None:
    batch = {c.name: pa.array([None], pa.string()) for c in columns.load_relations()["raw.objects"].columns}
    batch |= {"available_date": pa.array([DAY]), "content": pa.array(['{"Age": 40, "Sex": "F", "Age": 50}'])}
    rows, issues = record_extraction.extract_records(con, pa.table(batch))
    assert rows.column("age").to_pylist() == [40]
    assert [(row["field"], row["rule"]) for row in issues.to_pylist()] == [("Age", "duplicate_field")]
