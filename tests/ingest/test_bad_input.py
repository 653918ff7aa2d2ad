"""Bad input: what can be read loads, the rest are rejects with a reason; nothing stops or is lost."""

import json
import os
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from conftest import start_lake, write_objects

import warehouse
from warehouse.errors import RemovalsError
from warehouse.ingest import list_objects, load_clinical, load_images, open_run, publish
from warehouse.query import status

SECRET = "Jane Doe"


def header(**tags: Any) -> dict[str, Any]:
    values = {"00080018": ["1.2.3"], "00080060": ["CT"], "00100010": [{"Alphabetic": SECRET}]}
    return {tag: {"vr": "UN", "Value": value} for tag, value in (values | tags).items()}


HEADER = json.dumps(header())
RECORD = json.dumps({"Pseudonym": SECRET, "SubmittingCentre": "Leeds"})

#: Content that is not a JSON object, for any kind of file, and what the reason must name.
UNREADABLE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "blank": (b" \n\t ", "white space"),
    "truncated": (HEADER[:-20].encode(), "truncated"),
    "latin1": (b'{"SubmittingCentre": "' + "Jane Doe Münster".encode("latin-1") + b'"}', "not UTF-8"),
    "utf16": (HEADER.encode("utf-16"), "UTF-16"),
    "html": (b"<!DOCTYPE html><html><body>Jane Doe</body></html>", "HTML"),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
    "binary": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)), "binary"),
    "nul": (b'{"a": 1}\x00\x00', "binary"),
    "list": (json.dumps([header()]).encode(), "a JSON list"),
    "string": (json.dumps(SECRET).encode(), "a JSON value"),
    "number": (b"42", "a JSON value"),
    "null": (b"null", "a JSON value"),
    "words": (b"Jane Doe was here", "not JSON"),
    "two": (HEADER.encode() + HEADER.encode(), "not JSON"),
    "deep": (b"[" * 100_000, "JSON"),
    "surrogate": (HEADER[:-1].encode() + b', "00081030": {"Value": ["a\\ud800b"]}}', "surrogate"),
}
#: Headers that load, whatever is in them; and what one of their columns must be.
READABLE: dict[str, tuple[bytes, str, object]] = {
    "tag-null": (json.dumps(header() | {"00180060": None}).encode(), "KVP", None),
    "value-null": (json.dumps(header(**{"00180060": None})).encode(), "KVP", None),
    "value-missing": (json.dumps(header() | {"00180060": {"vr": "DS"}}).encode(), "KVP", None),
    "value-scalar": (json.dumps(header(**{"00180060": 120})).encode(), "KVP", 120.0),
    "value-with-null": (json.dumps(header(**{"00180060": [None]})).encode(), "KVP", None),
    "tag-scalar": (json.dumps(header() | {"00180060": 120}).encode(), "KVP", 120.0),
    "ds-words": (json.dumps(header(**{"00180060": ["high"]})).encode(), "KVP", None),
    "is-text": (json.dumps(header(**{"00200011": ["7"]})).encode(), "SeriesNumber", 7),
    "da-wrong": (json.dumps(header(**{"00080020": ["20200231"]})).encode(), "StudyDate", None),
    "da-number": (json.dumps(header(**{"00080020": [20200401]})).encode(), "StudyDate", date(2020, 4, 1)),
    "name-brace": (json.dumps(header(**{"00100010": ["{Doe"]})).encode(), "Modality", "CT"),
    "other-patient": (json.dumps(header(**{"00100020": ["Someone"]})).encode(), "PatientID", "Someone"),
    "mark": (b"\xef\xbb\xbf" + HEADER.encode(), "Modality", "CT"),
    "escaped": (json.dumps(header(**{"00081090": ["Ä 胸 'q' \""]})).encode(), "ManufacturerModelName",
                "Ä 胸 'q' \""),
    "unescaped": (json.dumps(header(**{"00080070": ["胸"]}), ensure_ascii=False).encode(),
                  "Manufacturer", "胸"),
    "escaped-nul": (json.dumps(header(**{"00104000": ["a\0b"]})).encode(), "Modality", "CT"),
    "twice": (HEADER[:-1].encode() + b', "00080060": {"Value": ["CT"]}}', "Modality", "CT"),
    "indented": (json.dumps(header(), indent=2).encode(), "Modality", "CT"),
}  # fmt: skip
ODD_NAMES = ["O'Brien", 'quo"te', "Ünïcode", "胸 部", "a\\b", "%41;drop", "$1", "new\nline"]


def image_key(patient: str) -> str:
    return f"training/{patient}/images_metadata/2020-04-01/i.json"


def record_key(patient: str) -> str:
    return f"training/{patient}/data/2020-04-01/data.json"


