"""A stranger's manifest: whatever is altered in it, every command refuses it before anything of it is used."""

import copy
import csv
import hashlib
import json
import os
import pickle
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Chest, copy_lake, start_lake, write_objects
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from parquet_forging import write_two_faced

import warehouse
from warehouse.lake import location
from warehouse.manifests import export, paths
from warehouse.manifests.contents import connect
from warehouse.manifests.download import download
from warehouse.manifests.files import name_source_folders
from warehouse.manifests.manifest import FILES
from warehouse.manifests.registered import Standing
from warehouse.manifests.rows import compute_digest
from warehouse.manifests.verify import verify
from warehouse.settings import Settings
from warehouse.withdrawal import changing

COHORT = """\
-- title: All
-- question: Which patients are there?
-- grain: patient
-- param since DATE = '2020-01-01': from this day on
select patient_id, sum(n_images) as images, 'x' as arm from patients where $since is not null group by all
"""
PATIENTS = ("PatA", "PatB")


def objects_of(patient: str, image: str = "1") -> dict[str, bytes | str]:
    tags = {"00080018": f"1.{image}", "0020000D": "1.9", "0020000E": "1.9.1", "00080060": "CR", "00100020": patient}
    header = json.dumps({tag: {"vr": "UI", "Value": [value]} for tag, value in tags.items()})
    return {
        f"training/{patient}/images_metadata/2020-03-02/1.{image}.json": header,
        f"training/{patient}/images/2020-03-02/1.{image}.dcm": f"pixels of {patient}",
        f"training/{patient}/data/2020-03-05/data.json": json.dumps({"Pseudonym": patient, "SwabStatus": "Negative"}),
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bucket, its lake and a manifest of all of it, which no test may touch."""
    root = tmp_path_factory.mktemp("untrusted")
    for patient in PATIENTS:
        write_objects(root / "bucket", objects_of(patient, patient[-1]))
    warehouse.refresh(str(root / "bucket"), str(start_lake(root / "lake")))
    (root / "all.sql").write_text(COHORT)
    with warehouse.open(str(root / "lake")) as wh:
        wh.cohort(root / "all.sql").export(root / "good", objects=("dcm", "json", "clinical"))
    return root


@pytest.fixture
def untrusted(root: Path, tmp_path: Path) -> Path:
    """A copy of it, for a test to alter."""
    shutil.copytree(root / "good", tmp_path / "m")
    return tmp_path / "m"


@pytest.fixture
def ask(root: Path, here: Chest, monkeypatch: pytest.MonkeyPatch) -> Chest:
    """The command within this process, with CHEST_LAKE set to the lake."""
    monkeypatch.setenv("CHEST_LAKE", str(root / "lake"))
    return here


def commands(folder: Path, good: Path, data: Path) -> list[tuple[object, ...]]:
    """Every command that opens a manifest."""
    return [
        ("manifest", "verify", folder),
        ("manifest", "reproduce", folder),
        ("manifest", "compare", folder, good),
        ("manifest", "compare", good, folder),
        ("manifest", "download", folder, "-o", data),
    ]


def about_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "manifest.json").read_text()))


def remake(folder: Path, about: dict[str, Any] | None = None) -> None:
    """Do as a forger does: bring hashes, digest of the SQL, SHA256SUMS and so the seal level with what is there now."""
    about = about or about_of(folder)
    about["files"] = {
        name: {"sha256": sha(folder / name), "bytes": (folder / name).stat().st_size}
        for name in FILES
        if name not in ("manifest.json", "SHA256SUMS")
    }
    about["cohort"]["sql_sha256"] = hashlib.sha256(about["cohort"]["sql"].encode()).hexdigest()
    reseal(folder, json.dumps(about, ensure_ascii=False).encode())


def reseal(folder: Path, document: bytes) -> None:
    (folder / "manifest.json").write_bytes(document)
    (folder / "SHA256SUMS").write_text(
        "".join(f"{sha(folder / name)}  {name}\n" for name in sorted(FILES) if name != "SHA256SUMS")
    )


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def alter_tables(folder: Path, change: str, *, csv: bool = True, table: str = "manifest") -> None:
    """Change the rows by SQL on table `rows`, write both files anew, and bring all else level, digest and counts."""
    with duckdb.connect() as con:
        con.execute("set TimeZone = 'UTC'")
        con.execute(f"create table rows as from '{folder}/{table}.parquet'")
        con.execute(change)
        con.execute(f"copy rows to '{folder}/{table}.parquet' (format parquet)")
        about = about_of(folder)
        if table == "manifest":
            if csv:
                con.execute(f"copy rows to '{folder}/manifest.csv' (format csv, header, quote '\"', escape '\"')")
            columns = con.sql("from rows").columns
            if {"key", "size", "uri", *about["cohort"]["labels"]} <= set(columns):
                row = con.execute(
                    "select count(*), coalesce(sum(try_cast(size as bigint)), 0)::bigint from rows"
                ).fetchone()
                assert row is not None
                about["counts"] |= {"objects": row[0], "bytes": max(0, row[1])}
                about["digest"] = compute_digest(con, "rows", tuple(about["cohort"]["labels"]))
    remake(folder, about)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every value that is not an object."""
    if isinstance(value, dict) and value:
        for name in value:
            yield from leaves(value[name], (*path, name))
    else:
        yield path


def altered(value: Any) -> Any:
    match value:
        case bool() | None:
            return "2020-01-02"
        case int():
            return value + 1
        case str():
            return value[:-1] + ("1" if value[-1:] == "0" else "0")
        case list():
            return value[1:] if value else ["more"]
    return {"more": "x"}


# What is altered and not sealed anew


def test_a_manifest_as_it_was_exported_passes_every_command(ask: Chest, root: Path, tmp_path: Path) -> None:
    for words in commands(root / "good", root / "good", tmp_path / "data"):
        done = ask(*words)
        assert done.returncode == 0, done.stderr
        assert set(done.stderr.splitlines()) <= {"downloading: 6 of 6 objects"}


def test_sha256sum_checks_the_folder(root: Path) -> None:
    if not (program := shutil.which("sha256sum")):
        pytest.skip("no sha256sum")
    subprocess.run([program, "--check", "--strict", "SHA256SUMS"], cwd=root / "good", check=True, capture_output=True)


@pytest.mark.parametrize("name", FILES)
def test_each_file_altered_by_a_byte_is_refused_by_every_command(
    ask: Chest, root: Path, untrusted: Path, tmp_path: Path, name: str
) -> None:
    content = bytearray((untrusted / name).read_bytes())
    content[len(content) // 2] ^= 1
    (untrusted / name).write_bytes(content)
    for words in commands(untrusted, root / "good", tmp_path / "data"):
        done = ask(*words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert not (tmp_path / "data").exists()
    with pytest.raises(warehouse.ManifestError):
        warehouse.manifest(untrusted)


@pytest.mark.parametrize("name", [name for name in FILES if name != "manifest.json"])
def test_each_file_gone_is_refused(untrusted: Path, name: str) -> None:
    (untrusted / name).unlink()
    with pytest.raises(warehouse.ManifestError, match=f"incomplete: {name} "):
        warehouse.manifest(untrusted)


def test_each_field_of_manifest_json_altered_is_refused(untrusted: Path) -> None:
    whole = about_of(untrusted)
    places = list(leaves(whole))
    assert len(places) > 45
    for place in places:
        about = copy.deepcopy(whole)
        inner: Any = about
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = altered(inner[place[-1]])
        (untrusted / "manifest.json").write_text(json.dumps(about, ensure_ascii=False, indent=2) + "\n")
        with pytest.raises(warehouse.ManifestError):
            warehouse.manifest(untrusted)


# What manifest.json may contain: whoever sealed it


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about | {"more": 1},
        lambda about: {name: value for name, value in about.items() if name != "counts"},
        lambda about: about | {"snapshot": 1.0},
        lambda about: about | {"snapshot": True},
        lambda about: about | {"snapshot": 10**400},
        lambda about: about | {"snapshot": -1},
        lambda about: about | {"as_of": "2020-02-30"},
        lambda about: about | {"created_at": "2020-13-01T00:00:00.000000Z"},
        lambda about: about | {"group": "training\n"},
        lambda about: about | {"group": "a/../b"},
        lambda about: about | {"objects": ["dcm", "dcm"]},
        lambda about: about | {"objects": "dcm"},
        lambda about: about | {"sources": ["file:///etc"]},
        lambda about: about | {"sources": ["http://169.254.169.254/latest"]},
        lambda about: about | {"sources": ["../bucket"]},
        lambda about: about | {"sources": ["s3://"]},
        lambda about: about | {"sources": ["\x1b[31m/etc"]},
        lambda about: about | {"format": 0},
        lambda about: about | {"format": "2"},
        lambda about: about | {"format": None},
        lambda about: about | {"format": 5},
        lambda about: about | {"files": about["files"] | {"../x": about["files"]["manifest.csv"]}},
        lambda about: about | {"files": {k: v for k, v in about["files"].items() if k != "croissant.json"}},
        lambda about: about | {"cohort": about["cohort"] | {"name": "../../evil"}},
        lambda about: about | {"cohort": about["cohort"] | {"parameters": {"a b": 1}}},
        lambda about: about | {"cohort": about["cohort"] | {"parameters": {"a": {"b": 1}}}},
        lambda about: about | {"cohort": about["cohort"] | {"labels": {"select": ""}}},
        lambda about: about | {"cohort": about["cohort"] | {"labels": {"a": "", "A": ""}}},
        lambda about: about | {"cohort": about["cohort"] | {"sql_sha256": "0" * 64}},
        lambda about: about | {"without_images": ["PatC"]},
        lambda about: [about],
        lambda about: "x",
    ],
)
def test_manifest_json_keeps_to_its_schema_or_is_refused_in_one_line(
    untrusted: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    reseal(untrusted, json.dumps(change(about_of(untrusted))).encode())
    with pytest.raises(warehouse.ManifestError) as refused:
        warehouse.manifest(untrusted)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"null",
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b'{"format": 2, "format": 1}',
        b'{"format": NaN}',
        b'{"format": 2, "snapshot": 1e999}',
        b'{"format": 2, "group": "\\ud800"}',
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"format": ' + b"9" * 10_000 + b"}",
        b'{"format": 2, "more": "' + b"x" * (64 << 20) + b'"}',
        b'{"format": 2, "more": [' + b"[]," * (21 << 20) + b"1]}",
        b'{"format": 2, "more": {' + b'"":{},' * (10 << 20) + b'"":1}}',
    ],
    ids=range(15),
)
def test_what_is_no_json_of_a_manifest_is_one_line(ask: Chest, untrusted: Path, document: bytes) -> None:
    reseal(untrusted, document)
    done = ask("manifest", "verify", untrusted)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert len(done.stderr) < 1000


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(max_size=80))
@example("a\" as varchar)) from 'x'; copy (select 1) to '{out}' (format csv); select json_array(cast(\"a")
@example("a\0b")
@example("K")
def test_no_label_name_is_sql(root: Path, tmp_path_factory: pytest.TempPathFactory, label: str) -> None:
    """Even where the Parquet file has a column of that name and everything is sealed."""
    work = tmp_path_factory.mktemp("label")
    shutil.copytree(root / "good", work / "m")
    label = label.replace("{out}", str(work / "out"))
    about = about_of(work / "m")
    about["cohort"]["labels"] = {"images": "", label: ""}
    remake(work / "m", about)
    with pytest.raises(warehouse.ManifestError):
        warehouse.manifest(work / "m")
    assert {path.name for path in work.iterdir()} == {"m"}


