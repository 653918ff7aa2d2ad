"""Buckets of DICOM files without .json headers: what is loaded, what gives way to what, and what is left alone."""

import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import Chest, copy_lake, write_objects
from dicom_files import PIXELS, build_compressed, build_dataset, build_deflated, build_file, write_file
from pydicom.uid import DeflatedExplicitVRLittleEndian
from servers import S3

import warehouse
from warehouse import synthetic
from warehouse.errors import UsageError
from warehouse.lake import location, store
from warehouse.settings import Settings
from warehouse.withdrawal import changing

WRITTEN = datetime(2020, 5, 6, 12, tzinfo=UTC).timestamp()


def refresh(bucket: Path | str, lake: Path, layout: str = "any", group: str = "", **more: Any) -> Any:
    settings = Settings(layout=layout, layout_group=group, max_removals_percent=100, **more)
    return warehouse.refresh(str(bucket), str(lake), settings=settings)


def ask(lake: Path, query: str, group: str = "all") -> list[tuple[Any, ...]]:
    with warehouse.open(str(lake)) as wh:
        return wh.group(group).sql(query).fetchall()


def count_snapshots(lake: Path) -> int:
    with store.open_writer(location.parse_address(str(lake)), Settings()) as con:
        return store.list_snapshots(con)[-1].number


@pytest.fixture
def fill(tmp_path: Path) -> Callable[..., Path]:
    """Write a bucket, all objects at one time."""

    def write(objects: dict[str, bytes | str]) -> Path:
        bucket = tmp_path / "bucket"
        write_objects(bucket, objects)
        for key in objects:
            os.utime(bucket / key, (WRITTEN, WRITTEN))
        return bucket

    return write


@pytest.mark.slow
def test_any_bucket_is_loaded_by_its_headers(fill: Callable[..., Path], new_lake: Path, here: Chest) -> None:
    bucket = fill(
        {
            "study 1/IM0001": build_file("P1", "1.1"),
            "study 1/1.2.840.5": build_file(" P1 ", "1.2"),
            "study 2/deflated.DCM": build_deflated("P2", "2.1"),
            "Validation/x.dcm": build_file("P3", "3.1"),
            "study 2/no patient.dcm": build_file("", "4.1"),
            "study 2/cut.dcm": build_file("P2", "5.1")[:300],
            "study 2/page.dcm": "<html>not found</html>",
            "study 2/empty.dcm": b"",
            "more.zip": b"PK\x03\x04",
            "notes.txt": "text",
            "DICOMDIR": b"directory",
        }
    )
    done = here("refresh", bucket, "--lake", new_lake, "--layout", "any", "-q")
    assert done.returncode == 0, done.stderr
    assert "Loaded 4 image headers and 0 clinical files; 5 rejected" in done.stdout
    rows = ask(new_lake, "select patient_id, group_name, key, dcm_key, header_source, available_date from images")
    day = date(2020, 5, 6)
    assert sorted(rows) == [
        ("P1", "training", "study 1/1.2.840.5", "study 1/1.2.840.5", "dcm", day),
        ("P1", "training", "study 1/IM0001", "study 1/IM0001", "dcm", day),
        ("P2", "training", "study 2/deflated.DCM", "study 2/deflated.DCM", "dcm", day),
        ("P3", "validation", "Validation/x.dcm", "Validation/x.dcm", "dcm", day),
    ]
    assert ask(new_lake, "select count(*) from images", "training") == [(3,)]
    assert ask(new_lake, "select distinct patient_id from raw.objects where kind = 'header' order by 1") == [
        ("P1",), ("P2",), ("P3",), (None,)
    ]  # fmt: skip
    reasons = dict(ask(new_lake, "select key, split_part(reason, ':', 1) from lake.ops.rejects"))
    assert reasons == {
        "study 2/no patient.dcm": "names no patient",
        "study 2/cut.dcm": "truncated",
        "study 2/page.dcm": "not a DICOM file, but HTML or XML",
        "study 2/empty.dcm": "empty",
        "more.zip": "an archive, which is left alone",
    }
    before = count_snapshots(new_lake)
    assert not refresh(bucket, new_lake, "").published.is_new
    assert count_snapshots(new_lake) == before
    # No byte of the pixels is kept.
    assert not [path for path in new_lake.rglob("*") if path.is_file() and PIXELS[:10] in path.read_bytes()]


