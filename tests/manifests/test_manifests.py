"""Manifests as their users meet them: exported, repeated, verified, compared, downloaded, listed; loud on failure."""

import csv
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import polars as pl
import pytest
from conftest import Chest, Prepared, copy_lake, start_lake, write_objects
from hypothesis import given
from hypothesis import strategies as st

import warehouse
from warehouse.lake import location, waiting
from warehouse.lake import store as lakes
from warehouse.manifests import paths, register
from warehouse.manifests.checksums import compute_etag
from warehouse.settings import Settings

COHORT = """\
-- title: Films of patients with a record
-- question: Which films were taken of patients whose status is known?
-- grain: study
-- param since DATE = '2020-01-01': only studies from this day on
-- label covid_status: positive or negative, by the record that counts
select StudyInstanceUID, covid_status, submitting_centre
from studies inner join patients using (patient_id)
where StudyDate >= $since and covid_status is not null
"""
POSITIVE = {"Pseudonym": "", "DateOfPositiveCovidSwab": "03/02/2020", "SubmittingCentre": "Leeds, North"}
NEGATIVE = {"Pseudonym": "", "SwabStatus": "Negative", "SubmittingCentre": 'York "East"'}
FILES = {
    "manifest.csv",
    "manifest.parquet",
    "manifest.json",
    "manifest.schema.json",
    "records.parquet",
    "croissant.json",
    "download.s5cmd",
    "SHA256SUMS",
}


def header(patient: str, study: str, image: str) -> str:
    tags = {
        "00080018": ("UI", image),
        "0020000D": ("UI", study),
        "0020000E": ("UI", f"{study}.1"),
        "00080020": ("DA", "20200301"),
        "00080060": ("CS", "CR"),
        "00100020": ("LO", patient),
    }
    return json.dumps({tag: {"vr": vr, "Value": [value]} for tag, (vr, value) in tags.items()})


def image(patient: str, number: int, day: str = "2020-03-02") -> dict[str, bytes | str]:
    """The two objects of an image; the study is the patient's own."""
    name = f"1.2.{patient[-1]}.{number}"
    return {
        f"training/{patient}/images_metadata/{day}/{name}.json": header(patient, f"1.9.{patient[-1]}", name),
        f"training/{patient}/images/{day}/{name}.dcm": f"pixels of {name} ".encode() * 100,
    }


def record(patient: str, day: str, content: dict[str, str]) -> dict[str, bytes | str]:
    return {f"training/{patient}/data/{day}/data.json": json.dumps({**content, "Pseudonym": patient})}


def small_bucket() -> dict[str, bytes | str]:
    """Three patients: A is positive with two films, B is negative with one, C has no record."""
    return {
        **image("PatA", 1),
        **image("PatA", 2),
        **record("PatA", "2020-03-05", POSITIVE),
        **image("PatB", 1),
        **record("PatB", "2020-03-06", NEGATIVE),
        **image("PatC", 1),
    }


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return Prepared.of(tmp_path_factory.mktemp("prepared"), small_bucket())