# What the tables may hold: whoever sealed them


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("update rows set uri = replace(uri, 'PatA', 'PatB') where object = 'dcm'", "are not in a source"),
        ("update rows set uri = '/etc/' || key", "are not in a source"),
        ("update rows set key = 'x'", "are not in a source"),
        ("update rows set size = -1", "negative size"),
        ("update rows set size = null", "lack a key"),
        ("update rows set etag = null", "lack a key"),
        ("update rows set patient_id = ''", "lack a key"),
        ("update rows set object = 'pixels'", "not requested"),
        ("update rows set group_name = 'validation'", "another group"),
        ("insert into rows from rows", "more than once"),
        ("delete from rows where object = 'clinical'", "clinical"),
        ("delete from rows where object = 'json'", "json"),
        ("update rows set size = size + 1", ""),
        ("update rows set images = 7", ""),
        ("update rows set StudyInstanceUID = '1.10' where patient_id = 'PatA'", "studies"),
        ("alter table rows add column more varchar", "columns that differ"),
        ("alter table rows drop column arm", "columns that differ"),
        ("alter table rows rename column arm to leg", "columns that differ"),
        ("alter table rows alter column size type double", "wrong types in size"),
        ("alter table rows alter column size type double; update rows set size = 'nan'", "wrong types in size"),
        ("alter table rows alter column key type blob using encode(key)", "wrong types in key"),
        ("alter table rows alter column available_date type varchar", "wrong types in available_date"),
        ("alter table rows alter column arm type struct(a varchar) using {'a': arm}", "wrong types in arm"),
        ("alter table rows alter column arm type map(varchar, varchar) using map {'a': arm}", "wrong types in arm"),
        ("update rows set arm = repeat('x', 2_000_000)", "a row of 2,"),
        ("update rows set key = repeat('x', 5000), uri = uri[:-length(key)-1] || repeat('x', 5000)", "4,096 bytes"),
    ],
)
def test_tables_that_do_not_hold_together_are_refused(untrusted: Path, change: str, words: str) -> None:
    before = about_of(untrusted)
    alter_tables(untrusted, change)
    if not words:  # well-formed rows, which manifest.json has counted and digested otherwise
        about = about_of(untrusted)
        remake(untrusted, about | {name: before[name] for name in ("counts", "digest")})
    with pytest.raises(warehouse.ManifestError, match=words or "manifest.json states") as refused:
        warehouse.manifest(untrusted)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "column", ["key", "uri", "etag", "available_date", "group_name", "version_id", "arm", "images"]
)
def test_csv_and_parquet_have_the_same_rows(untrusted: Path, column: str) -> None:
    """The CSV is what people read: each of its columns is held against the Parquet file's."""
    text = (untrusted / "manifest.csv").read_text().splitlines()
    place = text[0].split(",").index(column)
    fields = text[1].split(",")
    fields[place] = "2020-01-01" if column == "available_date" else f"{fields[place]}0"
    (untrusted / "manifest.csv").write_text("\n".join([text[0], ",".join(fields), *text[2:]]) + "\n")
    remake(untrusted)
    with pytest.raises(warehouse.ManifestError, match="do not have the same rows"):
        warehouse.manifest(untrusted)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + text.splitlines()[-1] + "\n",
        lambda text: text.rsplit("\n", 2)[0] + "\n",
        lambda text: text.replace("key,uri", "uri,key", 1),
        lambda text: text.replace("\n", ",more\n"),
        lambda text: text + '"',
        lambda text: "",
        lambda text: "\x00" * len(text),
        lambda text: text[1:],
        lambda text: "\n".join([text.splitlines()[0], *reversed(text.splitlines()[1:])]) + "\n",
    ],
    ids=range(9),
)
def test_a_csv_of_other_rows_or_none_is_refused(untrusted: Path, change: Callable[[str], str]) -> None:
    (untrusted / "manifest.csv").write_text(change((untrusted / "manifest.csv").read_text()))
    remake(untrusted)
    with pytest.raises(warehouse.ManifestError, match="do not have the same rows"):
        warehouse.manifest(untrusted)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("update rows set source = 'http://x'", "neither s3:// nor a folder"),
        ("update rows set source = 'etc'", "neither s3:// nor a folder"),
        ("update rows set patient_id = null", "lack a key"),
        ("update rows set counts = null", "lack a key"),
        ("update rows set size = -5", "negative size"),
        ("update rows set group_name = 'other'", "another group"),
        ("alter table rows add column more integer", "columns that differ"),
        ("alter table rows alter column size type varchar", "wrong types in size"),
    ],
)
def test_records_that_do_not_hold_together_are_refused(untrusted: Path, change: str, words: str) -> None:
    alter_tables(untrusted, change, table="records")
    with pytest.raises(warehouse.ManifestError, match=words):
        warehouse.manifest(untrusted)