@pytest.mark.slow
def test_headers_of_a_sample_are_those_of_its_json(new_lake: Path, tmp_path: Path) -> None:
    """The sample's files have the attributes of their headers."""
    synthetic.make_bucket(tmp_path / "bucket", 5, clean=True)
    by_json = copy_lake(new_lake, tmp_path / "json")
    refresh(tmp_path / "bucket", by_json, "")
    refresh(tmp_path / "bucket", new_lake)
    query = (
        "select SOPInstanceUID, patient_id, StudyInstanceUID, Modality, StudyDate, StudyTime, PixelSpacing, ImageType, "
        "WindowCenter, PatientAge, Manufacturer, ImagePositionPatient, Rows, ConvolutionKernel from images order by all"
    )
    found = ask(new_lake, query)
    assert found
    assert found == [row for row in ask(by_json, query) if row[0] in {uid for uid, *_ in found}]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_pattern_names_what_keys_say(s3: S3, new_lake: Path) -> None:
    s3.put(
        "hospital",
        {
            "site/P1/2020-04-01/a.dcm": build_file("someone", "1.1", ImageComments="x" * 60_000),
            "site/P1/2020-02-31/b.dcm": build_file("someone", "1.2"),
            "site/P2/20200402/c//d.dcm": build_file("P2", "2.1"),
            "other.dcm": build_file("P3", "3.1"),
        },
    )
    done = refresh("s3://hospital", new_lake, "{group}/{patient}/{date}/{**}.dcm", fetch_threads=4)
    assert (done.images.loaded, done.images.rejected) == (2, 0)
    assert ask(new_lake, "select patient_id, group_name, available_date, PatientID from images order by all") == [
        ("P1", "site", date(2020, 4, 1), "someone"),
        ("P2", "site", date(2020, 4, 2), "P2"),
    ]
    assert ask(new_lake, "select count(*) from images", "training") == [(0,)]
    assert ask(new_lake, "select key, reason from lake.ops.rejects") == [
        ("site/P1/2020-02-31/b.dcm", "impossible date in the key: 2020-02-31")
    ]
    assert not refresh("s3://hospital", new_lake, "").published.is_new


@pytest.mark.slow
def test_a_lake_remembers_the_layout(fill: Callable[..., Path], new_lake: Path, here: Chest) -> None:
    bucket = fill({"P9/a.dcm": build_file("P1", "1.1")})
    done = here("refresh", bucket, "--lake", new_lake, "-q")
    assert "chest refresh … --layout any" in done.stderr + done.stdout
    refresh(bucket, new_lake, "any", "validation")
    assert ask(new_lake, "select patient_id, group_name from images") == [("P1", "validation")]
    write_objects(bucket, {"P9/b.dcm": build_file("P2", "2.1")})
    refresh(bucket, new_lake, "")
    assert ask(new_lake, "select patient_id, group_name from images order by 1")[1] == ("P2", "validation")
    for layout, group in (("any", ""), ("standard", ""), ("{patient}/{image}.dcm", "")):
        with pytest.raises(UsageError, match="load it anew"):
            refresh(bucket, new_lake, layout, group)
    with pytest.raises(UsageError, match="do not name patients: only the headers do"):
        warehouse.refresh(str(bucket), str(new_lake), patients=["P1"])
    from warehouse.ingest.sources import remove_source

    remove_source(str(bucket), str(new_lake), allow_removals=True)
    refresh(bucket, new_lake, "{patient}/{image}.dcm")
    assert ask(new_lake, "select distinct patient_id, group_name from images") == [("P9", "training")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "start"),
    [
        ("{patient}/{image}.dcm", ""),
        ("sites/{patient}/{image}.dcm", "sites/"),
        ("{group}/{patient}/{image}.dcm", "training/"),
        ("(?P<group>[^/]+)/(?P<patient>[^/]+)/.*", "training/"),
    ],
)
def test_a_refresh_is_limited_to_patients_whom_keys_name(
    fill: Callable[..., Path], new_lake: Path, layout: str, start: str
) -> None:
    patients = ("P1", "P10", "P2", " P1", "P 1")
    bucket = fill({f"{start}{name}/a.dcm": build_file("x", f"1.{place}") for place, name in enumerate(patients)})
    write_objects(bucket, {f"{start}README": b"", "P1.txt": b"", "sites/P1x": b""})

    def limited(*names: str, prefix: str = "") -> Any:
        settings = Settings(layout=layout, max_removals_percent=100)
        return warehouse.refresh(str(bucket), str(new_lake), patients=names, prefix=prefix, settings=settings)

    loaded = "select patient_id, count(*) from images group by all order by all"
    done = limited("P1").objects
    assert (done.listed, done.added) == (2, 2)
    assert ask(new_lake, loaded) == [("P1", 2)]
    assert not limited("P1").published.is_new
    assert limited("P1", "P2", prefix=f"{start}P 1/").objects.added == 2
    assert ask(new_lake, loaded) == [("P 1", 1), ("P1", 2), ("P2", 1)]
    write_objects(bucket, {f"{start}{name}/b.dcm": build_file("x", f"2.{name}") for name in ("P1", "P2")})
    (bucket / f"{start}P1/a.dcm").unlink()
    done = limited("P1").objects
    assert (done.added, done.removed) == (1, 1)  # P2 stays as it was
    with pytest.raises(UsageError, match="patient 2 of those given matches no object, no object is of that name"):
        limited("P1", "P3")
    whole = refresh(bucket, new_lake, "").objects
    assert (whole.added, whole.removed) == (5, 0)
    for path in bucket.rglob("P2/*.dcm"):
        path.unlink()
    assert limited("P2").objects.removed == 2
    assert not limited("P2").published.is_new  # gone before: repeating it is no mistake


