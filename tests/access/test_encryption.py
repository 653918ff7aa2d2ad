"""An encrypted lake: nothing in its files can be read without its catalogue, and every command works on it."""

import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from conftest import Chest, copy_lake
from servers import serve_postgres

import warehouse
from pipelines.resources import ChestWarehouse
from warehouse.lake import connection, encryption, location, secret, store
from warehouse.settings import Settings
from warehouse.synthetic import make_bucket

COHORT = """\
-- title: All
-- question: Which patients are there?
-- grain: patient
select patient_id from patients
"""
QUESTIONS = tuple(f"from {view} order by all" for view in ("patients", "clinical", "images", "headers"))
#: What every Parquet file has in plain bytes: its first four, and the names of its columns in its last ones.
MARKS = (b"PAR1", b"patient_id", b"sha256", b"Covid", b"SOPInstanceUID")


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bucket") / "small"
    make_bucket(root, 3)
    return root


@pytest.fixture(scope="module")
def made(bucket: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bucket of two refreshes, with a lake that is encrypted and one that is not."""
    root = tmp_path_factory.mktemp("encrypted")
    shutil.copytree(bucket, root / "bucket")
    for turn in range(2):
        for name, settings in (("lake", Settings(encrypted=1)), ("plain", Settings())):
            warehouse.refresh(root / "bucket", root / name, allow_removals=True, settings=settings)
        if not turn:
            sorted((root / "bucket").rglob("data*.json"))[0].unlink()
    return root


@pytest.fixture
def lake(made: Path, tmp_path: Path) -> Path:
    return copy_lake(made / "lake", tmp_path / "lake")


def answers(address: object, snapshot: int | None = None) -> list[Any]:
    with warehouse.open(str(address), snapshot=snapshot) as wh:
        return [wh.sql(question).fetchall() for question in QUESTIONS]


def list_published(address: object) -> list[int]:
    with warehouse.open(str(address)) as wh:
        return [each.number for each in store.list_snapshots(wh.con) if each.is_published]


def find_plain(folder: Path, values: tuple[bytes, ...]) -> list[str]:
    """The files below a folder that have one of the values in plain bytes, or in their names."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    assert found
    return [
        path.name
        for path in found
        if any(value in path.read_bytes() or value in os.fsencode(path.name) for value in values)
    ]


def read_values(made: Path) -> tuple[bytes, ...]:
    """What would disclose a patient: identifiers, UIDs, centres, keys of objects."""
    with warehouse.open(str(made / "plain")) as wh:
        rows = wh.sql(
            "select patient_id, centre from patients union all select SOPInstanceUID, StudyInstanceUID from images"
        ).fetchall()
    values = {str(value) for row in rows for value in row if value is not None and len(str(value)) > 4}
    assert len(values) > 20
    return tuple(value.encode() for value in values)


def test_answers_are_those_of_an_unencrypted_lake_and_no_file_shows_a_patient(made: Path) -> None:
    numbers = list_published(made / "lake")
    assert numbers == list_published(made / "plain")
    for number in numbers:
        assert answers(made / "lake", number) == answers(made / "plain", number)
    values = (*MARKS, *read_values(made))
    assert find_plain(made / "lake/data", values) == []
    # The search finds what there is to find.
    assert len(find_plain(made / "plain/data", values)) > 10
    with warehouse.open(str(made / "lake")) as wh:
        n_files, n_keys = encryption.count_keys(wh.con, wh.location)
    assert n_files == n_keys > 10


@pytest.mark.slow
def test_every_command_works_on_it(lake: Path, made: Path, here: Chest, tmp_path: Path) -> None:
    before = {number: answers(lake, number) for number in list_published(lake)}
    (tmp_path / "all.sql").write_text(COHORT)
    manifest, saved = tmp_path / "manifest", tmp_path / "backup"
    of_lake = ("--lake", lake)
    for words in (
        ("refresh", made / "bucket", "--encrypted", "--full", "-q", *of_lake),
        ("status", *of_lake),
        ("sql", "select count(*) as n from headers where tag(header, 'PatientSex') is not null", *of_lake),
        ("cohort", "run", tmp_path / "all.sql", *of_lake),
        ("manifest", "export", tmp_path / "all.sql", "-o", manifest, *of_lake),
        ("manifest", "verify", manifest, *of_lake),
        ("manifest", "reproduce", manifest, *of_lake),
        ("report", "-o", tmp_path / "report.html", *of_lake),
        ("maintain", *of_lake),
        ("backup", saved, "-q", *of_lake),
        ("backup", saved, "--verify", "-q"),
    ):
        done = here(*words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    kept = [number for number in list_published(lake) if number in before]
    assert kept == list(before)
    for place in (lake, saved):
        assert find_plain(place / "data", (*MARKS, *read_values(made))) == []
        for number in kept:
            assert answers(place, number) == before[number]


@pytest.mark.slow
def test_status_shows_it_and_who_can_read_the_keys(lake: Path, made: Path, here: Chest) -> None:
    assert "encrypted  keys in catalog.sqlite, readable by owner and group" in here("status", "--lake", lake).stdout
    assert json.loads(here("status", "--lake", lake, "--format", "json").stdout)["encrypted"] is True
    assert "encrypted  " not in here("status", "--lake", made / "plain").stdout
    (lake / "catalog.sqlite").chmod(0o644)
    assert "EVERYBODY ON THIS MACHINE CAN READ" in here("status", "--lake", lake).stdout


def test_a_lake_is_not_encrypted_afterwards(made: Path, here: Chest, tmp_path: Path) -> None:
    plain = copy_lake(made / "plain", tmp_path / "plain")
    done = here("refresh", made / "bucket", "--lake", plain, "--encrypted", "-q")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not encrypted: that is chosen when a lake is made" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_setting_forbids_every_other_lake(
    made: Path, here: Chest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHEST_ENCRYPTED", "1")
    plain = copy_lake(made / "plain", tmp_path / "plain")
    done = here("maintain", "--lake", plain)
    assert (done.returncode, "is not encrypted" in done.stderr) == (2, True)
    new = tmp_path / "new"
    assert here("refresh", made / "bucket", "--lake", new, "-q").returncode == 0
    assert find_plain(new / "data", MARKS) == []


def test_its_catalogue_is_never_written_for_everybody(
    lake: Path, made: Path, here: Chest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stat.S_IMODE((lake / "catalog.sqlite").stat().st_mode) == 0o640
    monkeypatch.setenv("CHEST_SHARE", "all")
    for place, words in ((tmp_path / "new", ("--encrypted",)), (lake, ())):
        done = here("refresh", made / "bucket", "--lake", place, "-q", *words)
        assert (done.returncode, "CHEST_SHARE=all would let everybody" in done.stderr) == (2, True)
    assert not (tmp_path / "new").exists()


def test_its_secret_is_in_the_catalogue_and_survives_a_restore(lake: Path, here: Chest, tmp_path: Path) -> None:
    assert not (lake / "data" / secret.KEY).exists()
    assert here("backup", tmp_path / "backup", "--lake", lake, "-q").returncode == 0
    found = []
    for place in (lake, tmp_path / "backup"):
        with warehouse.open(str(place)) as wh:
            found.append(secret.compute_keyed_digest(wh.con, wh.location, "Covid1"))
    assert found[0] is not None
    assert found[0] == found[1]


def test_what_it_spills_is_encrypted(lake: Path, tmp_path: Path) -> None:
    place = location.parse_address(str(lake))
    word = b"a patient of this lake"
    counts = []
    for is_protected in (True, False):
        folder = tmp_path / str(is_protected)
        con = connection.connect(Settings(memory_limit_mb=60, threads=1), place)
        with con:
            if is_protected:
                connection.attach(con, place, "read_only")
            con.execute(f"set temp_directory = '{folder}'")
            con.execute(
                "create temp table words as select $word || i as one, repeat(random()::varchar, 5) as other "
                "from range(600_000) as numbers(i)",
                {"word": word.decode()},
            )
            spilt = [path.read_bytes() for path in folder.iterdir()]
        assert spilt
        counts.append(sum(content.count(word) for content in spilt))
    assert counts[0] == 0
    assert counts[1] > 100


@pytest.mark.slow
def test_it_moves_to_postgresql_where_roles_protect_the_keys(lake: Path, here: Chest, tmp_path: Path) -> None:
    numbers = list_published(lake)
    with serve_postgres() as server:
        server.run("create database chest")
        data = tmp_path / "moved"
        shutil.copytree(lake / "data", data)
        address = server.address("chest", data)
        done = here("move", address, "--lake", lake)
        assert done.returncode == 0, done.stderr
        assert [answers(address, number) for number in numbers] == [answers(lake, number) for number in numbers]
        assert "encrypted  keys in PostgreSQL (schema public)" in here("status", "--lake", address).stdout
        # A new one, in another schema, whose readers have a role that may read and nothing else.
        fresh = server.address("chest", tmp_path / "fresh", schema="other")
        make_bucket(tmp_path / "bucket", 1)
        assert here("refresh", tmp_path / "bucket", "--lake", fresh, "--encrypted", "-q").returncode == 0
        assert find_plain(tmp_path / "fresh", MARKS) == []
        for statement in read_roles():
            server.run(statement.replace("{schema}", "other"), "chest")
        reader = fresh.replace("curator:s3cr3t%20p%40ss%27word", "chest_reader:once")
        outsider = fresh.replace("curator:s3cr3t%20p%40ss%27word", "outsider:once")
        server.run("alter role chest_reader login password 'once'")
        server.run("create role outsider login password 'once'")
        assert answers(reader) == answers(fresh)
        assert here("refresh", tmp_path / "bucket", "--lake", reader, "--full", "-q").returncode == 2
        done = here("status", "--lake", outsider)
        assert (done.returncode, "permission denied" in done.stderr) == (2, True)


def read_roles() -> Iterator[str]:
    """The statements that docs/access.md gives for the roles of a catalogue."""
    page = (Path(__file__).parents[2] / "docs/access.md").read_text()
    block = page.split("-- roles of a catalogue\n")[1].split("```")[0]
    return (statement.strip() for statement in block.split(";") if statement.strip())


@pytest.mark.slow
def test_dagster_makes_it_too(made: Path, tmp_path: Path) -> None:
    seen = []

    @dg.asset
    def objects(context: dg.AssetExecutionContext, chest: ChestWarehouse) -> None:
        with chest.opened(context) as run:
            seen.append(encryption.is_encrypted(run.con))

    def run(lake: Path) -> dg.ExecuteInProcessResult:
        chest = ChestWarehouse(source=str(made / "bucket"), lake=str(lake), encrypted=True, first_wait=0.01)
        return dg.materialize([objects], resources={"chest": chest}, raise_on_error=False)

    assert run(tmp_path / "new").success
    assert seen == [True]
    assert not run(copy_lake(made / "plain", tmp_path / "plain")).success


@pytest.mark.slow
def test_patients_are_withdrawn_and_purged_from_it(lake: Path, made: Path, here: Chest, tmp_path: Path) -> None:
    """DuckDB reads no metadata of an encrypted file, and not several by name: issue 21508."""
    numbers = list_published(lake)
    (name,) = answers_to(lake, "select patient_id from patients order by all limit 1")[0]
    before = {
        number: answers_to(lake, f"from headers where patient_id <> '{name}' order by all", number)
        for number in numbers
    }
    assert here("withdraw", "add", name, "--lake", lake).returncode == 0
    assert answers_to(lake, f"from images where patient_id = '{name}'") == []
    done = here("withdraw", "add", name, "--purge", "--lake", lake)
    assert done.returncode == 0, done.stderr
    for number in numbers:
        assert answers_to(lake, "from headers order by all", number) == before[number]
    assert find_plain(lake / "data", (*MARKS, *read_values(made))) == []
    with warehouse.open(str(lake)) as wh:
        n_files, n_keys = encryption.count_keys(wh.con, wh.location)
    assert n_files == n_keys


def answers_to(address: object, question: str, snapshot: int | None = None) -> list[Any]:
    with warehouse.open(str(address), snapshot=snapshot) as wh:
        return wh.sql(question).fetchall()