@pytest.fixture(scope="module")
def exported(prepared: Prepared, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the manifest of the cohort, all kinds of objects in it, and the lake that has recorded it."""
    root = tmp_path_factory.mktemp("exported")
    prepared.restore_bucket()
    with warehouse.open(str(copy_lake(prepared.lake, root / "lake"))) as wh:
        wh.cohort(cohort).export(root / "manifest", objects=("dcm", "json", "clinical"))
    return root


@pytest.fixture
def bucket(prepared: Prepared) -> Path:
    return prepared.restore_bucket()


@pytest.fixture
def lake(bucket: Path, prepared: Prepared, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A lake of the test's own; the manifest is recorded in it where the test has that."""
    has_manifest = "made" in request.fixturenames
    original = request.getfixturevalue("exported") / "lake" if has_manifest else prepared.lake
    return str(copy_lake(original, tmp_path / "lake"))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cohort") / "films.sql"
    path.write_text(COHORT)
    return path


@pytest.fixture(scope="module")
def still_bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for the tests that change neither bucket nor lake, which share them."""
    root = tmp_path_factory.mktemp("still") / "bucket"
    write_objects(root, small_bucket())
    return root


@pytest.fixture(scope="module")
def still_lake(still_bucket: Path) -> str:
    warehouse.refresh(str(still_bucket), str(start_lake(still_bucket.parent / "lake")))
    return str(still_bucket.parent / "lake")


@pytest.fixture(scope="module")
def still(still_lake: str, cohort: Path) -> warehouse.Manifest:
    """The shared manifest, which no test may touch."""
    with warehouse.open(still_lake) as wh:
        return wh.cohort(cohort).export(Path(still_lake).parent / "manifest", objects=("dcm", "json", "clinical"))


@pytest.fixture
def made(lake: str, exported: Path, tmp_path: Path) -> warehouse.Manifest:
    """The manifest of the cohort, for the test alone."""
    shutil.copytree(exported / "manifest", tmp_path / "manifest")
    return warehouse.manifest(tmp_path / "manifest")


@pytest.fixture
def ask(here: Chest, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Chest:
    """The command within this process, with CHEST_LAKE set: to the test's own lake, or to the shared one."""
    own = "lake" in request.fixturenames
    monkeypatch.setenv("CHEST_LAKE", request.getfixturevalue("lake" if own else "still_lake"))
    return here


def answer(done: "subprocess.CompletedProcess[str]", code: int = 0) -> Any:
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def problems(found: Any) -> list[tuple[str, str]]:
    return [(row["status"], row["key"]) for row in found["problems"]]


@pytest.mark.parametrize("command", ["export", "verify", "reproduce", "compare", "download", "list"])
def test_help_has_an_example(ask: Chest, command: str) -> None:
    done = ask("manifest", command, "--help")
    assert done.returncode == 0
    assert f"$ chest manifest {command}" in done.stdout


# Export


def test_export_writes_what_the_cohort_answered(ask: Chest, still_bucket: Path, cohort: Path, tmp_path: Path) -> None:
    done = ask(
        "manifest", "export", cohort, "-o", tmp_path / "m", "--as-of", "2020-12-31", "--param", "since=2020-02-01"
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "m").iterdir()} == FILES
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]
    about = json.loads((tmp_path / "m/manifest.json").read_text())
    seal = hashlib.sha256((tmp_path / "m/manifest.json").read_bytes()).hexdigest()
    assert done.stdout.splitlines()[1:] == [f"digest {about['digest']}", f"seal   sha256:{seal}"]
    assert about["cohort"]["sql"] == COHORT
    assert about["cohort"]["parameters"] == {"since": "2020-02-01"}
    assert about["cohort"]["labels"]["covid_status"].startswith("positive or negative")
    assert (about["as_of"], about["group"], about["objects"]) == ("2020-12-31", "training", ["dcm", "json"])
    assert about["counts"] | {"bytes": 0} == {
        "rows": 2,
        "patients": 2,
        "studies": 2,
        "series": 2,
        "images": 3,
        "images_without_dcm": 0,
        "rows_without_images": 0,
        "objects": 6,
        "bytes": 0,
        "dcm": 3,
        "json": 3,
        "clinical": 0,
    }
    with (tmp_path / "m/manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["key"] for row in rows] == sorted(
        key for key in small_bucket() if "images" in key and "PatC" not in key
    )
    assert {(row["patient_id"], row["covid_status"], row["submitting_centre"]) for row in rows} == {
        ("PatA", "positive", "Leeds, North"),
        ("PatB", "negative", 'York "East"'),
    }
    assert rows[0]["uri"] == f"{still_bucket}/{rows[0]['key']}"
    assert ask("manifest", "export", cohort, "-o", tmp_path / "m").returncode == 2  # it is in the way