@pytest.mark.slow
def test_a_file_that_ends_within_its_pixels_is_rejected(fill: Callable[..., Path], new_lake: Path) -> None:
    whole, compressed = build_file("P1", "1.1"), build_compressed("P1", "1.2")
    objects = {
        "whole.dcm": whole,
        "cut.dcm": build_file("P1", "1.3")[:-1],
        "no pixels.dcm": build_file("P1", "1.4")[: -len(PIXELS)],
        "long.dcm": build_file("P1", "1.5", PixelData=bytes(100_000))[:-10],
        "compressed.dcm": compressed,
        "compressed and cut.dcm": compressed[:-20],  # ends where a delimiter would say so
    }
    bucket = fill(objects)
    done = refresh(bucket, new_lake)
    assert (done.images.loaded, done.images.rejected) == (3, 3)
    cut = {"cut.dcm", "no pixels.dcm", "long.dcm"}
    reason = "truncated: the file ends within its pixels"
    assert {*ask(new_lake, "select key, reason from lake.ops.rejects")} == {(key, reason) for key in cut}
    assert not refresh(bucket, new_lake).published.is_new
    write_objects(bucket, {"cut.dcm": build_file("P1", "1.3")})  # sent again, whole
    assert refresh(bucket, new_lake).images.loaded == 1


def test_a_json_takes_the_place_of_its_dcm(fill: Callable[..., Path], new_lake: Path) -> None:
    dcm, header = "training/P1/images/2020-04-01/a.dcm", "training/P1/images_metadata/2020-04-01/a.json"
    other = "training/P1/images_metadata/2020-04-01/b.json"
    text = '{"00080060": {"vr": "CS", "Value": ["CR"]}}'
    bucket = fill({dcm: build_file("P1", "1.1"), other: text})
    query = "select key, dcm_key, header_source, Modality from images order by key"
    refresh(bucket, new_lake, "")
    plain = (other, None, "json", "CR")
    assert ask(new_lake, query) == [plain]
    refresh(bucket, new_lake, "standard+dcm")
    read = (dcm, dcm, "dcm", "CT")
    assert ask(new_lake, query) == [read, plain]
    write_objects(bucket, {header: "{"})
    refresh(bucket, new_lake, "")
    assert ask(new_lake, query) == [read, plain]
    write_objects(bucket, {header: text})
    refresh(bucket, new_lake, "")
    assert ask(new_lake, query) == [(header, dcm, "json", "CR"), plain]
    assert not refresh(bucket, new_lake, "").published.is_new
    (bucket / header).unlink()
    refresh(bucket, new_lake, "")
    assert ask(new_lake, query) == [read, plain]
    refresh(bucket, new_lake, "standard")
    assert ask(new_lake, query) == [plain]
    assert ask(new_lake, "select kind from raw.objects where key like '%.dcm'") == [("dcm",)]


@pytest.mark.slow
def test_changed_files_are_read_again_and_unreadable_ones_keep_their_row(
    fill: Callable[..., Path], new_lake: Path
) -> None:
    bucket = fill({"a.dcm": build_file("P1", "1.1"), "b.dcm": build_file("P1", "1.2")})
    refresh(bucket, new_lake)
    write_objects(bucket, {"a.dcm": build_file("P2", "1.3"), "b.dcm": "broken"})
    refresh(bucket, new_lake)
    query = "select key, patient_id, SOPInstanceUID from images order by key"
    assert ask(new_lake, query) == [("a.dcm", "P2", "1.3"), ("b.dcm", "P1", "1.2")]
    assert ask(new_lake, "select key, patient_id from raw.objects order by key") == [("a.dcm", "P2"), ("b.dcm", "P1")]
    done = warehouse.refresh(str(bucket), str(new_lake), full=True)
    assert done.published.is_new
    assert ask(new_lake, query) == [("a.dcm", "P2", "1.3"), ("b.dcm", "P1", "1.2")]


