"""The column tables: true to DICOM's dictionary, and what the lake's views really have."""

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from conftest import start_lake, write_objects
from pydicom.datadict import DicomDictionary, dictionary_VR, tag_for_keyword

import warehouse
from warehouse.catalog import columns
from warehouse.cleaning import tables
from warehouse.docs import data_dictionary, layer_drawing, view_drawing

#: Which types may hold a VR: of numbers and dates, or the text as it is.
TYPES = {
    "DA": {"DATE"},
    "TM": {"TIME", "VARCHAR"},
    "DT": {"TIMESTAMP", "VARCHAR"},
    "DS": {"DOUBLE", "DOUBLE[]"},
    "IS": {"INTEGER", "DOUBLE", "INTEGER[]"},
    "FL": {"DOUBLE"},
    "FD": {"DOUBLE", "DOUBLE[]"},
    "US": {"INTEGER", "INTEGER[]"},
    "UL": {"INTEGER", "BIGINT"},
    "SS": {"INTEGER"},
    "US or SS": {"INTEGER"},
    "SQ": {"JSON"},
}
TEXT = {"VARCHAR", "VARCHAR[]"}

HEADER = {
    "00080005": {"vr": "CS", "Value": ["ISO_IR 100"]},
    "00080008": {"vr": "CS", "Value": ["ORIGINAL", "PRIMARY"]},
    "00080018": {"vr": "UI", "Value": ["1.2.3"]},
    "00080020": {"vr": "DA", "Value": ["20200301"]},
    "00080060": {"vr": "CS", "Value": ["CT"]},
    "00081140": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.9"]}}]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Covid^One", "Ideographic": "x"}]},
    "00100020": {"vr": "LO", "Value": ["Covid1"]},
    "00101030": {"vr": "DS", "Value": [71.5]},
    "00180060": {"vr": "DS", "Value": ["120"]},
    "00200013": {"vr": "IS", "Value": [7]},
    "00204000": {"vr": "LT"},
    "00280030": {"vr": "DS", "Value": [0.5, 0.25]},
}


@pytest.fixture(scope="module")
def wh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[warehouse.Warehouse]:
    root = tmp_path_factory.mktemp("columns")
    write_objects(root / "bucket", {"training/Covid1/images_metadata/2020-03-01/1.2.3.json": json.dumps(HEADER)})
    warehouse.refresh(str(root / "bucket"), str(start_lake(root / "lake")))
    with warehouse.open(str(root / "lake")) as opened:
        yield opened


def test_at_least_sixty_dicom_attributes_as_pydicom_knows_them() -> None:
    attributes = columns.list_dicom_columns()
    assert len(attributes) >= 60
    for column in attributes:
        tag = tag_for_keyword(column.name)
        assert tag is not None, column.name
        assert f"{tag:08X}" == column.source, column.name
        assert column.type in TYPES.get(dictionary_VR(tag), TEXT), column.name


def test_every_attribute_named_by_the_issue_has_columns() -> None:
    sections = {column.section for column in columns.list_dicom_columns()}
    wanted = {
        "identity",
        "patient",
        "study",
        "series",
        "equipment",
        "geometry",
        "pixel",
        "windowing",
        "description",
    }
    assert wanted <= sections
    for modality in ("KVP", "Exposure", "SliceThickness", "ConvolutionKernel", "RepetitionTime", "EchoTime"):
        assert modality in {column.name for column in columns.list_dicom_columns()}


