"""Layouts of a download folder: templates of columns, one folder, and what is refused before a byte is fetched."""

import csv
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from conftest import Chest, copy_lake, start_lake, write_objects
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import warehouse
from warehouse.manifests import layouts, paths
from warehouse.manifests.download import download

COHORT = """\
-- title: All patients
-- question: Which patients are there, and with which status?
-- grain: patient
-- label covid_status: positive or negative
-- label centre_text: the centre as it was written
select patient_id, covid_status, submitting_centre as centre_text from patients
"""
TEMPLATE = "{patient_id}/{Modality}/{SeriesInstanceUID}/{InstanceNumber:04}.dcm"


def make_image(patient: str, number: int, *, series: str = "1", day: str = "2020-03-02") -> dict[str, bytes | str]:
    """The two objects of an image of a patient, numbered in its series."""
    uid = f"1.2.{patient[-1]}.{series}.{number}"
    tags = {
        "00080018": ("UI", uid),
        "0020000D": ("UI", f"1.9.{patient[-1]}"),
        "0020000E": ("UI", f"1.9.{patient[-1]}.{series}"),
        "00080060": ("CS", "CT"),
        "00200013": ("IS", number),
    }
    return {
        f"training/{patient}/images_metadata/{day}/{uid}.json": json.dumps(
            {tag: {"vr": vr, "Value": [value]} for tag, (vr, value) in tags.items()}
        ),
        f"training/{patient}/images/{day}/{uid}.dcm": f"pixels of {uid} ".encode() * 50,
    }