@pytest.mark.slow
def test_manifest_json_keeps_to_its_schema(still: warehouse.Manifest) -> None:
    schema = json.loads((still.folder / "manifest.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(still.about, schema, format_checker=jsonschema.FormatChecker())
    published = Path(warehouse.__file__).parent / "manifests/manifest.schema.json"
    assert json.loads(published.read_text()) == schema
    for name in ("digest", "snapshot", "counts", "cohort"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({key: still.about[key] for key in still.about if key != name}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**still.about, "more": 1}, schema)


def test_digest_can_be_worked_out_from_the_csv_alone(still: warehouse.Manifest) -> None:
    columns = ["key", "size", "patient_id", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "Modality"]
    rows = duckdb.read_csv(str(still.folder / "manifest.csv"), all_varchar=True).pl().to_dicts()
    lines = [[*columns, *still.labels]]
    for row in rows:
        lines.append([int(row[name]) if name == "size" else row[name] for name in (*columns, *still.labels)])
    text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    assert still.digest == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


@pytest.mark.slow
def test_same_bucket_in_other_batches_on_another_lake_gives_the_same_manifest(
    still: warehouse.Manifest, still_bucket: Path, cohort: Path, tmp_path: Path
) -> None:
    warehouse.refresh(str(still_bucket), str(start_lake(tmp_path / "other")), settings=Settings(unit_objects=1))
    with warehouse.open(str(tmp_path / "other")) as wh:
        other = wh.cohort(cohort).export(tmp_path / "again", objects=("clinical", "json", "dcm"))
    assert other.digest == still.digest
    for name in ("manifest.csv", "download.s5cmd"):
        assert (other.folder / name).read_bytes() == (still.folder / name).read_bytes()
    # A Parquet file states the snapshot that it is from.
    assert pl.read_parquet(other.folder / "manifest.parquet").equals(pl.read_parquet(still.folder / "manifest.parquet"))


@pytest.mark.slow
def test_digest_follows_labels_and_objects(still_lake: str, still: warehouse.Manifest, tmp_path: Path) -> None:
    renamed = tmp_path / "films.sql"
    renamed.write_text(COHORT.replace(", submitting_centre", ", submitting_centre as centre"))
    with warehouse.open(still_lake) as wh:
        named = wh.cohort(renamed).export(tmp_path / "named", objects=("dcm", "json", "clinical"))
        fewer = wh.cohort(renamed).export(tmp_path / "fewer", objects=("dcm",))
    assert len({still.digest, named.digest, fewer.digest}) == 3


@pytest.mark.slow(after=1)
@pytest.mark.parametrize(
    ("grain", "column", "images"),
    [
        ("patient", "patient_id", 3),
        ("series", "SeriesInstanceUID", 2),
        ("image", "SOPInstanceUID", 1),
    ],
)
def test_every_grain_names_its_images(still_lake: str, tmp_path: Path, grain: str, column: str, images: int) -> None:
    """Labels named like a column of the manifest are distinguished; clinical files have a patient's labels alone."""
    where = {"patient": "true", "series": "patient_id = 'PatA'", "image": "SOPInstanceUID = '1.2.A.2'"}[grain]
    path = tmp_path / "one.sql"
    path.write_text(
        f"-- title: t\n-- question: q?\n-- grain: {grain}\n"
        f"select {column}, min(patient_id) as key, count(*) as n from images where {where} and patient_id <> 'PatC' "
        f"group by all order by 1 limit 2"
    )
    with warehouse.open(still_lake) as wh:
        made = wh.cohort(path).export(tmp_path / "m", objects=("dcm", "clinical"))
    rows = made.polars()
    assert rows.filter(rows["object"] == "dcm").height == made.about["counts"]["images"] == images
    assert made.labels == ("label_key", "n")
    assert set(rows.filter(rows["object"] == "dcm")["label_key"]) <= {"PatA", "PatB"}
    labels_of_records = set(rows.filter(rows["object"] == "clinical")["label_key"])
    assert labels_of_records == ({"PatA", "PatB"} if grain == "patient" else {None})


@pytest.mark.slow
def test_objects_without_image_or_pixels_are_reported(lake: str, bucket: Path, tmp_path: Path, ask: Chest) -> None:
    (bucket / "training/PatC/images/2020-03-02/1.2.C.1.dcm").unlink()
    write_objects(bucket, record("PatD", "2020-03-07", NEGATIVE))
    warehouse.refresh(str(bucket), lake, allow_removals=True)
    (tmp_path / "all.sql").write_text(
        "-- title: t\n-- question: q?\n-- grain: patient\nselect patient_id from patients"
    )
    done = ask("manifest", "export", tmp_path / "all.sql", "-o", tmp_path / "m")
    assert "1 image has a header but no .dcm" in done.stderr
    assert "1 of 4 rows have no image" in done.stderr
    assert warehouse.manifest(tmp_path / "m").about["without_images"] == ["PatD"]
    assert answer(ask("manifest", "verify", tmp_path / "m", "--format", "json"))["holds"]
    write_objects(bucket, record("PatC", "2020-08-01", NEGATIVE))  # the first one of a patient who had none
    found = answer(ask("manifest", "verify", tmp_path / "m", "--format", "json"), 1)
    assert problems(found) == [("superseded", "training/PatC/data/2020-08-01/data.json")]


def test_an_export_that_cannot_be_written_leaves_nothing(ask: Chest, cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = ask("manifest", "export", cohort, "-o", tmp_path / "file/m")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("chest: ")
    assert (
        "Objects are dcm, json, clinical, not pixels."
        in ask("manifest", "export", cohort, "-o", tmp_path / "m", "--objects", "dcm,pixels").stderr
    )
    assert not (tmp_path / "m").exists()


def test_croissant_describes_both_files(still: warehouse.Manifest) -> None:
    about = json.loads((still.folder / "croissant.json").read_text())
    assert about["@type"] == "sc:Dataset"
    assert about["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    assert {"name", "description", "license", "url", "citeAs", "datePublished", "version"} <= set(about)
    files = {file["@id"]: file for file in about["distribution"] if file["@type"] != "cr:FileSet"}
    for name, file in files.items():
        assert file["sha256"] == hashlib.sha256((still.folder / name).read_bytes()).hexdigest()
        assert file["@type"] == "cr:FileObject"
    (records,) = about["recordSet"]
    fields = {field["name"]: field for field in records["field"]}
    assert list(fields) == still.polars().columns
    assert all(field["source"]["fileObject"]["@id"] in files for field in fields.values())
    assert all(field["source"]["extract"]["column"] == name for name, field in fields.items())
    assert (fields["size"]["dataType"], fields["available_date"]["dataType"]) == ("sc:Integer", "sc:Date")
    assert {name for name, field in fields.items() if "cr:Label" in field["dataType"]} == set(still.labels)


def test_croissant_states_provenance_and_conditions_of_use(still: warehouse.Manifest) -> None:
    about = json.loads((still.folder / "croissant.json").read_text())
    number = still.about["snapshot"]
    assert about["version"] == f"1.0.0+snapshot.{number}"
    assert about["prov:wasDerivedFrom"]["@id"] == f"urn:chest-data-warehouse:snapshot:{number}"
    made = about["prov:wasGeneratedBy"]
    assert still.about["cohort"]["sql_sha256"] in made["prov:label"]
    assert warehouse.__version__ in made["prov:wasAssociatedWith"]["prov:label"]
    assert [term["termCode"] for term in about["usageInfo"]] == [
        *("DUO_0000007", "MONDO_0100096", "DUO_0000025", "DUO_0000026")
    ]
    (images,) = [part for part in about["distribution"] if part["@type"] == "cr:FileSet"]
    assert (images["includes"], images["encodingFormat"]) == ("**/*.dcm", ["application/dicom", "image/dicom"])


@pytest.mark.slow
def test_an_unknown_condition_of_use_stops_an_export(
    ask: Chest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHEST_DATA_USE", "DUO:0000042 DUO:0000001")
    done = ask("manifest", "export", "covid_risk", "-o", tmp_path / "m")
    assert done.returncode == 2
    assert done.stderr.startswith("chest: CHEST_DATA_USE has 'DUO:0000001', which is not known.")
    assert not (tmp_path / "m").exists()


def test_croissant_is_valid_by_its_own_library(still: warehouse.Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlcroissant

    monkeypatch.chdir(still.folder)
    dataset = mlcroissant.Dataset(jsonld="croissant.json")
    assert not dataset.metadata.issues.errors
    assert sum(1 for _ in dataset.records("objects")) == still.about["counts"]["objects"]


# Repeat


@pytest.mark.slow
def test_repeat_gives_the_same_whatever_came_since(
    ask: Chest, lake: str, bucket: Path, made: warehouse.Manifest
) -> None:
    before = answer(ask("manifest", "reproduce", made.folder, "--format", "json"))
    assert (before["is_same_digest"], before["is_same_csv"]) == (True, True)
    write_objects(bucket, image("PatA", 3))
    warehouse.refresh(str(bucket), lake)
    after = answer(ask("manifest", "reproduce", made.folder, "--format", "json"))
    assert after["repeated_digest"] == made.digest
    newest = answer(ask("manifest", "reproduce", made.folder, "--newest", "--format", "json"), 1)
    assert [(row["change"], row["key"].rpartition("/")[2]) for row in newest["differences"]] == [
        ("added", "1.2.A.3.dcm"),
        ("added", "1.2.A.3.json"),
    ]


@pytest.mark.slow
def test_a_snapshot_that_is_gone_is_named(ask: Chest, lake: str, bucket: Path, made: warehouse.Manifest) -> None:
    write_objects(bucket, image("PatA", 3))
    warehouse.refresh(str(bucket), lake)
    number = made.about["snapshot"]
    with lakes.open_writer(location.parse_address(lake), Settings()) as con:
        con.execute(f"call ducklake_expire_snapshots('lake', versions => [{number}])")
    done = ask("manifest", "reproduce", made.folder)
    assert done.returncode == 1
    assert f"snapshot {number}" in done.stderr
    assert "is gone" in done.stderr


@pytest.mark.slow
def test_another_lake_is_distinguished_from_its_own(
    ask: Chest, still: warehouse.Manifest, still_bucket: Path, tmp_path: Path
) -> None:
    warehouse.refresh(str(still_bucket), str(start_lake(tmp_path / "other")))
    done = ask("manifest", "reproduce", still.folder, "--lake", tmp_path / "other")
    assert done.returncode == 1
    assert "another lake" in done.stderr or "is gone" in done.stderr
    assert ask("manifest", "reproduce", still.folder, "--lake", tmp_path / "other", "--newest").returncode == 0


@pytest.mark.slow
def test_patients_withdrawn_since_are_named(ask: Chest, lake: str, bucket: Path, made: warehouse.Manifest) -> None:
    shutil.rmtree(bucket / "training/PatB")
    warehouse.refresh(str(bucket), lake, allow_removals=True)
    for command in ("reproduce", "verify"):
        done = ask("manifest", command, made.folder)
        assert done.returncode == 1
        assert "1 patients: PatB" in done.stderr


def test_an_altered_manifest_is_refused_by_every_command(ask: Chest, made: warehouse.Manifest, tmp_path: Path) -> None:
    rows = made.polars().with_columns(size=made.polars()["size"] + 1)
    rows.write_parquet(made.folder / "manifest.parquet")
    for words in (("verify",), ("reproduce",), ("download", "-o", tmp_path / "d"), ("compare", made.folder)):
        done = ask("manifest", words[0], made.folder, *words[1:])
        assert (done.returncode, done.stdout) == (1, "")
        assert "was altered" in done.stderr
    (made.folder / "manifest.csv").unlink()
    assert "is incomplete: manifest.csv" in ask("manifest", "verify", made.folder).stderr
    (made.folder / "manifest.json").write_text("{}")
    assert ask("manifest", "verify", made.folder).returncode == 1
    assert ask("manifest", "verify", tmp_path).returncode == 2


# Verify


def test_verify_of_an_untouched_bucket_holds(
    ask: Chest, still: warehouse.Manifest, still_bucket: Path, tmp_path: Path
) -> None:
    found = answer(ask("manifest", "verify", still.folder, "--format", "json"))
    assert found["holds"]
    assert (found["present"], found["by_size"], found["problems"]) == (8, 0, [])
    shutil.copytree(still_bucket, tmp_path / "copy", copy_function=shutil.copyfile)
    copied = answer(ask("manifest", "verify", still.folder, "--source", tmp_path / "copy", "--format", "json"))
    assert (copied["present"], copied["by_size"]) == (8, 8)  # other times of writing


def test_verify_names_what_is_missing_and_changed(ask: Chest, made: warehouse.Manifest, bucket: Path) -> None:
    gone = "training/PatA/images/2020-03-02/1.2.A.1.dcm"
    longer = "training/PatA/images/2020-03-02/1.2.A.2.dcm"
    other = "training/PatB/images/2020-03-02/1.2.B.1.dcm"
    (bucket / gone).unlink()
    (bucket / longer).write_bytes(b"more" * 1000)
    (bucket / other).write_bytes((bucket / other).read_bytes()[::-1])
    os.utime(bucket / other, (1_700_000_000, 1_700_000_000))
    done = ask("manifest", "verify", made.folder, "--format", "json")
    found = answer(done, 1)
    assert problems(found) == [("changed", longer), ("changed", other), ("missing", gone)]
    assert (found["present"], found["missing"], found["changed"], found["superseded"]) == (5, 1, 2, 0)
    text = ask("manifest", "verify", made.folder)
    assert text.returncode == 1
    for key in (gone, longer, other):
        assert key in text.stdout


def test_verify_names_what_is_superseded(ask: Chest, made: warehouse.Manifest, bucket: Path) -> None:
    counted = "training/PatA/data/2020-03-05/data.json"
    write_objects(bucket, record("PatA", "2020-05-01", {**POSITIVE, "SubmittingCentre": "York"}))
    write_objects(bucket, image("PatB", 1, day="2020-06-01"))
    found = answer(ask("manifest", "verify", made.folder, "--format", "json"), 1)
    assert problems(found) == [
        ("superseded", counted),
        ("superseded", "training/PatB/images/2020-03-02/1.2.B.1.dcm"),
        ("superseded", "training/PatB/images_metadata/2020-03-02/1.2.B.1.json"),
    ]
    details = {row["key"]: row["detail"] for row in found["problems"]}
    assert details[counted] == "a newer clinical file is in effect: training/PatA/data/2020-05-01/data.json"


@pytest.mark.slow
def test_only_a_file_that_would_count_supersedes(
    ask: Chest, lake: str, cohort: Path, bucket: Path, tmp_path: Path
) -> None:
    """A status file never outdoes a data file; what came after the manifest's day was not known on it."""
    with warehouse.open(lake) as wh:
        wh.cohort(cohort, as_of="2020-12-31").export(tmp_path / "m")
    write_objects(bucket, record("PatA", "2020-06-01", NEGATIVE))
    write_objects(bucket, record("PatB", "2021-06-01", POSITIVE))
    write_objects(bucket, {"training/PatB/data/2020-07-01/data.json": "not JSON"})
    assert answer(ask("manifest", "verify", tmp_path / "m", "--format", "json"))["holds"]
    write_objects(bucket, record("PatB", "2020-02-01", POSITIVE))  # older, but a data file
    found = answer(ask("manifest", "verify", tmp_path / "m", "--format", "json"), 1)
    assert problems(found) == [("superseded", "training/PatB/data/2020-03-06/data.json")]
    # Without clinical files among its objects it still knows which ones it rests on.
    (bucket / "training/PatA/data/2020-03-05/data.json").unlink()
    found = answer(ask("manifest", "verify", tmp_path / "m", "--format", "json"), 1)
    assert ("missing", "training/PatA/data/2020-03-05/data.json") in problems(found)


@pytest.mark.slow
def test_verify_agrees_with_what_a_refresh_would_answer(
    ask: Chest, cohort: Path, samples: Path, tmp_path: Path
) -> None:
    """On both sample buckets, as of a day long past, nothing is superseded."""
    for layout in ("dated", "published"):
        warehouse.refresh(str(samples / layout), str(tmp_path / layout))
        with warehouse.open(str(tmp_path / layout)) as wh:
            made = wh.cohort(cohort, as_of="2020-06-01").export(tmp_path / f"m-{layout}")
        found = answer(ask("manifest", "verify", made.folder, "--lake", tmp_path / layout, "--format", "json"))
        assert found["present"] == made.about["counts"]["objects"] > 0


# Compare


@pytest.mark.slow
def test_compare_names_what_came_went_and_changed(
    ask: Chest, lake: str, bucket: Path, cohort: Path, made: warehouse.Manifest, tmp_path: Path
) -> None:
    assert ask("manifest", "compare", made.folder, made.folder).returncode == 0
    write_objects(bucket, image("PatA", 3))
    write_objects(bucket, record("PatB", "2020-08-01", POSITIVE))
    (bucket / "training/PatA/images/2020-03-02/1.2.A.2.dcm").write_bytes(b"other")
    (bucket / "training/PatA/images_metadata/2020-03-02/1.2.A.1.json").unlink()
    warehouse.refresh(str(bucket), lake, allow_removals=True)
    with warehouse.open(lake) as wh:
        newer = wh.cohort(cohort, since="2020-02-01").export(tmp_path / "newer", objects=("dcm", "json", "clinical"))
    found = answer(ask("manifest", "compare", made.folder, newer.folder, "--format", "json"), 1)
    assert set(found["asked"]) == {"parameters", "snapshot"}
    changes = {row["key"].rpartition("/")[2]: (row["change"], row["detail"]) for row in found["differences"]}
    assert changes["1.2.A.3.dcm"] == ("added", None)
    assert changes["1.2.A.1.dcm"] == ("removed", None)
    assert changes["1.2.A.2.dcm"] == ("changed", "size 1800 is now 5")
    assert changes["1.2.B.1.dcm"][1] == (
        'covid_status negative is now positive; submitting_centre York "East" is now Leeds, North'
    )


# Download


def test_download_then_again_then_a_corrupted_file(
    ask: Chest, still: warehouse.Manifest, still_bucket: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    first = answer(ask("manifest", "download", still.folder, "-o", data, "--format", "json"))
    assert (first["complete"], first["fetched"], first["kept"]) == (True, 8, 0)
    expected = {key for key in small_bucket() if "PatC" not in key}
    assert {path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file()} == expected
    for key in expected:
        assert (data / key).read_bytes() == (still_bucket / key).read_bytes()
    victim = data / "training/PatA/images/2020-03-02/1.2.A.1.dcm"
    stat = victim.stat()
    victim.write_bytes(b"x" * stat.st_size)
    os.utime(victim, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (data / "training/PatB/images/2020-03-02/1.2.B.1.dcm").write_bytes(b"short")
    again = answer(ask("manifest", "download", still.folder, "-o", data, "--workers", 2, "--format", "json"))
    assert (again["fetched"], again["kept"]) == (2, 6)
    assert victim.read_bytes() == (still_bucket / victim.relative_to(data)).read_bytes()


def test_an_incomplete_download_is_reported(ask: Chest, made: warehouse.Manifest, bucket: Path, tmp_path: Path) -> None:
    gone, other = "training/PatA/images/2020-03-02/1.2.A.1.dcm", "training/PatA/images/2020-03-02/1.2.A.2.dcm"
    (bucket / gone).unlink()
    os.utime(bucket / other, (1_700_000_000, 1_700_000_000))
    done = ask("manifest", "download", made.folder, "-o", tmp_path / "data")
    assert done.returncode == 1
    assert "2 of 8 objects are not in" in done.stderr
    assert f"missing from the bucket: {gone}" in done.stderr
    assert f"changed in the bucket since the manifest was made: {other}" in done.stderr
    listed = (tmp_path / "data/INCOMPLETE").read_text()
    assert gone in listed
    assert other in listed
    assert not (tmp_path / "data" / gone).exists()
    with pytest.raises(warehouse.ManifestError, match=r"1\.2\.A\.1\.dcm"):
        made.files(tmp_path / "data")
    # From a copy that has them it becomes whole.
    write_objects(tmp_path / "copy", small_bucket())
    assert (
        ask("manifest", "download", made.folder, "-o", tmp_path / "data", "--source", tmp_path / "copy").returncode == 0
    )
    assert not (tmp_path / "data/INCOMPLETE").exists()


@pytest.mark.slow
def test_a_large_object_goes_on_from_its_part(lake: str, bucket: Path, cohort: Path, tmp_path: Path) -> None:
    from warehouse.manifests.download import download

    big = bucket / "training/PatA/images/2020-03-02/1.2.A.1.dcm"
    big.write_bytes(os.urandom(3_000_000))
    warehouse.refresh(str(bucket), lake)
    with warehouse.open(lake) as wh:
        made = wh.cohort(cohort).export(tmp_path / "m", objects=("dcm",))
    data = tmp_path / "data"
    row = made.polars().row(0, named=True)
    part = data / ".chest/parts" / hashlib.sha256(f"{row['uri']}\n{row['etag']}".encode()).hexdigest()
    part.parent.mkdir(parents=True)
    part.write_bytes(big.read_bytes()[:2_000_000])
    found = download(made, data)
    assert found.bytes == made.about["counts"]["bytes"] - 2_000_000
    assert (data / row["key"]).read_bytes() == big.read_bytes()
    shutil.rmtree(data)
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 2_000_000)  # a part that went bad: what it becomes does not match, and is fetched anew
    assert download(made, data).failed == []
    assert (data / row["key"]).read_bytes() == big.read_bytes()


@pytest.mark.slow
def test_no_room_and_no_folder_are_one_line(ask: Chest, lake: str, bucket: Path, cohort: Path, tmp_path: Path) -> None:
    huge = bucket / "training/PatA/images/2020-03-02/1.2.A.1.dcm"
    with huge.open("wb") as file:
        file.truncate(shutil.disk_usage(tmp_path).free + 10**12)
    warehouse.refresh(str(bucket), lake)
    assert ask("manifest", "export", cohort, "-o", tmp_path / "m").returncode == 0
    done = ask("manifest", "download", tmp_path / "m", "-o", tmp_path / "data")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "has room for" in done.stderr
    (tmp_path / "file").write_text("")
    done = ask("manifest", "download", tmp_path / "m", "-o", tmp_path / "file")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "cannot be written" in done.stderr


def test_a_full_disk_and_a_closed_folder_are_one_line(still: warehouse.Manifest, tmp_path: Path) -> None:
    """A limit of the system stands in for the end of the disk; a user without rights may not write."""
    import resource

    from warehouse.manifests.download import download

    data = tmp_path / "data"
    assert still.contents
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        with pytest.raises(warehouse.UsageError, match="a file would be larger than"):
            download(still, data)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (data / "INCOMPLETE").exists()
    if os.getuid():
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(warehouse.UsageError, match="no permission"):
            download(still, tmp_path / "closed" / "data")


def test_links_in_the_folder_lead_nowhere_else(still: warehouse.Manifest, tmp_path: Path) -> None:
    from warehouse.manifests.download import download

    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/training").symlink_to(outside)
    found = download(still, tmp_path / "data")
    assert {reason for _, reason in found.failed} == {"would be written outside the folder"}
    assert list(outside.iterdir()) == []


def test_what_others_put_at_names_that_can_be_guessed_is_not_written_to(
    still: warehouse.Manifest, tmp_path: Path
) -> None:
    """Links, hard links and pipes at the names of a download's own files."""
    from warehouse.manifests.download import download

    mine, data = tmp_path / "mine", tmp_path / "data"
    mine.write_text("mine" * 1_000_000)  # large enough for a part to go on from
    (data / ".chest" / "parts").mkdir(parents=True)
    (data / "INCOMPLETE").symlink_to(mine)
    plants = (lambda path: path.symlink_to(mine), lambda path: path.hardlink_to(mine), os.mkfifo)
    for number, row in enumerate(still.polars().iter_rows(named=True)):
        name = hashlib.sha256(f"{row['uri']}\n{row['etag']}".encode()).hexdigest()
        plants[number % 3](data / ".chest" / "parts" / name)
    assert not download(still, data).failed
    assert not (data / "INCOMPLETE").is_symlink()
    for name in ("lock", "parts", ""):
        shutil.rmtree(data, ignore_errors=True)
        (data / ".chest").mkdir(parents=True)
        if not name:
            (data / ".chest").rmdir()
        (data / ".chest" / name).symlink_to(tmp_path / "theirs" if name == "lock" else tmp_path)
        with pytest.raises(warehouse.UsageError, match=f"{name or '.chest'} is a link"):
            download(still, data)
    assert mine.read_text() == "mine" * 1_000_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "mine"]


@given(st.text(st.sampled_from("a./\\\x00:C \n"), max_size=12))
def test_no_key_gets_out_of_the_folder(key: str) -> None:
    folder = Path("/nowhere/data")
    place = paths.find_target(folder, key)
    assert place is None or (
        os.path.normpath(place) == str(place) and str(place).startswith(f"{folder}/") and "\x00" not in key
    )
    found = duckdb.execute("select regexp_matches($key, $unsafe)", {"key": key, "unsafe": paths.UNSAFE}).fetchone()
    assert found is not None
    assert (place is None) == (found[0] or not key)


@given(st.binary(max_size=300), st.integers(1, 50))
def test_etag_of_parts_is_the_md5_of_their_md5s(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, part: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "parts"
    path.write_bytes(content)
    parts = [content[at : at + part] for at in range(0, len(content), part)] or [b""]
    whole = hashlib.md5(b"".join(hashlib.md5(piece).digest() for piece in parts)).hexdigest()
    assert compute_etag(path, part) == f"{whole}-{len(parts)}"


# Register


@pytest.mark.slow
def test_exports_are_recorded_and_marked_when_their_answer_changes(
    ask: Chest, lake: str, bucket: Path, made: warehouse.Manifest
) -> None:
    (row,) = answer(ask("manifest", "list", "--check", "--format", "json"))
    assert (row["cohort"], row["digest"], row["snapshot"]) == ("films", made.digest, made.about["snapshot"])
    assert (row["n_objects"], row["n_patients"], row["state"]) == (8, 2, "same")
    # Recording publishes nothing: a refresh of the same bucket still does nothing.
    again = warehouse.refresh(str(bucket), lake)
    assert (again.published.is_new, again.published.snapshot) == (False, made.about["snapshot"])
    assert json.loads(ask("status", "--format", "json").stdout)["unpublished_commits"] == 0
    write_objects(bucket, image("PatC", 2))  # not of the cohort
    warehouse.refresh(str(bucket), lake)
    assert answer(ask("manifest", "list", "--check", "--format", "json"))[0]["state"] == "same"
    write_objects(bucket, image("PatB", 2))
    warehouse.refresh(str(bucket), lake)
    assert answer(ask("manifest", "list", "--check", "--format", "json"))[0]["state"] == "changed"
    assert "changed" in ask("manifest", "list", "--check").stdout
    unchecked = ask("manifest", "list")
    assert "changed" not in unchecked.stdout
    assert "chest manifest list --check" in unchecked.stderr
    assert "state" not in answer(ask("manifest", "list", "--format", "json"))[0]


@pytest.mark.slow
def test_an_export_from_a_lake_that_stays_busy_is_an_error_and_leaves_nothing(
    lake: str, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "SECONDS", 0.0)
    with (
        warehouse.open(lake) as wh,
        lakes.open_writer(location.parse_address(lake), Settings()),
        pytest.raises(warehouse.LakeBusyError, match=r"cannot be recorded in the lake.*Wait until") as error,
    ):
        wh.cohort(cohort).export(tmp_path / "out" / "m")
    assert (error.value.exit_code, "\n" in str(error.value)) == (2, False)
    assert not list((tmp_path / "out").iterdir())
    assert register.list_entries(lake) == []


@pytest.mark.parametrize(
    ("words", "may_read_only"),
    [
        ("The lake l cannot be written: Permission denied (writer.lock).", True),
        ("The lake l cannot be written: Read-only file system (writer.lock).", True),
        ("attempt to write a readonly database", True),
        ('Failed to commit: ERROR:  permission denied for table "ducklake_snapshot"', True),
        ("cannot execute INSERT in a read-only transaction", True),
        ("HTTP 403 Forbidden: AccessDenied", True),
        ("database is locked", False),
        ("database or disk is full", False),
        ("server closed the connection unexpectedly", False),
    ],
)
def test_a_missing_right_is_distinguished_from_a_failure(words: str, may_read_only: bool) -> None:
    assert waiting.is_right_missing(words) is may_read_only


@pytest.mark.slow
def test_a_lake_of_before_the_register_gets_it(ask: Chest, lake: str, cohort: Path, tmp_path: Path) -> None:
    with lakes.open_writer(location.parse_address(lake), Settings()) as con:
        con.execute("drop table ops.manifests")
        con.execute("delete from ops.migrations where number >= 4")
    assert answer(ask("manifest", "list", "--format", "json")) == []
    assert ask("manifest", "export", cohort, "-o", tmp_path / "m").returncode == 0
    assert len(answer(ask("manifest", "list", "--format", "json"))) == 1


# Python


def test_downloaded_files_come_with_their_labels(still: warehouse.Manifest, tmp_path: Path) -> None:
    from warehouse.manifests.download import download

    download(still, tmp_path / "data")
    opened = warehouse.manifest(still.folder)
    assert opened.polars().height == 8
    files = opened.files(tmp_path / "data")
    assert len(files) == 3
    path, labels = files[0]
    assert Path(path).read_bytes().startswith(b"pixels of 1.2.A.1")
    assert labels == {"patient_id": "PatA", "covid_status": "positive", "submitting_centre": "Leeds, North"}
    assert list(files) == [files[0], files[1], files[2]] == list(pickle.loads(pickle.dumps(files)))
    assert list(files[1:]) == [files[1], files[2]]
    assert "torch" not in sys.modules


@pytest.mark.slow
def test_a_bucket_whose_address_no_manifest_can_name_is_one_line(cohort: Path, tmp_path: Path) -> None:
    write_objects(tmp_path / "bu\tck", small_bucket())
    warehouse.refresh(str(tmp_path / "bu\tck"), str(start_lake(tmp_path / "lake")))
    with (
        warehouse.open(str(tmp_path / "lake")) as wh,
        pytest.raises(warehouse.UsageError, match="control char"),
    ):
        wh.cohort(cohort).export(tmp_path / "made")
    assert not (tmp_path / "made").exists()
