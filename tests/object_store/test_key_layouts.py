"""Layouts of keys by configuration: a pattern parsed alike in Python and in SQL, and held-back groups."""

from collections.abc import Iterator
from datetime import UTC, date, datetime

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.parsed_keys import parse_in_duckdb

from warehouse.errors import UsageError
from warehouse.ingest.scope import Scope
from warehouse.object_store.layouts import Layout, parse_layout

WRITTEN = datetime(2020, 5, 6, 12, tzinfo=UTC)
LAYOUTS = [
    parse_layout("any"),
    parse_layout("any", "site-a"),
    parse_layout("{patient}/{date}/{study}/{*}/{image}.dcm"),
    parse_layout("{group}/{patient}_{study}/{**}"),
    parse_layout("(?P<patient>[^_/]+)_(?P<date>[0-9-]+)/(?:(?P<series>[^/]+)/)?.*"),
]
SEGMENT = st.one_of(
    st.sampled_from(
        ["P1", "Validation", "held-out", "2020-04-01", "20200431", "2020-W01-1", "1.2.840", "P1_2020-04-01"]
    ),
    st.sampled_from(
        ["IM0001", "a.dcm", "A.DCM", "b.ima", "README", "x.zip", "DICOMDIR", ".hidden", "y.json", "1.2.3.4"]
    ),
    st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), max_size=6),
)


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute("set TimeZone = 'UTC'")
        yield opened


def parse_in_sql(con: duckdb.DuckDBPyConnection, layout: Layout, key: str, source: str) -> tuple[object, ...]:
    rows = parse_in_duckdb(con, [key], source, layout, WRITTEN).select(
        "kind = 'header', is_archive, group_name, patient_id, available_date, study_id, series_id, image_id"
    )
    return tuple(rows.fetchall()[0])


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.text)
@given(segments=st.lists(SEGMENT, min_size=1, max_size=6), source=st.sampled_from(["s3://b", "/data/validation/x"]))
@example(segments=["P1", "20200401", "s", "t", "i.dcm"], source="s3://b")
@example(segments=["P1_2020-04-01", "i.dcm"], source="s3://b")
def test_sql_and_python_parse_alike(
    con: duckdb.DuckDBPyConnection, layout: Layout, segments: list[str], source: str
) -> None:
    key = "/".join(segments)
    found = layout.parse_key(key, source)
    day = found.available_date if found.has_date else WRITTEN.date()
    parts = (found.group_name, found.patient_id, day, found.study_id, found.series_id, found.image_id)
    named = tuple(part or None for part in parts)
    _, _, *there = parse_in_sql(con, layout, key, source)
    assert (found.is_image, found.is_archive) == parse_in_sql(con, layout, key, source)[:2]
    if found.is_image:
        assert tuple(part or None for part in there) == named
    else:
        assert there[:2] == [None, None]


@pytest.mark.parametrize(
    ("key", "is_image"),
    [
        ("a/IM0001", True),
        ("a/1.2.840.10008.1", True),
        ("a/b.DCM", True),
        ("b.dicom", True),
        ("DICOMDIR", False),
        ("a/.DS_Store", False),
        ("a/notes.txt", False),
        ("a/1.dcm.json", False),
        ("a/1.dcm.gz", False),
        ("a/", False),
    ],
)
def test_what_any_reads(key: str, is_image: bool) -> None:
    assert parse_layout("any").parse_key(key).is_image is is_image


def test_a_template_names_its_parts() -> None:
    key = parse_layout("{group}/{patient}/{date}/{study}/{series}/{image}.dcm").parse_key("site/P1/20200401/1/2/3.dcm")
    assert (key.group_name, key.patient_id, key.available_date) == ("site", "P1", date(2020, 4, 1))
    assert (key.study_id, key.series_id, key.image_id) == ("1", "2", "3")


@pytest.mark.parametrize(
    ("source", "key", "group", "found"),
    [
        ("s3://b", "P1/1.dcm", "", "training"),
        ("s3://b", "Validation/P1/1.dcm", "", "validation"),
        ("s3://b", "P1/held_out/1.dcm", "", "validation"),
        ("s3://b", "validation/1.dcm", "training", "validation"),
        ("s3://b", "P1/validation.dcm", "", "training"),
        ("s3://b/validation", "P1/1.dcm", "", "validation"),
        ("/data/hold-out-set", "P1/1.dcm", "", "validation"),
        ("/data/validation", "P1/1.dcm", "training", "training"),
        ("s3://b", "P1/1.dcm", "validation", "validation"),
    ],
)
def test_held_back_folders_are_held_back(source: str, key: str, group: str, found: str) -> None:
    assert parse_layout("any", group).parse_key(key, source).group_name == found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("dated", "not a layout"),
        ("{patient}/{patient}.dcm", "twice"),
        ("{who}/{image}.dcm", "names who"),
        ("{*}/{**}.dcm", "names nothing"),
        ("(?P<patient>[/.dcm", "not valid"),
        (r"(?P<patient>.)\1", "not valid"),
        ("(?P<patient>a(?=b))", "not valid"),
    ],
)
def test_wrong_patterns_are_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse_layout(text)


@pytest.mark.parametrize(
    "text", ["{patient}/{**}", "x {patient}_{image}.dcm", "{group}/{patient}/{**}", LAYOUTS[4].text]
)
@given(segments=st.lists(SEGMENT, min_size=1, max_size=3), start=st.sampled_from(["", "x ", "x  ", " ", "g/"]))
@example(segments=["P1_2", "i.dcm"], start="")
@example(segments=["\xa0", "P1"], start="")
@example(segments=["P1_i.dcm"], start="x  ")
def test_the_keys_of_a_patient_are_found_alike(
    con: duckdb.DuckDBPyConnection, text: str, segments: list[str], start: str
) -> None:
    layout, key = parse_layout(text), start + "/".join(segments)
    found = layout.find_patient(key)
    for patient in {found, "P1", "P2"} - {""}:
        scope = Scope({}, {"patient 1": patient}, layout)
        assert scope.covers(key) == (found == patient)
        (row,) = con.execute(f"select {scope.render_within('$key')}", {"key": key, **scope.parameters}).fetchall()
        assert row == (found == patient,)
        assert found != patient or key.startswith(scope.prefixes)
