"""Every spelling of DICOM JSON that is sent is read as one: columns, tag(), checks; what cannot be read is named."""

import base64
import json
import struct
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from conftest import start_lake, write_objects
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

import warehouse
from warehouse.catalog import columns, dicom_dictionary
from warehouse.dicom import normalising, representations
from warehouse.engine import sql_files
from warehouse.lake import location
from warehouse.lake.store import open_writer
from warehouse.settings import Settings


def inline(content: bytes, vr: str | None = "UN") -> dict[str, Any]:
    return {**({"vr": vr} if vr else {}), "InlineBinary": base64.b64encode(content).decode()}


def of(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


def element(group: int, number: int, content: bytes, length: int | None = None) -> bytes:
    """An element in implicit VR little endian (PS3.5 7.1.3)."""
    return struct.pack("<HHI", group, number, len(content) if length is None else length) + content


#: An item with a code, in which another has a number: with lengths, and with delimiters.
INNER = element(0x28, 0x10, struct.pack("<H", 512))
CODES = element(0xFFFE, 0xE000, element(8, 0x100, b"A ") + element(0x40, 0xA170, element(0xFFFE, 0xE000, INNER)))
END, STOP, OPEN = element(0xFFFE, 0xE00D, b""), element(0xFFFE, 0xE0DD, b""), 0xFFFFFFFF
CODES_DELIMITED = element(0xFFFE, 0xE000, element(8, 0x100, b"A ") + element(
    0x40, 0xA170, element(0xFFFE, 0xE000, INNER + END, OPEN) + STOP, OPEN) + END, OPEN)  # fmt: skip
CODES_READ = (
    '[{"00080100":{"vr":"SH","Value":["A"]},"0040A170":{"vr":"SQ","Value":[{"00280010":{"vr":"US","Value":[512]}}]}}]'
)


@pytest.mark.parametrize("number", ["1" * 200_000, "1." * 100_000, "1." + "1" * 200_000, "." + "1" * 200_000])
def test_a_long_invalid_number_is_recognised_at_once(number: str) -> None:
    start = time.process_time()
    decimal = representations.find_form("DOUBLE", "DS")
    assert decimal is not None
    assert not decimal.fullmatch(f"{number}x")
    assert time.process_time() - start < 2


#: Name: the attributes of a header, and the values that columns and tag() must have.
SPELLINGS: dict[str, tuple[dict[str, Any], dict[str, object]]] = {
    "lower": ({"0020000d": of("UI", "2.25.100"), "0008103e": of("LO", "Thorax")},
              {"StudyInstanceUID": "2.25.100", "SeriesDescription": "Thorax"}),
    "padded": ({"0020000D": of("UI", "2.25.100\0"), "00080060": of("CS", " CT\0"), "00080020": of("DA", "20200401\0"),
                "00180060": of("DS", "120\0"), "00200013": of("IS", "7\0"), "00204000": of("LT", " left \0")},
               {"StudyInstanceUID": "2.25.100", "Modality": "CT", "StudyDate": date(2020, 4, 1), "KVP": 120.0,
                "InstanceNumber": 7, "ImageComments": " left"}),
    "unknown": ({"0020000D": inline(b"2.25.100\0"), "00080020": inline(b"20200401"), "00180060": inline(b"120 "),
                 "00280030": inline(b"0.5\\0.5 "), "00280010": inline(struct.pack("<H", 512)),
                 "00186000": inline(b"400 ", None), "00189345": inline(struct.pack("<d", 1.5)),
                 "00189074": inline(b"20200401101112")},
                {"StudyInstanceUID": "2.25.100", "StudyDate": date(2020, 4, 1), "KVP": 120.0,
                 "PixelSpacing": [0.5, 0.5], "Rows": 512, "Sensitivity": 400.0, "CTDIvol": 1.5,
                 "tag FrameAcquisitionDateTime": "20200401101112"}),
    "scalar": ({"00080060": {"vr": "CS", "Value": "CT"}, "00180060": {"vr": "DS", "Value": 120}},
               {"Modality": "CT", "KVP": 120.0}),
    "bare": ({"00080060": ["CT"], "00180060": 120, "00100010": {"Alphabetic": "A^B"}},
             {"Modality": "CT", "KVP": 120.0, "PatientName": "A^B"}),
    "members": ({"00080060": {"VR": "cs", "value": ["CT"]}}, {"Modality": "CT"}),
    "gaps": ({"00080008": of("CS", "ORIGINAL", "PRIMARY", None, "AXIAL"), "00181164": of("DS", None, 0.5),
              "00081070": of("PN", None, {"Alphabetic": "Op^B"}), "00181020": of("LO", "a\\ b ")},
             {"ImageType": ["ORIGINAL", "PRIMARY", None, "AXIAL"], "ImagerPixelSpacing": [None, 0.5],
              "tag ImageType": "ORIGINAL\\PRIMARY\\\\AXIAL", "tag ImagerPixelSpacing": "\\0.5",
              "tag OperatorsName": "\\Op^B", "SoftwareVersions": ["a", "b"]}),
    "names": ({"00100010": of("PN", "A^B=C=D"), "00081070": of("PN", {"Alphabetic": "E=F"}, "G\\H=I")},
              {"PatientName": "A^B", "tag OperatorsName": "E\\G\\H"}),
    "two items": ({"00081032": of("SQ", {}, {"00080100": of("SH", "B")})},
                  {"ProcedureCodeSequence": '[{},{"00080100":{"vr":"SH","Value":["B"]}}]'}),
    "sequence": ({"00081032": of("SQ", {"00080100": of("SH", "A ")})},
                 {"tag ProcedureCodeSequence": '[{"00080100":{"vr":"SH","Value":["A"]}}]'}),
    "ages": ({"00101010": of("AS", "UNK"), "0020000D": of("UI", "1.02.3")},
             {"PatientAge": None, "StudyInstanceUID": "1.02.3", "tag PatientAge": "UNK"}),
    "age": ({"00101010": of("AS", "53 y")}, {"PatientAge": "53 y"}),
    "age as text": ({"00101010": of("LO", "fifty")}, {"PatientAge": None}),
    "sequence as bytes": (
        {"00081032": inline(CODES), "00082218": inline(CODES_DELIMITED, "SQ")},
        {"tag ProcedureCodeSequence": CODES_READ, "tag AnatomicRegionSequence": CODES_READ},
    ),
    "cut sequence": ({"00081032": inline(CODES[:-2])},
                     {"ProcedureCodeSequence": None, "tag ProcedureCodeSequence": inline(CODES[:-2])["InlineBinary"]}),
    "none": ({"00082218": of("SQ"), "00102160": of("SH", "")},
             {"tag AnatomicRegionSequence": None, "tag EthnicGroup": None}),
    "forms": ({"00080020": of("DA", "2020112"), "00101030": of("DS", "1_000"), "00181152": of("IS", True),
               "00080030": of("TM", "240000"), "00080031": of("TM", "10111"), "00200011": of("IS", "0x10")},
              {"StudyDate": None, "PatientWeight": None, "Exposure": None, "StudyTime": None, "SeriesTime": None,
               "SeriesNumber": None, "tag PatientWeight": "1_000"}),
    "other": ({"00080020": of("LO", "2020112"), "00180060": of("LO", "1_000")}, {"StudyDate": None, "KVP": None}),
    "bytes": ({"00280010": inline(b"\1\2\3"), "00181190": of("DS", "0.5", "x")},
              {"Rows": None, "FocalSpots": [0.5, None]}),
    "tags": ({"(0020,000D)": of("UI", "2.25.1"), "0008,0060": of("CS", "CT"), "0x00180060": of("DS", "120"),
              "SeriesDescription": of("LO", "Thorax"), "StudyDate": "20200401"},
             {"StudyInstanceUID": "2.25.1", "Modality": "CT", "KVP": 120.0, "SeriesDescription": "Thorax",
              "StudyDate": date(2020, 4, 1)}),
    "parts": ({"00100010": of("PN", {"alphabetic": "A^B"}), "00081070": of("PN", {"ALPHABETIC": "C"}, ["D"])},
              {"PatientName": "A^B", "tag OperatorsName": "C\\D"}),
    "nested": ({"00080060": of("CS", ["CT"]), "00080008": of("CS", ["ORIGINAL", "PRIMARY"])},
               {"Modality": "CT", "ImageType": ["ORIGINAL", "PRIMARY"]}),
    "objects": ({"00081010": of("SH", {"x": "y"}), "00081090": of("LO", True),
                 "00100010": of("PN", {"Alphabetic": {"FamilyName": "A"}})},
                {"StationName": None, "ManufacturerModelName": None, "PatientName": None}),
    "several": ({"00181150": of("IS", "120", "130"), "00181151": of("IS", None, "120")},
                {"ExposureTime": 120.0, "XRayTubeCurrent": None, "tag ExposureTime": "120\\130"}),
    "members without a name": ({"00181110": {"vr": "DS", "values": ["1"]}, "00181111": {"vr": "DS", "keyword": "x"},
                                "schema": "1.0", "nothing": None},
                               {"DistanceSourceToDetector": None}),
    "escapes": ({"00080005": of("CS", "", "ISO 2022 IR 87"), "00081030": inline(b"\x1b$B;3ED\x1b(B")},
                {"StudyDescription": None}),
    "extended set": ({"00080005": of("CS", "ISO 2022 IR 100"), "0008103E": inline("groß".encode("latin-1"))},
                     {"SeriesDescription": "groß"}),
    "private": ({"00290010": of("LO", "MAKER "), "00291010": of("LO", "mine"), "00290011": of("LO", "OTHER"),
                 "00291110": of("LO", "theirs")}, {"tag 00291010": "mine"}),
}  # fmt: skip
#: The attributes that check unread_values must name.
UNREAD = {
    "StudyDate", "PatientWeight", "Exposure", "StudyTime", "SeriesTime", "SeriesNumber", "KVP", "Rows", "FocalSpots",
    "PatientAge", "ProcedureCodeSequence", "StationName", "ManufacturerModelName", "PatientName", "ExposureTime",
    "XRayTubeCurrent", "DistanceSourceToDetector", "schema", "StudyDescription",
}  # fmt: skip


def image_key(name: str) -> str:
    return f"training/{name}/images_metadata/2020-05-01/{name}.json"


@pytest.fixture(scope="module")
def wh(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    place = tmp_path_factory.mktemp("spellings")
    contents = {name: {"00080018": of("UI", "1.2")} | header for name, (header, _) in SPELLINGS.items()}
    write_objects(place / "bucket", {image_key(name): json.dumps(header) for name, header in contents.items()})
    write_objects(place / "bucket", {image_key("wrapped"): json.dumps({"dataset": contents["gaps"]})})
    warehouse.refresh(str(place / "bucket"), str(start_lake(place / "lake")))
    return warehouse.open(str(place / "lake"))


@pytest.mark.parametrize("name", SPELLINGS)
def test_spellings(wh: warehouse.Warehouse, name: str) -> None:
    for asked, expected in SPELLINGS[name][1].items():
        what = f"tag(header, '{asked[4:]}')" if asked.startswith("tag ") else f'"{asked}"'
        sql = f"select {what} from images join headers using (source, key) where images.patient_id = $name"
        assert wh.sql(sql, name=name).fetchall() == [(expected,)], asked


def test_what_was_sent_is_kept(wh: warehouse.Warehouse) -> None:
    for name, (header, _) in SPELLINGS.items():
        ((sent,),) = wh.sql("select coalesce(sent, header) from headers where patient_id = $name", name=name).fetchall()
        assert json.loads(sent) == {"00080018": of("UI", "1.2")} | header


def test_what_is_unread_is_named(wh: warehouse.Warehouse) -> None:
    (result,) = wh.check("unread_values")
    assert {row["attribute"] for row in result.rows.to_pylist()} == UNREAD


def test_a_wrapped_data_set_is_rejected(wh: warehouse.Warehouse) -> None:
    assert [row[0] for row in wh.rejects().project("patient_id").fetchall()] == ["wrapped"]


def test_private_attributes_by_their_creator(wh: warehouse.Warehouse) -> None:
    wanted = "tag(header, '0029xx10', 'OTHER'), tag(header, '0029xx10', 'NONE')"
    sql = f"select {wanted} from headers where patient_id = 'private'"
    assert wh.sql(sql).fetchall() == [("theirs", None)]
    assert wh.sql(sql, trusted=False).fetchall() == [("theirs", None)]


@pytest.mark.slow
def test_many_tags_answer_as_one_does(wh: warehouse.Warehouse) -> None:
    names = [column.name for column in columns.list_dicom_columns()][:30]
    calls = [f"tag(header, '{name}')" for name in names]
    together = wh.sql(f"select {', '.join(calls)} from headers order by key").fetchall()
    alone = [wh.sql(f"select {call} from headers order by key").fetchall() for call in calls]
    assert together == [tuple(row[0] for row in rows) for rows in zip(*alone, strict=True)]


#: Texts, and what looks like the JSON around them.
TEXTS = st.text(st.sampled_from(list('n,"[]{}\\:ul1.e äß胸\t')), max_size=6) | st.sampled_from(["null", "true", '"]}'])


@pytest.mark.slow
@given(
    vr=st.sampled_from(["AE", "CS", "DA", "DS", "FD", "IS", "LO", "LT", "SH", "TM", "UI", "UN", "US", "UT"]),
    values=st.lists(TEXTS | st.integers(-9, 10**20), max_size=3) | st.just([None]),
    is_vr_first=st.booleans(),
)
@settings(max_examples=200)
def test_any_values_are_joined_as_they_are(
    wh: warehouse.Warehouse, vr: str, values: list[Any], is_vr_first: bool
) -> None:
    parts = [("vr", vr), ("Value", values)]
    header = json.dumps({"00104000": dict(parts if is_vr_first else reversed(parts))})
    expected = "\\".join(str(value) for value in values if value is not None) or None
    asked = "select tag(cast($header as json), 'PatientComments')"
    assert wh.sql(asked, header=header).fetchall() == [(expected,)]


def test_the_dictionary_of_tag_is_that_of_pydicom() -> None:
    lines = [f"{a.keyword}={a.tag} {a.vr[:2]}" for a in dicom_dictionary.list_attributes()]
    assert sql_files.read("dicom/attributes.txt") == "\n".join(["", *lines, ""])


# --- against pydicom ---

WORDS = st.text(st.sampled_from("ABc 09.äß胸-_"), min_size=1, max_size=12).filter(lambda text: text == text.strip())
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "SeriesDescription": WORDS,
    "ImageType": st.lists(st.sampled_from(["ORIGINAL", "PRIMARY", "", "AXIAL"]), min_size=2, max_size=4),
    "StudyDate": st.sampled_from(["20200401", "20191231"]),
    "KVP": st.integers(0, 200).map(str),
    "PixelSpacing": st.just(["0.5", "0.25"]),
    "Rows": st.integers(0, 65535),
    "PatientName": st.sampled_from(["A^B", "Covid1"]),
    "InstanceNumber": st.integers(-5, 5000).map(str),
}
Header = dict[str, Any]


def lower_tags(header: Header) -> Header:
    return {tag.lower(): attribute for tag, attribute in header.items()}


def without_vr(header: Header) -> Header:
    return {tag: {name: v for name, v in a.items() if name != "vr"} or None for tag, a in header.items()}


def lower_members(header: Header) -> Header:
    return {tag: {name.lower(): v for name, v in (a or {}).items()} for tag, a in header.items()}


def padded(header: Header) -> Header:
    return _with_values(header, lambda values: [v + " " if isinstance(v, str) else v for v in values])


def texts(header: Header) -> Header:
    return _with_values(header, lambda values: [str(v) if isinstance(v, int | float) else v for v in values])


def scalars(header: Header) -> Header:
    return _with_values(header, lambda values: values[0] if len(values) == 1 else values)


def _with_values(header: Header, change: Callable[[list[Any]], Any]) -> Header:
    return {
        tag: a | {"Value": change(a["Value"])} if a and isinstance(a.get("Value"), list) else a
        for tag, a in header.items()
    }


def read(header: Header) -> dict[str, list[object]]:
    """The values that normal form has; numbers as numbers."""
    data_set = json.loads(normalising.normalise(json.dumps(header)).text)
    return {
        tag: [_plain(value["Alphabetic"] if isinstance(value, dict) else value) for value in attribute["Value"]]
        for tag, attribute in data_set.items()
        if attribute and any(value not in ("", {"Alphabetic": ""}) for value in attribute.get("Value", ()))
    }


def _plain(value: object) -> object:
    try:
        return float(str(value))
    except ValueError:
        return str(value)


@settings(max_examples=100, deadline=None)
@given(
    values=st.fixed_dictionaries({}, optional=VALUES),
    mutations=st.permutations([lower_tags, without_vr, padded, texts, scalars]).map(lambda order: order[:3]),
    last=st.sampled_from([lower_members, lower_tags]),
)
def test_reading_is_that_of_pydicom(values: dict[str, Any], mutations: list[Any], last: Any) -> None:
    data_set = Dataset()
    data_set.SOPInstanceUID = "1.2"
    for keyword, value in values.items():
        setattr(data_set, keyword, value)
    expected = {}
    for element in data_set:
        items = [*element.value] if element.VM > 1 else [element.value]
        found = ["" if item is None else str(item) for item in items]
        if any(found):
            expected[f"{int(element.tag):08X}"] = [*map(_plain, found)]
    header = data_set.to_json_dict()
    assert read(header) == expected
    for mutate in [*mutations, last]:
        header = mutate(header)
    assert read(header) == expected


# --- hostile headers and records ---


def nested(depth: int) -> str:
    return '{"00081140":{"vr":"SQ","Value":[' * depth + '{"00080060":{"vr":"CS","Value":["CT"]}}' + "]}}" * depth


LOADS = {
    "private": json.dumps({f"0029{i:04X}": of("LO", "x") for i in range(5000)}),
    "binary": json.dumps({"00080018": of("UI", "1"), "7FE00010": {"vr": "OW", "InlineBinary": "AAAA" * 1_000_000}}),
    "shallow": nested(20),
    "mark": "\ufeff" + json.dumps({"00080018": of("UI", "1")}),
    "number": '{"00080018":{"vr":"UI","Value":["1"]},"00180060":{"vr":"DS","Value":[' + "9" * 5000 + "]}}",
    "text": json.dumps({"00080018": of("UI", "1"), "00204000": of("LT", "x" * 3_000_000)}),
}
REJECTED = {
    "deep": (nested(500), "deep"),
    "deeper": ("[" * 100_000, "JSON"),
    "twice": ('{"0008006a":{"vr":"CS","Value":["CT"]},"0008006A":{"vr":"CS","Value":["MR"]}}', "twice"),
    "null": ("null", "JSON value"),
    "list": ("[]", "JSON list"),
    "surrogate": ('{"00080060":{"vr":"CS","Value":["\\ud800"]}}', "surrogate"),
}
RECORDS_LOAD = {
    "unknown": json.dumps({f"field {i}": i for i in range(900)} | {"Age": "70"}),
    "nul": json.dumps({"a\0b": 1, "Age": "70"}),
    "long_key": json.dumps({"k" * 100_000: 1, "Age": "70"}),
    "repeated": "{" + '"x":1,' * 800 + '"Age":"70"}',
}
RECORDS_REJECTED = {
    "2000": (json.dumps({f"field {i}": i for i in range(2000)}), "fields"),
    "20000": (json.dumps({f"field {i}": i for i in range(20_000)}), "fields"),
    "million": ("{" + '"x":1,' * 600_000 + '"Age":"70"}', "fields"),
    "deep": ('{"field":' * 900 + "1" + " " * 20_000 + "}" * 900, "deep"),
    "deeper": ('{"a":' * 100_000 + "1" + "}" * 100_000, "deep"),
    "swabs": (json.dumps({"SwabDates": [{}] * 100_000}), "SwabDates"),
    "long": (json.dumps({"Age": "7" * 5_000_000}), "longer"),
    "empty_list": ("[]", "JSON list"),
}


def record_key(name: str) -> str:
    return f"training/{name}/data/2020-05-01/data.json"


@pytest.mark.slow
def test_nothing_hostile_stops_a_refresh(tmp_path: Path, new_lake: Path) -> None:
    bucket, lake = tmp_path / "bucket", str(new_lake)
    good = {f"Good{i}": json.dumps({"00080018": of("UI", f"1.{i}")}) for i in range(5)}
    write_objects(bucket, {image_key(name): text for name, text in (good | LOADS).items()})
    write_objects(bucket, {image_key(name): text for name, (text, _) in REJECTED.items()})
    write_objects(bucket, {record_key(name): text for name, text in ({"Good": '{"Age": "70"}'} | RECORDS_LOAD).items()})
    write_objects(bucket, {record_key(f"R{name}"): text for name, (text, _) in RECORDS_REJECTED.items()})
    warehouse.refresh(str(bucket), lake)
    reasons = {image_key(name): words for name, (_, words) in REJECTED.items()}
    reasons |= {record_key(f"R{name}"): words for name, (_, words) in RECORDS_REJECTED.items()}
    with warehouse.open(lake) as wh:
        found = dict(wh.rejects().project("key, reason").fetchall())
        assert found.keys() == reasons.keys()
        assert not {key: reason for key, reason in found.items() if reasons[key] not in reason}
        assert wh.sql("select count(*) from images").fetchone() == (len(good | LOADS),)
        assert wh.sql("select count(*) from clinical where age = 70").fetchone() == (1 + len(RECORDS_LOAD),)
        assert {result.check.name for result in wh.check() if result.n_rows} >= {"new_field"}
        wh.report(tmp_path / "report.html")
        assert len(wh.completeness().fetchall()) > 0
    assert not warehouse.refresh(str(bucket), lake).published.is_new


@pytest.mark.slow
def test_headers_that_other_rules_have_read_are_read_again(tmp_path: Path, new_lake: Path) -> None:
    bucket, lake = tmp_path / "bucket", str(new_lake)
    header = json.dumps({"00080018": of("UI", "1"), "0020000d": of("UI", "2.25.100")})
    write_objects(bucket, {image_key("P"): header, image_key("Q"): json.dumps({"dataset": {}})})
    warehouse.refresh(str(bucket), lake)
    with open_writer(location.parse_address(lake), Settings()) as con:
        con.execute("update core.images set rules = null, StudyInstanceUID = null")
        con.execute("update raw.headers set reading = null")
        con.execute("update ops.rejects set tried_by = null")
    warehouse.refresh(str(bucket), lake)
    with warehouse.open(lake) as wh:
        sql = "select StudyInstanceUID, tag(header, 'StudyInstanceUID') from images join headers using (source, key)"
        assert wh.sql(sql).fetchall() == [("2.25.100", "2.25.100")]
        assert len(wh.rejects().fetchall()) == 1
    assert not warehouse.refresh(str(bucket), lake).published.is_new