@pytest.mark.slow
def test_patients_who_withdraw_stay_away(fill: Callable[..., Path], new_lake: Path) -> None:
    bucket = fill({"a.dcm": build_file("P1", "1.1"), "b.dcm": build_file("P2", "2.1")})
    refresh(bucket, new_lake)
    changing.withdraw(location.parse_address(str(new_lake)), Settings(), ("P1",))
    refresh(bucket, new_lake)
    assert ask(new_lake, "select patient_id from images") == [("P2",)]
    before = count_snapshots(new_lake)
    assert refresh(bucket, new_lake).objects.withheld == 1
    assert count_snapshots(new_lake) == before
    write_objects(bucket, {"c.dcm": build_file("P1", "1.2")})
    refresh(bucket, new_lake)
    assert ask(new_lake, "select patient_id from images") == [("P2",)]
    assert ask(new_lake, "select key from raw.objects") == [("b.dcm",)]
    assert refresh(bucket, new_lake).objects.withheld == 2


@pytest.mark.slow
def test_a_download_has_each_file_once(fill: Callable[..., Path], new_lake: Path, tmp_path: Path, here: Chest) -> None:
    bucket = fill({"x/a.dcm": build_file("P1", "1.1"), "x/b": build_file("P1", "1.2")})
    refresh(bucket, new_lake)
    done = here("download", "P1", "-o", tmp_path / "data", "--lake", new_lake, "-q")
    assert done.returncode == 0, done.stderr
    found = [path for path in (tmp_path / "data/x").rglob("*") if path.is_file()]
    assert sorted(path.name for path in found) == ["a.dcm", "b"]
    manifest = tmp_path / "data/.chest/manifest"
    assert here("manifest", "verify", manifest, "--lake", new_lake).returncode == 0
    with warehouse.open(str(new_lake)) as wh:
        assert wh.group("all").as_of("2020-05-05").sql("select count(*) from images").fetchall() == [(0,)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_unit_holds_a_bounded_number_of_long_headers(fill: Callable[..., Path], new_lake: Path, workers: int) -> None:
    long = {f"{n}.dcm": build_file("P1", f"1.{n}", ImageComments="x" * 900_000) for n in range(5)}
    bucket = fill({**long, "z.dcm": build_file("P1", "1.9", ImageComments="x" * 1_100_000)})
    done = refresh(bucket, new_lake, unit_mb=1, max_object_mb=1, workers=workers)
    assert (done.images.loaded, done.images.rejected) == (5, 1)
    assert ask(new_lake, "select distinct patient_id from raw.objects order by all") == [("P1",), (None,)]
    assert ask(new_lake, "select reason from lake.ops.rejects") == [
        ("a header of more than 1 MB (CHEST_MAX_OBJECT_MB): not read",)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_small_objects_that_expand_stop_nothing(fill: Callable[..., Path], new_lake: Path, workers: int) -> None:
    """700 kB of numbers, deflated to a few kB, are 2 MB of JSON. The others are loaded."""
    numbers = build_dataset("P1", "1.2")
    for n in range(12):
        numbers.add_new(0x00310010 + (n << 17), "LO", "x")
        numbers.add_new(0x00311001 + (n << 17), "US", [65_535] * 29_000)
    bomb = write_file(numbers, DeflatedExplicitVRLittleEndian)
    assert len(bomb) < 20_000
    bombs = {f"{n}.dcm": bomb for n in range(3)}
    bucket = fill(bombs | {f"good/{n}.dcm": build_file("P1", f"1.{n}") for n in range(4)})
    done = refresh(bucket, new_lake, max_object_mb=1, workers=workers)
    assert (done.images.loaded, done.images.rejected) == (4, 3)
    assert ask(new_lake, "select distinct reason from lake.ops.rejects") == [
        ("a header of more than 1 MB (CHEST_MAX_OBJECT_MB): not read",)
    ]


@pytest.mark.slow
def test_lakes_of_earlier_versions_have_headers_of_json(samples: Path, new_lake: Path) -> None:
    with store.open_writer(location.parse_address(str(new_lake)), Settings()) as con:
        con.execute("alter table core.images drop column header_source")
        con.execute("drop table ops.layouts")
        con.execute("delete from ops.migrations where number >= 10")
    refresh(samples / "dated", new_lake, "")
    assert ask(new_lake, "select distinct header_source from images") == [("json",)]