IMPOSSIBLE = [
    "training/P/images_metadata/2020-02-31/i.json",
    "training/P/images/2020-02-31/i.dcm",
    "training/data/P/data_2020-13-01.json",
    "training/P/data/0000-01-01/data.json",
]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[warehouse.Warehouse, Path]:
    """A lake that was fed everything bad at once, among a good patient."""
    place = tmp_path_factory.mktemp("bad")
    bucket = place / "bucket"
    good = {
        image_key("Good"): HEADER,
        record_key("Good"): RECORD,
        "training/Good/images/2020-04-01/i.dcm": "pixels",
    }
    odd = {image_key(name): HEADER for name in ODD_NAMES} | {
        f"training/xray-metadata/Odd/1.2/1.3/{name}.json": HEADER for name in ODD_NAMES
    }
    write_objects(bucket, good | odd | dict.fromkeys(IMPOSSIBLE, HEADER) | {"README.md": "x", "training/y.json": "{}"})
    write_objects(bucket, {image_key(f"H-{name}"): content for name, (content, _) in UNREADABLE.items()})
    write_objects(bucket, {record_key(f"C-{name}"): content for name, (content, _) in UNREADABLE.items()})
    write_objects(bucket, {image_key(f"R-{name}"): content for name, (content, *_) in READABLE.items()})
    write_objects(bucket, {image_key("H-no-tags"): "{}", image_key("H-record"): RECORD, record_key("Empty"): "{}"})
    write_objects(bucket, {record_key("Mark"): b"\xef\xbb\xbf" + RECORD.encode()})
    warehouse.refresh(str(bucket), str(start_lake(place / "lake")))
    return warehouse.open(str(place / "lake")), bucket


def rejects(wh: warehouse.Warehouse) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in wh.group("all").rejects().arrow().read_all().to_pylist()}


def lake_counts(wh: warehouse.Warehouse) -> dict[str, Any]:
    found = status.measure_status(wh)
    parts = ("image_json", "clinical_json", "rejected", "dcm", "other")
    assert found["objects"] == sum(found[part] for part in parts)
    return found


@pytest.mark.slow
def test_every_object_is_accounted_for(loaded: Any) -> None:
    wh, bucket = loaded
    found = lake_counts(wh)
    assert found["objects"] == sum(path.is_file() for path in bucket.rglob("*"))
    expected = 2 * len(UNREADABLE) + len(IMPOSSIBLE) + 2
    assert (found["rejected"], found["dcm"], found["other"]) == (expected, 1, 2)
    assert found["image_json"] == 1 + 2 * len(ODD_NAMES) + len(READABLE)
    assert found["clinical_json"] == 3


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize("key", [image_key("H-{}"), record_key("C-{}")])
def test_unreadable_objects_are_rejects(loaded: Any, key: str, name: str) -> None:
    wh, bucket = loaded
    row = rejects(wh)[key.format(name)]
    assert UNREADABLE[name][1] in row["reason"]
    assert row["size"] == (bucket / row["key"]).stat().st_size
    assert row["etag"]
    assert row["first_seen"] <= row["last_seen"]


def test_what_is_not_a_header_is_rejected(loaded: Any) -> None:
    found = rejects(loaded[0])
    for patient in ("H-no-tags", "H-record"):
        assert found[image_key(patient)]["reason"].startswith("a JSON object, but not a DICOM header")


def test_reasons_disclose_nothing_about_patients(loaded: Any) -> None:
    reasons = [row["reason"] for row in rejects(loaded[0]).values()]
    assert not [reason for reason in reasons if any(word in reason for word in ("Jane", "Doe", "Leeds", "nster"))]


@pytest.mark.parametrize("key", IMPOSSIBLE)
def test_impossible_dates_are_rejects(loaded: Any, key: str) -> None:
    assert "impossible date" in rejects(loaded[0])[key]["reason"]


@pytest.mark.parametrize("name", READABLE)
def test_readable_headers_load(loaded: Any, name: str) -> None:
    _, column, expected = READABLE[name]
    query = f"select {column}, Modality, SOPInstanceUID from images where patient_id = $patient"
    found = loaded[0].sql(query, patient=f"R-{name}").fetchall()
    assert found == [(expected, "CT", "1.2.3")]


def test_whole_headers_stay_queryable(loaded: Any) -> None:
    """Also those with odd attributes: a broken one must not stop a query over all."""
    query = "select count(*), count(tag(header, 'Modality')), count(tag(header, 'KVP')) from headers"
    number = 1 + 2 * len(ODD_NAMES) + len(READABLE)
    assert loaded[0].sql(query).fetchone()[:2] == (number, number)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names(loaded: Any, name: str) -> None:
    wh = loaded[0]
    assert wh.patient(name).images().project("key").fetchall() == [(image_key(name),)]
    assert wh.sql("select count(*) from images where image_id = $name", name=name).fetchone() == (1,)


def test_the_patient_is_the_keys(loaded: Any) -> None:
    query = "select patient_id from images where PatientID = 'Someone'"
    assert loaded[0].sql(query).fetchall() == [("R-other-patient",)]