def make_bucket() -> dict[str, bytes | str]:
    """A has two series and two records of different days, B has a centre whose name cannot be a folder's."""

    def record(patient: str, day: str, **content: str) -> dict[str, bytes | str]:
        return {f"training/{patient}/data/{day}/data.json": json.dumps({"Pseudonym": patient, **content})}

    return {
        **make_image("PatA", 1),
        **make_image("PatA", 12),
        **make_image("PatA", 1, series="2"),
        **make_image("PatB", 1),
        **record("PatA", "2020-03-05", SwabStatus="Negative", SubmittingCentre="Leeds"),
        **record("PatA", "2020-03-06", SwabStatus="Negative", SubmittingCentre="Leeds"),
        **record("PatB", "2020-03-05", SwabStatus="Negative", SubmittingCentre="../York: a/b ."),
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bucket, its lake and the manifest of all objects in it; no test changes them."""
    root = tmp_path_factory.mktemp("layouts")
    write_objects(root / "bucket", make_bucket())
    (root / "all.sql").write_text(COHORT)
    warehouse.refresh(str(root / "bucket"), str(start_lake(root / "lake")))
    with warehouse.open(str(root / "lake")) as wh:
        cohort = wh.cohort(root / "all.sql")
        cohort.export(root / "manifest", objects=("dcm", "json", "clinical"), columns=("InstanceNumber", "studydate"))
        cohort.export(root / "plain", objects=("dcm", "json"))
    return root


@pytest.fixture
def made(root: Path) -> warehouse.Manifest:
    return warehouse.manifest(root / "manifest")


@pytest.fixture
def ask(here: Chest, root: Path, monkeypatch: pytest.MonkeyPatch) -> Chest:
    monkeypatch.setenv("CHEST_LAKE", str(root / "lake"))
    return here


def fetch(made: warehouse.Manifest, data: Path, layout: str = "") -> Any:
    return download(made, data, layout=layout, source=made.sources)


def list_files(data: Path) -> list[str]:
    own = {*paths.TABLES, f"{paths.OWN}/layout"}
    return sorted(
        name for path in data.rglob("*") if path.is_file() and (name := path.relative_to(data).as_posix()) not in own
    )


# Columns of images


@pytest.mark.slow
def test_columns_of_images_are_labels_of_the_rows_and_of_the_digest(root: Path, made: warehouse.Manifest) -> None:
    plain = warehouse.manifest(root / "plain")
    assert made.about["columns"] == ["InstanceNumber", "StudyDate"]
    assert made.labels == ("covid_status", "centre_text", "InstanceNumber", "StudyDate")
    assert made.about["cohort"]["labels"]["InstanceNumber"] == "Number of the image within its series."
    assert "columns" not in plain.about
    assert plain.labels == ("covid_status", "centre_text")
    rows = made.polars()
    numbers = rows.filter(pl.col("object") == "dcm").sort("key")["InstanceNumber"].to_list()
    assert sorted(numbers) == [1, 1, 1, 12]
    assert rows.filter(pl.col("object") == "clinical")["InstanceNumber"].null_count() == 3


@pytest.mark.slow
def test_a_manifest_with_columns_is_reproduced_and_its_state_is_known(ask: Chest, root: Path, tmp_path: Path) -> None:
    assert (
        ask("manifest", "export", root / "all.sql", "-o", tmp_path / "m", "--columns", "SeriesNumber").returncode == 0
    )
    done = ask("manifest", "reproduce", tmp_path / "m")
    assert done.returncode == 0, done.stderr
    write_objects(root / "bucket", {"training/PatC/data/2021-01-01/data.json": '{"Pseudonym": "PatC"}'})
    warehouse.refresh(str(root / "bucket"), str(start_lake(root / "lake")))
    listed = json.loads(ask("manifest", "list", "--check", "--format", "json").stdout)
    states = {str(entry["image_columns"]): entry["state"] for entry in listed}
    assert states["['SeriesNumber']"] == states["None"] == "same", "the new patient has no image"


@pytest.mark.parametrize(
    ("columns", "words"),
    [("InstanceNumbr", "Did you mean InstanceNumber"), ("Modality", "has a column of that name already")],
)
def test_columns_that_cannot_be_had_are_refused(
    ask: Chest, root: Path, tmp_path: Path, columns: str, words: str
) -> None:
    done = ask("manifest", "export", root / "all.sql", "-o", tmp_path / "m", "--columns", columns)
    assert done.returncode == 2
    assert words in done.stderr
    assert not (tmp_path / "m").exists()


# Layouts


def test_a_template_gives_each_object_its_path(made: warehouse.Manifest, tmp_path: Path) -> None:
    data = tmp_path / "data"
    found = fetch(made, data, TEMPLATE)
    assert (found.fetched, found.failed) == (11, [])
    names = list_files(data)
    images = ["PatA/CT/1.9.A.1/0001", "PatA/CT/1.9.A.1/0012", "PatA/CT/1.9.A.2/0001", "PatB/CT/1.9.B.1/0001"]
    assert [name for name in names if "/clinical/" not in name] == sorted(
        f"{image}{ending}" for image in images for ending in (".dcm", ".json")
    )
    clinical = [name for name in names if "/clinical/" in name]
    assert len(clinical) == 3
    assert all(re.fullmatch(r"Pat[AB]/clinical/Pat[AB]_2020-03-0[56]_[0-9a-f]{12}\.json", name) for name in clinical)
    bucket = Path(made.sources[0])
    table = pl.read_parquet(data / "files.parquet")
    assert table["path"].to_list() == [row["path"] for row in csv.DictReader((data / "files.csv").open())]
    assert {"key", "uri", "object", "patient_id", "covid_status", "InstanceNumber"} <= set(table.columns)
    for path, key in table.select("path", "key").iter_rows():
        assert (data / path).read_bytes() == (bucket / key).read_bytes()
    assert not (data / "INCOMPLETE").exists()


@pytest.mark.slow
def test_flat_has_one_folder_with_names_of_their_own(root: Path, tmp_path: Path) -> None:
    """An image sent again under a later day has the same SOPInstanceUID, and a file of its own."""
    objects = {**make_bucket(), **make_image("PatB", 1, day="2020-04-01")}
    write_objects(tmp_path / "bucket", objects)
    warehouse.refresh(str(tmp_path / "bucket"), str(start_lake(tmp_path / "lake")))
    with warehouse.open(str(tmp_path / "lake")) as wh:
        made = wh.cohort(root / "all.sql").export(tmp_path / "m", objects=("dcm", "json", "clinical"))
    total = made.about["counts"]["objects"]
    assert fetch(made, tmp_path / "data", "flat").fetched == total
    names = list_files(tmp_path / "data")
    assert len(names) == total
    assert not any("/" in name for name in names)
    assert {"1.2.A.1.1.dcm", "1.2.A.1.1.json"} <= set(names)
    images = [path for path, _ in made.files(tmp_path / "data")]
    assert sorted(Path(path).read_bytes() for path in images) == sorted(
        content for key, content in objects.items() if key.endswith(".dcm") and key in made.polars()["key"].to_list()
    )


def test_labels_may_have_the_names_that_a_layout_uses(root: Path, tmp_path: Path) -> None:
    names = ("stem", "patient", "path", "laid", "spelt_stem", "doubled")
    labels = ", ".join(f"'../{name}' as {name}" for name in names)
    (tmp_path / "mine.sql").write_text(
        f"-- title: Mine\n-- question: Which patients?\n-- grain: patient\nselect patient_id, {labels} from patients\n"
    )
    with warehouse.open(str(root / "lake")) as wh:
        made = wh.cohort(tmp_path / "mine.sql").export(tmp_path / "m", objects=("dcm", "json", "clinical"))
    fetch(made, tmp_path / "flat", "flat")
    expected = {path.removesuffix(".json") for path in list_files(tmp_path / "flat") if path.endswith(".json")}
    assert {"1.2.A.1.1", "1.2.A.1.12"} <= expected
    assert not any(name in path for path in list_files(tmp_path / "flat") for name in names)
    fetch(made, tmp_path / "stem", "{stem}/{SOPInstanceUID}")
    assert {path.split("/")[0] for path in list_files(tmp_path / "stem") if path.endswith(".dcm")} == {"__stem"}


def test_files_come_with_their_labels_in_every_layout(made: warehouse.Manifest, tmp_path: Path) -> None:
    fetch(made, tmp_path / "keys")
    expected = [(Path(path).read_bytes(), labels) for path, labels in made.files(tmp_path / "keys")]
    assert not (tmp_path / "keys/.chest").exists(), "the layout of the keys leaves no trace"
    for number, layout in enumerate(("flat", TEMPLATE, "{centre_text}/{SOPInstanceUID}")):
        data = tmp_path / str(number)
        fetch(made, data, layout)
        assert [(Path(path).read_bytes(), labels) for path, labels in made.files(data)] == expected
    (tmp_path / "0/1.2.A.1.1.dcm").unlink()
    with pytest.raises(warehouse.ManifestError, match=r"1\.2\.A\.1\.1\.dcm"):
        made.files(tmp_path / "0")


def test_values_become_safe_names(made: warehouse.Manifest, tmp_path: Path) -> None:
    fetch(made, tmp_path / "data", "{centre_text}/{StudyDate}/{SOPInstanceUID}.dcm")
    folders = {name.rpartition("/")[0] for name in list_files(tmp_path / "data") if name.endswith(".dcm")}
    assert folders == {"Leeds/unknown", "__York_ a_b_/unknown"}


@pytest.mark.slow
def test_a_folder_remembers_its_layout(ask: Chest, made: warehouse.Manifest, tmp_path: Path) -> None:
    data = tmp_path / "data"
    fetch(made, data, TEMPLATE)
    victim = data / "PatA/CT/1.9.A.1/0012.dcm"
    victim.write_bytes(b"?" * victim.stat().st_size)
    (data / "files.csv").unlink()
    again = fetch(made, data)
    assert (again.fetched, again.kept) == (1, 10)
    assert (data / "files.csv").exists()
    for layout in ("flat", "keys", "{SOPInstanceUID}"):
        done = ask("manifest", "download", made.folder, "-o", data, "--layout", layout)
        assert done.returncode == 2
        assert f"Give --layout '{TEMPLATE}', or another folder" in done.stderr
    fetch(made, tmp_path / "keys")
    done = ask("manifest", "download", made.folder, "-o", tmp_path / "keys", "--layout", "flat")
    assert done.returncode == 2
    assert "has files in layout keys" in done.stderr


def test_what_failed_is_named_and_the_rest_can_be_found(root: Path, ask: Chest, tmp_path: Path) -> None:
    write_objects(tmp_path / "bucket", make_bucket())
    gone = next(key for key in make_bucket() if key.endswith("1.2.B.1.1.dcm"))
    (tmp_path / "bucket" / gone).unlink()
    folder, data = root / "plain", tmp_path / "data"
    done = ask("manifest", "download", folder, "-o", data, "--layout", "flat", "--source", tmp_path / "bucket")
    assert done.returncode == 1
    assert f"missing from the bucket: {gone}" in done.stderr
    assert "--layout flat" in (data / "INCOMPLETE").read_text()
    assert (data / "files.parquet").exists()
    assert ask("manifest", "download", folder, "-o", data).returncode == 0
    assert not (data / "INCOMPLETE").exists()
    assert (data / "1.2.B.1.1.dcm").exists()


# What is refused


@pytest.mark.slow(after=6)
@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ("{patient_id}.dcm", "gives several objects one path: PatA.dcm (3 objects, such as training/PatA/images/"),
        ("{patient_id}/{InstanceNumber}", "PatA/1.dcm (2 objects, such as "),
        ("{PatientId}/{SOPInstanceUID}", "no column PatientId. Did you mean patient_id?"),
        ("{SeriesNumber}/{SOPInstanceUID}", "chest manifest export --columns"),
        ("{Modality:04}/{SOPInstanceUID}", "Modality is VARCHAR, and only whole numbers are padded"),
        ("{InstanceNumber:4}", "{InstanceNumber:04}"),
        ("{InstanceNumber:>04}", "Nothing else may follow the colon"),
        ("{InstanceNumber!r}", "no column InstanceNumber!r"),
        ("{key.__class__}", "no column key.__class__"),
        ("{key[0]}", "no column key[0]"),
        ("{}/x", "no column "),
        ("x}{key}", "a brace that does not belong to a column"),
        ("{{key}}", "a brace that does not belong to a column"),
        ("plain.dcm", "is neither keys nor flat"),
        ("../{key}", "would lead out of the folder"),
        ("/{key}", "would lead out of the folder"),
        ("{patient_id}//{key}", "would lead out of the folder"),
        ("a\\{key}", "would lead out of the folder"),
        (".chest/{key}", "would lead out of the folder"),
        ("{patient_id}/.dcm", "no name for the files"),
        ("files.parquet/{key}", "has a name that is reserved"),
        ("{key}" + "x" * 600, "more than 500 characters"),
        ("{key}" + "x" * 300, "has a name that the file system does not allow"),
    ],
)
def test_layouts_that_cannot_be_are_refused_before_a_byte_is_fetched(
    ask: Chest, made: warehouse.Manifest, tmp_path: Path, layout: str, words: str
) -> None:
    done: subprocess.CompletedProcess[str] = ask(
        "manifest", "download", made.folder, "-o", tmp_path / "data", "--layout", layout
    )
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
    own = ("INCOMPLETE", ".chest/lock", ".chest/layout")
    assert [name for name in list_files(tmp_path / "data") if name not in own] == []


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("corrected", ["{patient_id}/{key}", "flat", "keys"])
def test_a_refused_layout_does_not_bind_the_folder(
    ask: Chest, made: warehouse.Manifest, tmp_path: Path, corrected: str
) -> None:
    words = ("manifest", "download", made.folder, "-o", tmp_path / "data", "--layout")
    assert ask(*words, "{patient}/{key}").returncode == 2
    done = ask(*words, corrected)
    assert done.returncode == 0, done.stderr
    assert sum(name.endswith(".dcm") for name in list_files(tmp_path / "data")) == made.about["counts"]["images"]
    assert (tmp_path / "data/.chest/layout").exists() == (corrected != "keys")
    assert "in layout" in ask(*words, "{patient_id}/x/{key}").stderr


VALUES = st.text(st.sampled_from("aAé\u0301./ \\:*\x00\x1f\u200ccon\n"), max_size=8)


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=4))
def test_no_value_leads_out_of_the_folder(
    tmp_path_factory: pytest.TempPathFactory, values: list[tuple[str, str]]
) -> None:
    data, trial = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("trial")
    with duckdb.connect() as con:
        con.execute(
            "create table rows (key varchar, uri varchar, object varchar, size bigint, etag varchar, a varchar, "
            "b varchar, patient_id varchar, available_date date)"
        )
        given_rows = [(str(n), f"/b/{n}", a.replace("\0", ""), b.replace("\0", "")) for n, (a, b) in enumerate(values)]
        con.executemany("insert into rows values ($1, $2, 'dcm', 1, '', $3, $4, 'P', null)", given_rows)
        query = layouts.parse_layout("{a}/x{b}").describe_path(layouts.read_types(con, "rows"), "rows")
        refused = paths.find_unwritable(con, f"({query})", {"/b": "b"}, data, trial, path="laid")
        laid = [path for path, uri in con.execute("select path, uri from targets").fetchall() if uri not in refused]
    for path in laid:
        place = paths.find_target(data, path)
        assert place is not None
        assert len(place.relative_to(data).parts) == 2
        place.parent.mkdir(exist_ok=True)
        place.open("x").close()


# One patient, study or series


@pytest.fixture
def own(root: Path, ask: Chest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chest:
    """The command with a lake of the test's own, since each download is recorded."""
    monkeypatch.setenv("CHEST_LAKE", str(copy_lake(root / "lake", tmp_path / "lake")))
    return ask


@pytest.mark.slow
@pytest.mark.parametrize(("what", "n_images"), [("PatA", 3), ("1.9.A", 3), ("1.9.A.2", 1), ("1.9.B.1", 1)])
def test_a_patient_a_study_and_a_series_are_downloaded(own: Chest, tmp_path: Path, what: str, n_images: int) -> None:
    data = tmp_path / "data"
    done = own("download", what, "-o", data, "--layout", TEMPLATE, "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["fetched"] == 2 * n_images
    made = warehouse.manifest(data / ".chest/manifest")
    assert len(made.files(data)) == n_images
    assert made.about["cohort"]["parameters"] == {"id": what}
    listed = json.loads(own("manifest", "list", "--format", "json").stdout)
    assert [entry["seal"] for entry in listed].count(made.seal) == 1
    again = own("download", what, "-o", data, "--format", "json")
    assert json.loads(again.stdout)["kept"] == 2 * n_images
    assert len(json.loads(own("manifest", "list", "--format", "json").stdout)) == len(listed), "it was recorded once"
    assert own("manifest", "reproduce", data / ".chest/manifest").returncode == 0
    other = own("download", "PatB", "-o", data)
    assert other.returncode == 2
    assert f" {what} (dcm, json; group training), which is a different download" in other.stderr


@pytest.mark.slow
def test_a_manifest_that_waits_in_the_folder_must_have_the_answer_of_the_lake(own: Chest, tmp_path: Path) -> None:
    """A folder made by a stranger could name other objects, or objects of another group, as those of a patient."""
    data, kept = tmp_path / "data", tmp_path / "data/.chest/manifest"
    (tmp_path / "patient.sql").write_text(
        "-- title: One patient\n-- question: Which images are there of one patient?\n-- grain: patient\n"
        "-- param id VARCHAR: the pseudonym\nselect patient_id from patients where patient_id = 'PatB' and $id != ''\n"
    )
    columns = ("--columns", "StudyDate,SeriesNumber,InstanceNumber")
    forged = ("manifest", "export", tmp_path / "patient.sql", "--param", "id=PatA", "--objects", "dcm,json", *columns)
    assert own(*forged, "-o", kept).returncode == 0
    done = own("download", "PatA", "-o", data)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "does not have the objects that snapshot" in done.stderr
    assert not list(data.rglob("*.dcm"))


def test_a_pipe_or_a_link_for_the_layout_is_refused(made: warehouse.Manifest, tmp_path: Path) -> None:
    own = tmp_path / "data/.chest"
    own.mkdir(parents=True)
    for place in (os.mkfifo, lambda path: path.symlink_to("/etc/hostname")):
        place(own / "layout")
        with pytest.raises(warehouse.UsageError, match="layout cannot be read"):
            fetch(made, tmp_path / "data")
        (own / "layout").unlink()
    os.mkfifo(tmp_path / "data/INCOMPLETE")
    fetch(made, tmp_path / "data", "flat")
    (own / "layout").write_text("flat")
    table = tmp_path / "data/files.parquet"
    table.unlink()
    for place in (
        os.mkfifo,
        lambda path: pl.DataFrame({"uri": [1], "path": [2]}).write_parquet(path),
    ):
        place(table)
        with pytest.raises(warehouse.ManifestError, match=r"files\.parquet, with the paths of the objects"):
            made.files(tmp_path / "data")
        table.unlink()


def test_a_manifest_is_downloaded_by_its_folder(own: Chest, root: Path, tmp_path: Path) -> None:
    done = own("download", root / "plain", "-o", tmp_path / "data", "--format", "json")
    assert json.loads(done.stdout)["fetched"] == 8
    assert not (tmp_path / "data/.chest").exists()


@pytest.mark.slow
def test_a_folder_with_the_name_of_a_patient_is_not_taken_for_the_patient(
    own: Chest, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(root / "plain", tmp_path / "PatA")
    monkeypatch.chdir(tmp_path)
    done = own("download", "PatA", "-o", tmp_path / "data")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Write ./PatA for the manifest, or --kind patient" in done.stderr
    assert own("download", "./PatA", "-o", tmp_path / "data").returncode == 0
    assert own("download", "PatA", "-o", tmp_path / "lake's", "--kind", "patient").returncode == 0


@pytest.mark.slow
def test_what_cannot_be_found_or_is_ambiguous_is_one_line(own: Chest, root: Path, tmp_path: Path) -> None:
    done = own("download", "Nobody", "-o", tmp_path / "data")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "Nobody is neither the folder of a manifest, nor a patient" in done.stderr
    assert own("download", "PatA", "-o", tmp_path / "data", "--as-of", "2020-01-01").returncode == 1
    assert not (tmp_path / "data").exists()
    bucket = tmp_path / "bucket"
    uid = make_image("PatA", 1)
    write_objects(bucket, {key: _rename(content, "1.9.A.1", "1.9.A") for key, content in uid.items()})
    assert own("refresh", bucket, "--lake", tmp_path / "other", "-q").returncode == 0
    done = own("download", "1.9.A", "-o", tmp_path / "data", "--lake", tmp_path / "other")
    assert done.returncode == 2
    assert "1.9.A is a series and a study. Give --kind series or --kind study." in done.stderr
    done = own("download", "1.9.A", "-o", tmp_path / "data", "--lake", tmp_path / "other", "--kind", "study")
    assert done.returncode == 0, done.stderr


def _rename(content: bytes | str, old: str, new: str) -> bytes | str:
    return content.replace(f'"{old}"', f'"{new}"') if isinstance(content, str) else content
