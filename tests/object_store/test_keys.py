"""The grammar of object keys: both directions, and DuckDB reads it as Python does."""

from collections.abc import Iterator
from datetime import UTC, date, datetime

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.parsed_keys import parse_in_duckdb

from warehouse.object_store import keys
from warehouse.object_store.keys import ObjectKey
from warehouse.object_store.layouts import Layout

SEGMENT = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=12)
#: Any day of the calendar, and days that only look like one.
DATE = st.dates().map(date.isoformat) | st.from_regex("[0-9]{4}-[0-9]{2}-[0-9]{2}", fullmatch=True)
FOLDER = st.sampled_from(["ct", "mri", "xray", "x-ray", "unknown"])
NAMES = {"group_name": SEGMENT, "patient_id": SEGMENT}
SERIES = {"folder": FOLDER, "study_id": SEGMENT, "series_id": SEGMENT, "image_id": SEGMENT}
IMAGE_KINDS = st.sampled_from(["header", "dcm"])

OBJECT_KEYS = st.one_of(
    st.builds(ObjectKey, kind=IMAGE_KINDS, layout=st.just("dated"), key_date=DATE, image_id=SEGMENT, **NAMES),
    st.builds(ObjectKey, kind=st.just("clinical"), layout=st.just("dated"), key_date=DATE, **NAMES),
    st.builds(ObjectKey, kind=IMAGE_KINDS, layout=st.just("published"), **NAMES, **SERIES),
    st.builds(
        ObjectKey,
        kind=st.just("clinical"),
        layout=st.just("published"),
        key_date=DATE,
        record=st.sampled_from(["data", "status"]),
        **NAMES,
    ),
)


@st.composite
def near_keys(draw: st.DrawFn) -> str:
    """A good key with a few characters put in or taken out somewhere."""
    text = keys.format_key(draw(OBJECT_KEYS))
    at = draw(st.integers(0, len(text)))
    return (
        text[:at]
        + draw(st.sampled_from(["", "\n", "/", "x", "-", "9", "é", "\u2028"]))
        + text[at + draw(st.integers(0, 1)) :]
    )


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"])) | near_keys()


@given(OBJECT_KEYS)
def test_what_is_formatted_is_parsed_back(key: ObjectKey) -> None:
    assert keys.parse_key(keys.format_key(key)) == key


@given(st.text() | near_keys())
def test_any_text_is_parsed_and_formatted_back(text: str) -> None:
    assert keys.format_key(keys.parse_key(text)) == text


@pytest.mark.parametrize(
    ("text", "kind", "layout", "day"),
    [
        ("training/Covid1/images/2020-04-01/1.2.3.dcm", "dcm", "dated", date(2020, 4, 1)),
        ("training/Covid1/images_metadata/2020-04-01/1.2.3.json", "header", "dated", date(2020, 4, 1)),
        ("validation/Covid1/data/2020-04-01/data.json", "clinical", "dated", date(2020, 4, 1)),
        ("training/x-ray/Covid1/1.2/1.3/1.4.dcm", "dcm", "published", None),
        ("training/xray-metadata/Covid1/1.2/1.3/1.4.json", "header", "published", None),
        ("training/data/Covid1/status_2020-02-29.json", "clinical", "published", date(2020, 2, 29)),
        ("training/data/Covid1/status_2020-02-31.json", "clinical", "published", None),
        ("training/xray-metadata/Covid1/1.2/1.3/1.4.dcm", "other", "", None),
        ("training/xray/Covid1/1.2/1.3/1.4.json", "other", "", None),
        ("training/pet/Covid1/1.2/1.3/1.4.dcm", "other", "", None),
        ("training/Covid1/data/2020-04-01/status.json", "other", "", None),
        ("training/Covid1/data/20200401/data.json", "other", "", None),
        ("training//images/2020-04-01/1.dcm", "other", "", None),
        ("training/Covid1/images/2020-04-01/1.dcm\n", "other", "", None),
        ("training/Covid1/images/٢٠٢٠-٠٤-٠١/1.dcm", "other", "", None),
        ("README.md", "other", "", None),
        ("", "other", "", None),
    ],
)
def test_keys_as_they_occur(text: str, kind: str, layout: str, day: date | None) -> None:
    key = keys.parse_key(text)
    assert (key.kind, key.layout, key.available_date) == (kind, layout, day)


WRITTEN = datetime(2020, 5, 6, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute("set TimeZone = 'UTC'")
        yield opened


def parsed_by_duckdb(con: duckdb.DuckDBPyConnection, texts: list[str]) -> dict[str, tuple[object, ...]]:
    """The rows that a refresh would write to raw.objects for these keys."""
    rows = parse_in_duckdb(con, texts, "here", Layout(), WRITTEN).select(
        "key, kind, layout, group_name, patient_id, record, study_id, series_id, image_id, available_date"
    )
    return {key: tuple(values) for key, *values in rows.fetchall()}


def parsed_by_python(text: str) -> tuple[object, ...]:
    key = keys.parse_key(text)
    names = (
        key.layout,
        key.group_name,
        key.patient_id,
        key.record,
        key.study_id,
        key.series_id,
        key.image_id,
    )
    return (
        key.kind,
        *(name or None for name in names),
        key.available_date if key.key_date else WRITTEN.date(),
    )


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(ANY_TEXT | OBJECT_KEYS.map(keys.format_key), min_size=1, max_size=60, unique=True))
def test_duckdb_parses_as_python_does(con: duckdb.DuckDBPyConnection, texts: list[str]) -> None:
    assert parsed_by_duckdb(con, texts) == {text: parsed_by_python(text) for text in texts}