@pytest.mark.slow
@pytest.mark.parametrize("table", ["manifest", "records"])
def test_rows_without_number_in_a_small_file_are_not_counted(ask: Chest, untrusted: Path, table: str) -> None:
    with duckdb.connect() as con:
        con.execute("set enable_progress_bar = false")  # on a slow machine it would be written among the answers
        con.execute(f"create table one as from '{untrusted}/{table}.parquet' limit 1")
        con.execute(f"copy (select one.* from one, range(2_000_000)) to '{untrusted}/{table}.parquet' (format parquet)")
    about = about_of(untrusted)
    about["counts"]["objects"] = 2_000_000 if table == "manifest" else about["counts"]["objects"]
    remake(untrusted, about)
    done = ask("manifest", "verify", untrusted)
    assert (done.returncode, done.stdout) == (1, "")
    assert "states 2,000,000 rows" in done.stderr


@pytest.mark.slow
def test_no_value_of_a_manifest_makes_a_line_of_its_own(
    ask: Chest, root: Path, untrusted: Path, tmp_path: Path
) -> None:
    text = "'a' || chr(13) || chr(10) || 'FORGED: 6 present' || chr(10)"
    alter_tables(
        untrusted,
        f"update rows set uri = uri || {text}, key = key || {text}, patient_id = patient_id || {text}, etag = {text}",
    )
    for words in commands(untrusted, root / "good", tmp_path / "data"):
        done = ask(*words)
        assert done.returncode == 1
        assert "FORGED" in done.stdout + done.stderr
        assert not [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("FORGED")]