def test_command_shows_rejects(loaded: Any, here: Any) -> None:
    wh, _ = loaded
    rows = json.loads(here("rejects", "--group", "all", "--lake", wh.location.name, "--format", "json").stdout)
    assert {"key", "etag", "reason", "first_seen", "last_seen"} <= set(rows[0])
    assert {row["key"] for row in rows} == set(rejects(wh))


def test_second_refresh_tries_no_reject_again(loaded: Any) -> None:
    wh, bucket = loaded
    result = warehouse.refresh(str(bucket), wh.location.name)
    assert not result.published.is_new
    assert (result.images.rejected, result.clinical.rejected) == (0, 0)


@pytest.mark.slow
def test_a_mended_object_leaves_the_rejects(tmp_path: Path, new_lake: Path) -> None:
    bucket, lake = tmp_path / "bucket", str(new_lake)
    write_objects(bucket, {image_key("P"): "<html>", record_key("P"): "<html>", record_key("Q"): "{"})
    warehouse.refresh(str(bucket), lake)
    write_objects(bucket, {image_key("P"): HEADER, record_key("P"): RECORD, record_key("Q"): "still no JSON"})
    result = warehouse.refresh(str(bucket), lake)
    assert (result.images.loaded, result.clinical.loaded, result.clinical.rejected) == (1, 1, 1)
    with warehouse.open(lake) as wh:
        assert list(rejects(wh)) == [record_key("Q")]
        assert wh.sql("select n_images, has_clinical from patients").fetchall() == [(1, True)]
        assert lake_counts(wh)["rejected"] == 1


@pytest.mark.slow
def test_a_good_object_may_turn_bad(tmp_path: Path, new_lake: Path) -> None:
    bucket, lake = tmp_path / "bucket", str(new_lake)
    write_objects(bucket, {image_key("P"): HEADER, record_key("P"): RECORD})
    warehouse.refresh(str(bucket), lake)
    with warehouse.open(lake) as wh:
        seen = wh.patients().fetchall()
    write_objects(bucket, {image_key("P"): "", record_key("P"): "[]"})
    with pytest.raises(RemovalsError, match="2 of 2"):
        warehouse.refresh(str(bucket), lake)
    warehouse.refresh(str(bucket), lake, allow_removals=True)
    with warehouse.open(lake) as wh:
        assert sorted(rejects(wh)) == sorted([image_key("P"), record_key("P")])
        # What was read of them before stays, and is named.
        assert wh.patients().fetchall() == seen
        assert wh.check("rows_held_over")[0].n_rows == 2


@pytest.mark.slow
def test_oversized_objects_are_not_read(tmp_path: Path, new_lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket, lake = tmp_path / "bucket", str(new_lake)
    padding = " " * 1_000_000
    write_objects(
        bucket,
        {image_key("P"): HEADER, image_key("Big"): HEADER + padding, record_key("Big"): RECORD + padding},
    )
    monkeypatch.setenv("CHEST_MAX_OBJECT_MB", "1")
    warehouse.refresh(str(bucket), lake)
    with warehouse.open(lake) as wh:
        assert {key: "larger than 1 MB" in row["reason"] for key, row in rejects(wh).items()} == {
            image_key("Big"): True,
            record_key("Big"): True,
        }
        assert lake_counts(wh)["image_json"] == 1
    assert not warehouse.refresh(str(bucket), lake).published.is_new

    monkeypatch.delenv("CHEST_MAX_OBJECT_MB")
    result = warehouse.refresh(str(bucket), lake)
    assert (result.images.loaded, result.clinical.loaded) == (1, 1)
    with warehouse.open(lake) as wh:
        assert not rejects(wh)
        assert lake_counts(wh)["image_json"] == 2


@pytest.mark.slow
def test_objects_that_vanish_between_listing_and_reading(tmp_path: Path, new_lake: Path) -> None:
    bucket, lake = tmp_path / "bucket", str(new_lake)
    write_objects(bucket, {key(p): c for p in "PQR" for key, c in ((image_key, HEADER), (record_key, RECORD))})
    path = bucket / image_key("P")
    stat = path.stat()
    with open_run(str(bucket), lake) as run:
        list_objects(run)
        path.unlink()
        (bucket / record_key("Q")).write_text("cut")
        images, clinical = load_images(run), load_clinical(run)
        publish(run)
    assert (images.loaded, images.rejected, clinical.loaded, clinical.rejected) == (2, 1, 2, 1)
    with warehouse.open(lake) as wh:
        found = rejects(wh)
        assert "vanished" in found[image_key("P")]["reason"]
        assert "changed" in found[record_key("Q")]["reason"]
        assert lake_counts(wh)["objects"] == 6

    write_objects(bucket, {image_key("P"): HEADER, record_key("Q"): RECORD})  # and back it comes, as it was
    os.utime(path, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    result = warehouse.refresh(str(bucket), lake)
    assert (result.objects.changed, result.images.loaded, result.clinical.loaded) == (1, 1, 1)
    with warehouse.open(lake) as wh:
        assert not rejects(wh)
        assert lake_counts(wh)["image_json"] == 3