def test_multi_valued_attributes_are_lists() -> None:
    for column in columns.list_dicom_columns():
        _, many, *_ = DicomDictionary[tag_for_keyword(column.name)]
        if column.type.endswith("[]"):
            assert many != "1", column.name
    listed = {column.name for column in columns.list_dicom_columns() if column.type.endswith("[]")}
    assert {"ImageType", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"} <= listed


@pytest.mark.parametrize("relation", columns.load_relations().values(), ids=lambda relation: relation.name)
def test_names_are_unique_and_each_has_a_meaning(relation: columns.Relation) -> None:
    names = [column.name.lower() for column in relation.columns]
    assert len(set(names)) == len(names)
    assert relation.meaning
    assert relation.meaning.endswith(".")
    for column in relation.columns:
        assert column.type
        assert len(column.meaning) > 5, column.name


@pytest.mark.parametrize("relation", columns.load_relations().values(), ids=lambda relation: relation.name)
def test_the_lake_has_the_declared_columns(wh: warehouse.Warehouse, relation: columns.Relation) -> None:
    rows = wh.con.execute(f"describe from {relation.name}").fetchall()
    found = [(name, kind.replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")) for name, kind, *_ in rows]
    assert found == [(column.name, column.type) for column in relation.columns]


#: Counts, and no row of it is a patient's.
SUMMARIES = {"completeness"}


@pytest.mark.parametrize("view", columns.list_views(), ids=lambda view: view.name)
def test_every_view_has_patient_and_available_date(view: columns.Relation) -> None:
    assert view.name in SUMMARIES or {"patient_id", "available_date"} <= {column.name for column in view.columns}


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("SOPInstanceUID", "1.2.3"),
        ("PatientName", "Covid^One"),
        ("PatientWeight", "71.5"),
        ("KVP", "120"),
        ("InstanceNumber", "7"),
        ("StudyDate", "20200301"),
        ("ImageType", "ORIGINAL\\PRIMARY"),
        ("PixelSpacing", "0.5\\0.25"),
        ("SpecificCharacterSet", "ISO_IR 100"),
        ("ImageComments", None),
        ("Manufacturer", None),
    ],
)
def test_tag_reads_any_attribute_by_keyword(wh: warehouse.Warehouse, keyword: str, value: str | None) -> None:
    assert wh.sql(f"select tag(header, '{keyword}') from headers").fetchall() == [(value,)]
    assert wh.sql("select tag(header, $keyword) from headers", keyword=keyword).fetchall() == [(value,)]


def test_tag_reads_a_sequence_as_json(wh: warehouse.Warehouse) -> None:
    ((text,),) = wh.sql("select tag(header, 'ReferencedImageSequence') from headers").fetchall()
    assert json.loads(text) == HEADER["00081140"]["Value"]  # type: ignore[index]


def test_tag_knows_every_keyword_of_pydicom(wh: warehouse.Warehouse) -> None:
    keywords = {entry[4]: f"{tag:08X}" for tag, entry in DicomDictionary.items() if entry[4]}
    assert len(keywords) > 4000
    # For each keyword a header that has its tag, and no other.
    headers = [json.dumps({tag: {"vr": "LO", "Value": [tag]}}) for tag in keywords.values()]
    rows = wh.sql(
        "select keyword, tag(header::json, keyword) "
        "from (select unnest($keywords) as keyword, unnest($headers) as header)",
        keywords=list(keywords),
        headers=headers,
    ).fetchall()
    assert dict(rows) == keywords


def test_tag_refuses_a_keyword_that_dicom_does_not_know(wh: warehouse.Warehouse) -> None:
    with pytest.raises((duckdb.Error, warehouse.UsageError), match="no keyword Nonsense"):
        wh.sql("select tag(header, 'Nonsense') from headers").fetchall()


def test_the_typed_columns_agree_with_the_header(wh: warehouse.Warehouse) -> None:
    names = "Modality, KVP, InstanceNumber, PixelSpacing, StudyDate::varchar, ImageType"
    row = wh.images().select(names).fetchone()
    assert row == ("CT", 120.0, 7, [0.5, 0.25], "2020-03-01", ["ORIGINAL", "PRIMARY"])


def test_the_dictionary_page_is_up_to_date() -> None:
    page = Path(warehouse.__file__).parent.parent / "docs/data_dictionary.md"
    assert page.read_text(encoding="utf-8") == data_dictionary.render_page(), "run make docs"


def test_the_drawing_of_the_views_is_up_to_date() -> None:
    page = (Path(warehouse.__file__).parent.parent / "sql/README.md").read_text(encoding="utf-8")
    assert page == view_drawing.redraw(page), "run make docs"


def test_the_picture_of_the_layers_is_up_to_date() -> None:
    page = (Path(warehouse.__file__).parent.parent / "docs/architecture.md").read_text(encoding="utf-8")
    assert page == layer_drawing.redraw(page), "run make docs"


@pytest.mark.parametrize("relation", columns.load_relations().values(), ids=lambda relation: relation.name)
def test_what_is_measured_has_a_unit(relation: columns.Relation) -> None:
    for column in relation.columns:
        if column.kind in ("integer", "age", "number", "fio2", "blood_pressure") or column.type in ("BIGINT", "DOUBLE"):
            assert column.unit or column.section not in ("object", *CLINICAL_SECTIONS), column.name


CLINICAL_SECTIONS = {column.section for column in columns.list_record_columns()}


def test_every_field_of_the_record_is_documented() -> None:
    names = {column.name for column in columns.load_relations()["core.clinical"].columns}
    keys = [key for column in columns.list_record_columns() for key in (column.source, *column.other_keys)]
    assert len(set(keys)) == len(keys) == 72
    for column in columns.list_record_columns():
        assert column.applies_to in ("both", "positive", "negative"), column.name
        assert column.event_date in {"", "always", *names}, column.name
        assert (column.kind in ("category", "code", "boolean", "pcr_result")) <= bool(column.categories), column.name
        assert column.type or not column.event_date


def test_every_rule_is_declared_once_with_an_effect() -> None:
    rows = tables.read_rows("rules")
    assert len({row["rule"] for row in rows}) == len(rows)
    assert {row["effect"] for row in rows} == {"nulled", "changed", "repaired", "flagged"}
    assert all(row["meaning"].endswith(".") for row in rows)