def test_a_file_that_is_no_parquet_is_one_line(untrusted: Path) -> None:
    for content in (b"", b"PAR1", b"PAR1" + b"\xff" * 1000 + b"PAR1", b"key\nx\n"):
        (untrusted / "manifest.parquet").write_bytes(content)
        remake(untrusted)
        with pytest.raises(warehouse.ManifestError) as refused:
            warehouse.manifest(untrusted)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.timeout(60)
def test_what_is_no_file_is_not_waited_for(ask: Chest, untrusted: Path, name: str) -> None:
    target = untrusted / name
    for make in (os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to("/x")):
        target.rmdir() if target.is_dir() else target.unlink()
        make(target)
        done = ask("manifest", "verify", untrusted)
        assert done.returncode in (1, 2)
        assert (done.stdout, done.stderr.count("\n")) == ("", 1)


def test_a_file_as_large_as_a_disk_is_not_copied(untrusted: Path) -> None:
    size = shutil.disk_usage(untrusted).free + 10**13
    about = about_of(untrusted)
    try:
        os.truncate(untrusted / "records.parquet", size)
    except OSError:
        pytest.skip("no file may be so large here")
    about["files"]["records.parquet"]["bytes"] = size
    (untrusted / "manifest.json").write_text(json.dumps(about))
    sums = {name: file["sha256"] for name, file in about["files"].items()}
    sums["manifest.json"] = sha(untrusted / "manifest.json")
    (untrusted / "SHA256SUMS").write_text("".join(f"{sums[name]}  {name}\n" for name in sorted(sums)))
    with pytest.raises(warehouse.UsageError, match="has room for"):
        warehouse.manifest(untrusted)


