"""Extraction of headers: no JSON, however odd, costs a row; values are typed or null, cell by cell."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.catalog import columns
from warehouse.ingest import extraction, header_extraction, record_extraction

TAG = {column.name: column.source for column in columns.list_dicom_columns()}


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with extraction.open_extractor() as opened:
        yield opened


def rows(con: duckdb.DuckDBPyConnection, texts: list[str | None]) -> list[dict[str, Any]]:
    """The rows of these headers, in their order."""
    n = len(texts)
    day, moment = pa.array([date(2020, 4, 1)] * n), pa.array([datetime(2020, 4, 1, tzinfo=UTC)] * n)
    batch = {
        c.name: pa.array([None] * n, pa.string())
        for c in columns.load_relations()["core.images"].columns
        if not c.is_dicom
    }
    batch |= {"key": pa.array([f"{i:06}" for i in range(n)]), "available_date": day, "last_modified": moment}
    batch |= {"content": pa.array(texts, pa.string())}
    found = header_extraction.extract_headers(con, pa.table(batch))[0].to_pylist()
    return sorted(found, key=lambda row: row["key"])


def typed(con: duckdb.DuckDBPyConnection, *headers: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of headers given by keyword and whole attribute."""
    return rows(con, [json.dumps({TAG[name]: attribute for name, attribute in h.items()}) for h in headers])


SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    SCALAR,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["vr", "Value", "Alphabetic", "x"]), inner)
    ),
    max_leaves=8,
)
ATTRIBUTE = JSON | st.fixed_dictionaries({"vr": st.just("LO"), "Value": JSON | st.lists(JSON, max_size=3)})
HEADER = st.dictionaries(
    st.sampled_from(sorted(TAG.values())) | st.text("0123456789ABCDEF", min_size=8, max_size=8), ATTRIBUTE
)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    documents=st.lists(
        HEADER.map(json.dumps) | JSON.map(json.dumps) | st.text(st.characters(exclude_categories=["Cs"])) | st.none(),
        max_size=20,
    )
)
def test_nothing_raises_and_no_row_is_lost(con: duckdb.DuckDBPyConnection, documents: list[str | None]) -> None:
    good = json.dumps({TAG["SOPInstanceUID"]: {"vr": "UI", "Value": ["1.2.3"]}})
    found = rows(con, [*documents, good])
    assert [row["key"] for row in found] == [f"{i:06}" for i in range(len(documents) + 1)]
    assert (found[-1]["SOPInstanceUID"], found[-1]["is_header"]) == ("1.2.3", True)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(odd=st.lists(HEADER.filter(lambda h: TAG["KVP"] not in h and TAG["Modality"] not in h), min_size=1, max_size=20))
def test_an_odd_attribute_leaves_the_others_alone(con: duckdb.DuckDBPyConnection, odd: list[dict[str, Any]]) -> None:
    good = {TAG["KVP"]: {"vr": "DS", "Value": [120]}, TAG["Modality"]: {"vr": "CS", "Value": ["CT"]}}
    found = rows(con, [json.dumps(header | good) for header in odd])
    assert {(row["KVP"], row["Modality"], row["is_header"]) for row in found} == {(120.0, "CT", True)}


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("StudyDate", ["20200401"], date(2020, 4, 1)),
        ("StudyDate", ["2020.04.01"], date(2020, 4, 1)),
        ("StudyDate", [" 20200401 "], date(2020, 4, 1)),
        ("StudyDate", ["20200231"], None),
        ("StudyDate", ["yesterday"], None),
        ("StudyDate", [""], None),
        ("StudyDate", [20200401], date(2020, 4, 1)),
        ("StudyTime", ["101530.123456"], time(10, 15, 30, 123456)),
        ("StudyTime", ["101530.5"], time(10, 15, 30, 500000)),
        ("StudyTime", ["101530"], time(10, 15, 30)),
        ("StudyTime", ["1015"], time(10, 15)),
        ("StudyTime", ["10"], time(10)),
        ("StudyTime", ["10:15:30"], time(10, 15, 30)),
        ("StudyTime", ["101530 "], time(10, 15, 30)),
        ("StudyTime", ["996099"], None),
        ("StudyTime", ["noon"], None),
        ("SeriesNumber", [3], 3),
        ("SeriesNumber", ["3"], 3),
        ("SeriesNumber", [" 3 "], 3),
        ("SeriesNumber", ["+3"], 3),
        ("SeriesNumber", [-3], -3),
        ("SeriesNumber", [3.0], 3),
        ("SeriesNumber", [3.7], None),
        ("SeriesNumber", ["3.7"], None),
        ("SeriesNumber", ["three"], None),
        ("SeriesNumber", [99999999999999], None),
        ("SeriesNumber", [[3]], 3),
        ("KVP", [120], 120.0),
        ("KVP", ["120"], 120.0),
        ("KVP", [" 1.5 "], 1.5),
        ("KVP", ["1.5E2"], 150.0),
        ("KVP", ["NaN"], None),
        ("KVP", ["inf"], None),
        ("KVP", ["1e999"], None),
        ("KVP", ["120 kV"], None),
        ("KVP", [""], None),
        ("KVP", [None], None),
        ("KVP", [{"a": 1}], None),
        ("KVP", [120, 140], 120.0),
        ("Modality", ["CT"], "CT"),
        ("Modality", [" CT "], "CT"),
        ("Modality", ["  "], None),
        ("Modality", [], None),
        ("StudyDescription", ["Ärzte \"&\" 'naïve' 胸"], "Ärzte \"&\" 'naïve' 胸"),
        ("PatientName", [{"Alphabetic": "Covid1"}], "Covid1"),
        ("PatientName", [{"Ideographic": "胸"}], None),
        ("PatientName", ["Covid1"], "Covid1"),
        ("PatientName", ["{not json"], "{not json"),
        ("PixelSpacing", [0.5, 0.25], [0.5, 0.25]),
        ("PixelSpacing", ["0.5", "0.25"], [0.5, 0.25]),
        ("PixelSpacing", ["0.5\\0.25"], [0.5, 0.25]),
        ("PixelSpacing", ["0.5", None, "x"], [0.5, None, None]),
        ("PixelSpacing", ["NaN"], [None]),
        ("PixelSpacing", [], None),
        ("ImageType", ["ORIGINAL", "PRIMARY"], ["ORIGINAL", "PRIMARY"]),
        ("ImageType", ["ORIGINAL\\PRIMARY"], ["ORIGINAL", "PRIMARY"]),
        ("ImageType", ["ORIGINAL", None], ["ORIGINAL", None]),
    ],
)  # fmt: skip
def test_values(con: duckdb.DuckDBPyConnection, name: str, values: list[Any], expected: object) -> None:
    row, *_ = typed(con, {name: {"vr": "UN", "Value": values}})
    assert row[name] == expected
    assert row["is_header"]


def test_sequences_stay_json(con: duckdb.DuckDBPyConnection) -> None:
    sequence = [{"00080100": {"vr": "SH", "Value": ["XR"]}}, None]
    row, *_ = typed(con, {"ProcedureCodeSequence": {"vr": "SQ", "Value": sequence}})
    assert json.loads(row["ProcedureCodeSequence"]) == sequence


@pytest.mark.parametrize(
    "attribute", [None, {}, {"vr": "CS"}, {"vr": "CS", "Value": None}, [], {"Value": ""}, {"Value": [None]}]
)
def test_attributes_without_a_value(con: duckdb.DuckDBPyConnection, attribute: object) -> None:
    row, *_ = typed(con, {"Modality": attribute, "SOPInstanceUID": {"Value": ["1.2"]}})
    assert (row["Modality"], row["SOPInstanceUID"], row["is_header"]) == (None, "1.2", True)


@pytest.mark.parametrize(
    ("text", "is_header"),
    [
        ('{"00080018": {"vr": "UI", "Value": ["1.2"]}}', True),
        ('{"00081234": {"vr": "LO"}}', True),
        (' \n{"0008103e": {"vr": "LO"}}', True),
        ('{"00080060": null}', True),
        ("{}", False),
        ('{"Pseudonym": "Covid1"}', False),
        ("[]", False),
        ('[{"00080018": {"Value": ["1.2"]}}]', False),
        ('"00080018"', False),
        ("null", False),
        ('{"00080018": ', False),
        ("", False),
        (None, False),
    ],
)
def test_what_is_a_header(con: duckdb.DuckDBPyConnection, text: str | None, is_header: bool) -> None:
    assert [row["is_header"] for row in rows(con, [text])] == [is_header]


def records(con: duckdb.DuckDBPyConnection, texts: list[str | None]) -> list[tuple[Any, ...]]:
    n = len(texts)
    batch = {c.name: pa.array([None] * n, pa.string()) for c in columns.load_relations()["raw.objects"].columns}
    batch |= {"key": pa.array([f"{i:06}" for i in range(n)]), "content": pa.array(texts, pa.string())}
    batch |= {"available_date": pa.array([date(2020, 4, 1)] * n)}
    found = record_extraction.extract_records(con, pa.table(batch))[0].to_pylist()
    return [(r["is_record"], r["kind"], r["submitting_centre"]) for r in sorted(found, key=lambda row: row["key"])]


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    documents=st.lists(
        JSON.map(json.dumps) | st.text(st.characters(exclude_categories=["Cs"])) | st.none(), max_size=20
    )
)
def test_records_never_raise(con: duckdb.DuckDBPyConnection, documents: list[str | None]) -> None:
    found = records(con, [*documents, '{"SubmittingCentre": " Leeds "}'])
    assert len(found) == len(documents) + 1
    assert found[-1] == (True, "data", "Leeds")


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        ({"SwabStatus": "Negative"}, "status"),
        ({"SwabDate": "1/4/2020", "Age": 4, "Pseudonym": "x"}, "status"),
        ({"SwabDates": []}, "status"),
        ({"OtherDataSources": {"SegmentationData": {"SwabStatus": "Negative"}}}, "status"),
        ({"OtherDataSources": None, "SwabStatus": None}, "status"),
        ({"SwabStatus": "Positive", "Date of admission": None}, "data"),
        ({"SwabDate": 1, "OtherDataSources": {"SegmentationData": {"PMH CKD": 0}}}, "data"),
        ({"Pseudonym": "x"}, "data"),
        ({}, "data"),
    ],
)
def test_kind_of_a_dated_record(con: duckdb.DuckDBPyConnection, record: dict[str, Any], kind: str) -> None:
    assert records(con, [json.dumps(record)])[0][:2] == (True, kind)