# Where a manifest points


@pytest.fixture
def evil(root: Path, untrusted: Path, tmp_path: Path) -> Path:
    """The same digest, sealed anew, over objects that are somebody else's bytes."""
    shutil.copytree(root / "bucket", tmp_path / "evil")
    for path in (tmp_path / "evil").rglob("*.*"):
        path.write_bytes(b"E" * path.stat().st_size)
    about = about_of(untrusted)
    about["sources"] = [str(tmp_path / "evil")]
    (untrusted / "manifest.json").write_text(json.dumps(about))
    alter_tables(untrusted, f"update rows set uri = '{tmp_path}/evil/' || key, etag = 'e'")
    alter_tables(untrusted, f"update rows set source = '{tmp_path}/evil'", table="records")
    return untrusted


@pytest.mark.slow
def test_other_bytes_under_the_same_digest_are_not_listed_nor_fetched(
    ask: Chest, root: Path, evil: Path, tmp_path: Path
) -> None:
    good = about_of(root / "good")
    assert about_of(evil)["digest"] == good["digest"]
    for words in (("verify", evil), ("download", evil, "-o", tmp_path / "data")):
        done = ask("manifest", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"points to {tmp_path}/evil, which the lake {root}/lake does not have" in done.stderr
    assert not (tmp_path / "data").exists()
    done = ask("manifest", "compare", root / "good", evil)
    assert f"sources: ['{root}/bucket'] is now ['{tmp_path}/evil']" in done.stdout
    # Named, it is listed; and the register shows that the lake exported something else under this digest.
    done = ask("manifest", "verify", evil, "--source", tmp_path / "evil")
    assert done.returncode == 1
    assert "recreated or altered" in done.stderr
    # With a bucket that stands in for it, the etags and contents are those of that bucket.
    done = ask("manifest", "download", evil, "-o", tmp_path / "data", "--source", f"{tmp_path}/evil={root}/bucket")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data/training/PatA/images/2020-03-02/1.A.dcm").read_bytes() == b"pixels of PatA"


@pytest.mark.slow
def test_a_seal_from_elsewhere_distinguishes_a_recreated_manifest(ask: Chest, root: Path, evil: Path) -> None:
    seal = warehouse.manifest(root / "good").seal
    assert seal == f"sha256:{sha(root / 'good/manifest.json')}"
    assert ask("manifest", "verify", root / "good", "--seal", seal).returncode == 0
    for command in ("verify", "reproduce"):
        done = ask("manifest", command, evil, "--seal", seal)
        assert (done.returncode, done.stdout) == (1, "")
        assert "is a different manifest" in done.stderr
    assert ask("manifest", "verify", root / "good", "--seal", "sha256:12").returncode == 2
    assert pickle.loads(pickle.dumps(warehouse.manifest(root / "good"))).seal == seal


@pytest.mark.slow
def test_the_register_knows_what_the_lake_exported(root: Path, evil: Path, tmp_path: Path) -> None:
    lake, source = str(root / "lake"), str(root / "bucket")
    good = warehouse.manifest(root / "good")
    assert verify(good, lake_address=lake).standing is Standing.REGISTERED
    shutil.copytree(root / "good", tmp_path / "again")
    remake(tmp_path / "again", about_of(tmp_path / "again") | {"created_by": "somebody else"})
    again = verify(warehouse.manifest(tmp_path / "again"), lake_address=lake)
    assert (again.standing, again.holds) == (Standing.SAME_ROWS, True)
    about = about_of(tmp_path / "again")
    about["cohort"]["sql"] += "\n-- altered"
    remake(tmp_path / "again", about)
    assert verify(warehouse.manifest(tmp_path / "again"), lake_address=lake).standing is Standing.UNKNOWN
    forged = verify(warehouse.manifest(evil), source=f"{tmp_path}/evil={source}", lake_address=lake)
    assert (forged.standing, forged.holds) == (Standing.OTHER_ROWS, False)


def test_without_a_lake_nothing_is_asked_that_is_not_named(root: Path, tmp_path: Path) -> None:
    nowhere = Settings(lake=str(tmp_path / "none"))
    manifest = warehouse.manifest(root / "good")
    for call in (
        lambda: verify(manifest, settings=nowhere),
        lambda: download(manifest, tmp_path / "data", settings=nowhere),
    ):
        with pytest.raises(warehouse.UsageError, match="--source"):
            call()
    assert verify(manifest, source=str(root / "bucket"), settings=nowhere).holds
    assert download(manifest, tmp_path / "data", source=[str(root / "bucket")], settings=nowhere).failed == []


def test_what_was_checked_is_what_is_used(root: Path, untrusted: Path, tmp_path: Path) -> None:
    """A folder on a shared disk may change after it was opened."""
    manifest = warehouse.manifest(untrusted)
    for name in FILES:
        (untrusted / name).write_bytes(b"changed meanwhile")
    assert manifest.polars().height == 6
    assert download(manifest, tmp_path / "data", source=str(root / "bucket")).failed == []
    with duckdb.connect() as con:
        con.execute(f"copy (select 1 as secret) to '{tmp_path}/secret.parquet' (format parquet)")
    with connect(Settings(), manifest.contents) as held:
        assert held.execute(f"select count(*) from {manifest.contents.rows}").fetchall() == [(6,)]
        for query in (
            f"from '{tmp_path}/secret.parquet'",
            f"copy (select 1) to '{tmp_path}/out.csv'",
            f"attach '{tmp_path}/x.db'",
            "set enable_external_access = true",
            "load httpfs",
        ):
            with pytest.raises(duckdb.Error):
                held.execute(query).fetchall()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a*b'c", 'q"?[x]', "a=b", "-m", "\u00fc \n"])
def test_folders_of_any_name(ask: Chest, root: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(root / "good", tmp_path / "in" / name)
    assert ask("manifest", "verify", tmp_path / "in" / name).returncode == 0
    with warehouse.open(str(root / "lake")) as wh:
        wh.cohort(root / "all.sql").export(tmp_path / "out" / name)
    assert warehouse.manifest(tmp_path / "out" / name).polars().height == 4


def test_a_manifest_of_format_1_is_read_and_not_downloaded_unless_asked(
    ask: Chest, root: Path, untrusted: Path, tmp_path: Path
) -> None:
    about = about_of(untrusted) | {"format": 1}
    about["files"] = {name: about["files"][name] for name in ("manifest.csv", "manifest.parquet", "records.parquet")}
    (untrusted / "manifest.json").write_text(json.dumps(about))
    for name in ("SHA256SUMS", "croissant.json", "download.s5cmd"):
        (untrusted / name).unlink()
    done = ask("manifest", "verify", untrusted)
    assert done.returncode == 0
    assert "has no seal" in done.stderr
    done = ask("manifest", "download", untrusted, "-o", tmp_path / "data")
    assert (done.returncode, done.stdout) == (1, "")
    assert not (tmp_path / "data").exists()
    assert ask("manifest", "download", untrusted, "-o", tmp_path / "data", "--unsealed").returncode == 0
    assert ask("manifest", "verify", untrusted, "--seal", "0" * 64).returncode == 1
    with pytest.warns(UserWarning, match="has no seal"):
        warehouse.manifest(untrusted)


# Keys as paths


KEYS = st.lists(
    st.text(st.sampled_from("aAé\u0301./ \\CON:\u200cchestINOMPLT"), min_size=1, max_size=12), max_size=6, unique=True
)


@pytest.mark.slow
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(KEYS, st.booleans())
@example(["a", "a/b", "b"], False)
@example([".CHEST/lock", "incomplete", "INCOMPLETE./x", ".ch\u200cest/x"], False)
@example(["A/x", "a/x"], True)
@example(["\u00e9", "e\u0301"], True)
def test_every_key_that_is_not_refused_becomes_a_file_of_its_own(
    tmp_path_factory: pytest.TempPathFactory, keys: list[str], folds: bool
) -> None:
    data, trial = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("trial")
    with duckdb.connect() as con:
        con.execute(
            "create table keys as select key, '/b/' || key as uri from (select unnest(cast($k as varchar[])) as key)",
            {"k": keys},
        )
        refused = paths.find_unwritable(con, "keys", {"/b": "b"}, data, trial, folds=folds)
    assert list(trial.iterdir()) == []
    for key in keys:
        if f"/b/{key}" not in refused:
            place = paths.find_target(data, key)
            assert place is not None
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("x"):
                pass
    written = [path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file()]
    assert sorted(written) == sorted(key for key in keys if f"/b/{key}" not in refused)
    if folds:
        assert len({key.lower() for key in written}) == len(written)


def test_sources_have_folders_of_their_own() -> None:
    sources = ["s3://a b", "s3://a_b", "s3://A_B", "/a/b", "s3://incomplete", "s3://..", "s3://x"]
    folders = name_source_folders(sources)
    assert len({name.lower() for name in folders.values()}) == len(sources)
    assert all(paths.is_safe(name) for name in folders.values())
    assert folders["s3://x"] == "x"


# In Python


def test_a_split_keeps_patients_together_and_does_not_depend_on_the_others(root: Path, tmp_path: Path) -> None:
    manifest = warehouse.manifest(root / "good")
    download(manifest, tmp_path / "data", source=str(root / "bucket"))
    for seed in range(8):
        train, test = manifest.split(test=0.5, seed=seed)
        patients = [set(part.polars()["patient_id"]) for part in (train, test)]
        assert not patients[0] & patients[1]
        assert patients[0] | patients[1] == set(PATIENTS)
        expected = {
            name
            for name in PATIENTS
            if int(hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()[:16], 16) < 0.5 * 2**64
        }
        assert patients[1] == expected
        assert {labels["patient_id"] for _, labels in test.files(tmp_path / "data")} == expected
    for wrong in ({"test": 1.5}, {"by": "size"}, {"by": "nobody"}):
        with pytest.raises(warehouse.UsageError):
            manifest.split(**wrong)  # type: ignore[arg-type]


@pytest.mark.slow
def test_labels_of_every_type_keep_their_text(root: Path, tmp_path: Path) -> None:
    """What Parquet has no type for (a sum is HUGEINT) keeps its digest, as a type with the same text."""
    (tmp_path / "types.sql").write_text(
        "-- title: t\n-- question: q?\n-- grain: patient\n"
        "select patient_id, sum(n_images) as images, 1.50 as price, [1, 2] as numbers, '' as empty, "
        "'a\"b,' || chr(10) || chr(13) || chr(9) as text, cast(null as varchar) as nothing, {'a': 1} as pair, "
        "interval 1 day as wait "
        "from patients group by patient_id"
    )
    with warehouse.open(str(root / "lake")) as wh:
        wh.cohort(tmp_path / "types.sql").export(tmp_path / "m")
    rows = warehouse.manifest(tmp_path / "m").polars()
    assert rows["images"].to_list() == [1, 1, 1, 1]
    assert rows["empty"].to_list() == [""] * 4
    assert rows["wait"].to_list() == ["1 day"] * 4
    assert rows["text"][0] == 'a"b,\n\r\t'


@pytest.mark.slow
def test_intervals_of_earlier_versions_are_texts_in_polars(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_settle_types", lambda rows: None)  # which earlier versions did not do
    file = tmp_path / "waits.sql"
    file.write_text(
        "-- title: t\n-- question: q?\n-- grain: patient\n"
        'select patient_id, interval 3 day as "wait", [interval 1 month] as waits, 7 as n from patients\n'
    )
    with warehouse.open(str(root / "lake")) as wh:
        wh.cohort(file).export(tmp_path / "m")
    opened = warehouse.manifest(tmp_path / "m")
    rows = opened.polars()
    assert rows.select("wait", "waits", "n").unique().rows() == [("3 days", "[1 month]", 7)]
    with (tmp_path / "m" / "manifest.csv").open(newline="", encoding="utf-8") as lines:
        assert [line["key"] for line in csv.DictReader(lines)] == rows["key"].to_list()
    assert sum(part.polars().height for part in opened.split(by="wait")) == rows.height


def test_compare_names_an_etag_that_the_digest_does_not_cover(ask: Chest, root: Path, untrusted: Path) -> None:
    alter_tables(untrusted, "update rows set etag = 'other' where object = 'dcm'")
    done = ask("manifest", "compare", root / "good", untrusted)
    assert done.returncode == 1
    assert "The same digest, different etags." in done.stdout
    assert "4 same, 0 added, 2 changed, 0 removed" in done.stdout


@pytest.mark.slow
def test_control_characters_in_an_identifier_make_a_manifest_all_the_same(root: Path, tmp_path: Path) -> None:
    odd = "2.25.1\x00\x1f\u2028"
    objects = objects_of("PatC", "C")
    header = next(key for key in objects if key.endswith(".json") and "images_metadata" in key)
    objects[header] = str(objects[header]).replace('"1.9"', json.dumps(odd))
    write_objects(tmp_path / "bucket", objects)
    warehouse.refresh(str(tmp_path / "bucket"), str(start_lake(tmp_path / "lake")))
    with warehouse.open(str(tmp_path / "lake")) as wh:
        made = wh.cohort(root / "all.sql").export(tmp_path / "m")
    assert warehouse.manifest(tmp_path / "m").digest == made.digest


def test_all_read_the_same_rows_of_a_table(untrusted: Path) -> None:
    """A page may be so written that DuckDB, which checks a manifest, reads other labels than polars, which loads it."""
    table = untrusted / "manifest.parquet"
    rows = pq.read_table(table)
    arms = pa.array(f"arm {number}" for number in range(rows.num_rows))
    write_two_faced(table, rows.set_column(rows.column_names.index("arm"), "arm", arms), "arm")
    assert pl.read_parquet(table)["arm"].null_count() == 0
    about = about_of(untrusted)
    with duckdb.connect() as con:
        con.execute("set TimeZone = 'UTC'")
        con.execute(f"copy (from '{table}') to '{untrusted}/manifest.csv' (format csv, header)")
        about["digest"] = compute_digest(con, f"'{table}'", tuple(about["cohort"]["labels"]))
    remake(untrusted, about)
    assert warehouse.manifest(untrusted).polars()["arm"].to_list() == ["arm 0", *[None] * (rows.num_rows - 1)]


def test_rows_that_state_another_patient_hand_out_nobody_who_has_withdrawn(
    here: Chest, root: Path, untrusted: Path, tmp_path: Path
) -> None:
    lake = copy_lake(root / "lake", tmp_path / "lake")
    changing.withdraw(location.parse_address(str(lake)), Settings(), ["PatB"])
    alter_tables(untrusted, "update rows set patient_id = 'PatZ' where patient_id = 'PatB'")
    done = here("manifest", "download", untrusted, "-o", tmp_path / "data", "--lake", lake, "-q")
    assert done.returncode == 1
    assert "3 of a patient who has withdrawn" in done.stderr
    assert {path.name for path in (tmp_path / "data/training").iterdir()} == {"PatA"}
