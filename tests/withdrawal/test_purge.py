"""A purge removes patients from every snapshot, and nothing else; it can be finished wherever it was killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
from conftest import Chest, copy_lake, start_lake, write_objects

import warehouse
from warehouse.access import log, vocabulary
from warehouse.catalog import public_views
from warehouse.engine.connections import open_connection
from warehouse.lake import backup, connection, location, store
from warehouse.lake.maintenance import maintain
from warehouse.query.status import measure_status
from warehouse.settings import Settings
from warehouse.synthetic import make_bucket
from warehouse.withdrawal import changing, recording
from warehouse.withdrawal.certificate import Certificate
from warehouse.withdrawal.purge import purge

GONE = ("Covid1", "Covid10")
TABLES = ("raw.objects", "raw.headers", "raw.records", "core.images", "core.clinical", "core.clinical_issues")


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("purge") / "bucket"
    make_bucket(root, 12)
    return root


@pytest.fixture(scope="module")
def made(bucket: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with a history: loaded in two steps, rows deleted and updated, files rewritten and merged, a manifest that
    names a purged patient in its parameters, and texts that name one in other patients' rows."""
    lake = start_lake(tmp_path_factory.mktemp("lakes") / "lake")
    fill(bucket, str(lake))
    return lake


def fill(bucket: Path, lake: str) -> None:
    away = bucket.parent / "away"
    away.mkdir()
    for name in ("Covid10", "Covid11", "Covid12"):
        shutil.move(bucket / "training" / name, away / name)
    warehouse.refresh(str(bucket), lake)
    for path in away.iterdir():
        shutil.move(path, bucket / "training" / path.name)
    away.rmdir()
    warehouse.refresh(str(bucket), lake)
    maintain(lake)
    place = location.parse_address(lake)
    edits = {
        "removed": ["delete from core.images where patient_id in ('Covid2', 'Covid1') and key like '%a%'"],
        "replaced": ["update core.images set dcm_size = 1 where patient_id in ('Covid3', 'Covid1', 'Covid10')"],
        "removed again": ["delete from core.images where patient_id = 'Covid4'"],
        "texts": [
            "update core.images set SeriesDescription = 'like Covid1, unlike Covid12' where patient_id = 'Covid5'",
            'insert into ops.manifests (cohort, parameters, "sql", digest) '
            "values ('one', '{\"patient\": \"Covid10\"}', 'select ''Covid10''', 'sha256:1')",
        ],
    }
    with store.open_writer(place, Settings()) as con:
        for message, statements in edits.items():
            store.transact(con, message, lambda s=statements: [con.execute(one) for one in s], published=True)
        work = "delete from core.images where patient_id = 'Covid7'"
        store.transact(con, "notes of Covid1", lambda: con.execute(work), published=True)
        con.execute("call ducklake_rewrite_data_files('lake', 'images', schema => 'core', delete_threshold => 0.9)")
        work = "delete from core.images where patient_id = 'Covid6'"
        store.transact(con, "published", lambda: con.execute(work), published=True)


@pytest.fixture
def lake(made: Path, tmp_path: Path) -> Iterator[Path]:
    return copy_lake(made, tmp_path / "lake")


def read_everything(address: str) -> dict[int, dict[str, list[str]]]:
    """Every table at every published snapshot, and every view where the rows of tables are others than before, opened
    with our own code."""
    with warehouse.open(address) as wh:
        published = [s.number for s in store.list_snapshots(wh.con) if s.is_published]
    found, last = {}, {}
    for number in published:
        with warehouse.open(address, snapshot=number) as opened:
            wh = opened.group("all")
            tables = _read_relations(wh, (*TABLES, "ops.rejects", "ops.refreshes"))
            found[number] = tables | (_read_relations(wh, public_views.VIEW_ORDER) if tables != last else {})
        last = tables
    return found


def _read_relations(wh: warehouse.Warehouse, names: Iterable[str]) -> dict[str, list[str]]:
    return {name: sorted(str(row) for row in wh.sql(f"select * from {name}").fetchall()) for name in names}


def read_as_plain(place: location.Location) -> dict[str, list[str]]:
    """Every table at every snapshot as DuckLake shows it, with the ids of rows: without our sessions."""
    con = connection.connect(Settings(), place)
    connection.attach(con, place, "read_only")
    found = {}
    for (number,) in con.execute("select snapshot_id from ducklake_snapshots('lake')").fetchall():
        for table in TABLES:
            query = f"select rowid, * from lake.{table} at (version => {number})"
            try:
                found[f"{table} {number}"] = sorted(str(row) for row in con.execute(query).fetchall())
            except duckdb.CatalogException:
                continue
    con.close()
    return found


def drop_gone(rows: dict[str, list[str]]) -> dict[str, list[str]]:
    """The rows without those of purged patients, and without their names in others."""
    found = {}
    for table, texts in rows.items():
        kept = [row for row in texts if not any(f"'{name}'" in row for name in GONE)]
        found[table] = sorted(row.replace("like Covid1, unlike", "like withdrawn, unlike") for row in kept)
    return found


def purge_all(address: str, **options: object) -> Certificate:
    return purge(location.parse_address(address), Settings(), GONE, "letter", **options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Purged:
    """A lake without the patients and with its backups, which no test changes, and copies of what it was before: as it
    was made, and with the patients withdrawn."""

    lake: Path
    before: Path
    withdrawn: Path
    done: Certificate

    @property
    def root(self) -> Path:
        return self.lake.parent


#: Files that a lake's list of backups names, or that lie beside one: they are somebody else's.
OTHERS = {"notes/BACKUP.txt": "my own", "notes/data/thesis.txt": "years", "other/data/core/more.txt": "more"}


@pytest.fixture(scope="module")
def purged(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Purged:
    root = tmp_path_factory.mktemp("purged")
    lake = copy_lake(made, root / "lake")
    for name in ("known", "lost"):
        backup.backup(root / name, str(lake))
    shutil.rmtree(root / "lost")
    write_objects(root, OTHERS)
    with (lake / "backups.txt").open("a") as known:
        known.write(f"{root / 'notes'}\nother\n{root / 'other'}\n")
    (lake / "folder.damaged").mkdir()  # nor is this a file that a repair has set aside
    changing.withdraw(location.parse_address(str(lake)), Settings(), GONE, "letter")
    withdrawn = copy_lake(lake, root.with_name(f"{root.name}-withdrawn"))
    return Purged(lake, made, withdrawn, purge_all(str(lake)))


@pytest.mark.slow
def test_every_answer_of_every_snapshot_stays_as_it_was_without_the_patients(purged: Purged) -> None:
    document = purged.done.document
    assert purged.done.holds, document["findings"]
    before, after = (read_as_plain(location.parse_address(str(lake))) for lake in (purged.before, purged.lake))
    assert {name: after[name] for name in before} == drop_gone(before)
    hidden, seen = read_everything(str(purged.withdrawn)), read_everything(str(purged.lake))
    assert {number: _redact(relations) for number, relations in hidden.items()} == seen
    assert all(set(public_views.VIEW_ORDER) <= seen[number].keys() for number in (min(seen), max(seen)))
    assert document["rows_removed"]["core.images"] > 0
    assert document["texts_redacted"]["rows"] > 0


def _redact(views: dict[str, list[str]]) -> dict[str, list[str]]:
    return {
        name: sorted(row.replace("like Covid1, unlike", "like withdrawn, unlike") for row in rows)
        for name, rows in views.items()
    }


def test_no_byte_and_no_value_of_the_patients_is_left(purged: Purged) -> None:
    lake = purged.lake
    others = [b"Covid11", b"Covid12"]
    for path in (path for path in lake.rglob("*") if path.is_file()):
        data = path.read_bytes()
        for other in others:
            data = data.replace(other, b"")
        assert b"Covid1" not in data, path
    con = open_connection()
    for path in (lake / "data").rglob("*.parquet"):
        for row in con.execute(f"select * from read_parquet('{path}')").fetchall():
            text = str(row).replace("Covid11", "").replace("Covid12", "")
            assert "Covid1" not in text, path


@pytest.mark.slow
def test_the_certificate_names_nobody_and_what_was_done(lake: Path, tmp_path: Path, here: Chest) -> None:
    done = here("withdraw", *GONE, "--purge", "--lake", lake, "-o", tmp_path / "certificate.json", "-q")
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "certificate.json").read_text())
    text = (tmp_path / "certificate.txt").read_text()
    assert done.stdout == text
    for name in GONE:
        assert f"{name}" not in json.dumps(document).replace(str(lake), "").replace("Covid11", "")
        assert name not in text
    assert len(document["patients"]) == 2
    assert document["findings"] == []
    for change in document["files"]:
        assert not (lake / "data" / change["old_file"]).exists()
        if change["new_file"] is None:
            assert change["rows_left"] == 0
            continue
        new = lake / "data" / change["new_file"]
        found = open_connection().execute(f"select sha256(content) from read_blob('{new}')").fetchall()
        assert found == [(change["new_sha256"],)]
    assert sum(one["objects"] for one in document["objects_in_buckets"]) > 0
    with warehouse.open(lake) as wh:
        newest = store.list_snapshots(wh.con)[-1].number
        rows = wh.sql(f"select distinct certificate from access.withdrawals at (version => {newest}) "
                      "where action = 'purged'").fetchall()  # fmt: skip
    assert rows == [(text.splitlines()[-1].removeprefix("digest     "),)]


@pytest.mark.slow
def test_a_purged_lake_goes_on(bucket: Path, purged: Purged, tmp_path: Path) -> None:
    lake = copy_lake(purged.lake, tmp_path / "lake")
    (lake / "backups.txt").unlink()
    with warehouse.open(lake) as wh:
        before = measure_status(wh.group("all"))
    done = warehouse.refresh(str(bucket), str(lake), full=True)
    assert done.objects.withheld > 0
    with warehouse.open(lake) as wh:
        assert not any(one.n_rows for one in wh.check() if one.check.severity.name == "BLOCKING")
        assert measure_status(wh.group("all"))["withheld"] == before["withheld"] > 0
        assert not wh.sql("select 1 from images where patient_id in ('Covid1', 'Covid10')").fetchall()
    maintain(str(lake), keep_days=0)
    with warehouse.open(lake) as wh:
        assert not wh.sql("select 1 from patients where patient_id in ('Covid1', 'Covid10')").fetchall()
    assert purge_all(str(lake)).holds


def test_the_register_and_messages_of_commits_no_longer_name_them(purged: Purged) -> None:
    with warehouse.open(purged.lake) as wh:
        newest = store.list_snapshots(wh.con)[-1].number
        rows = wh.sql(f'select parameters, "sql" from ops.manifests at (version => {newest})').fetchall()
        assert rows == [('{"patient": "withdrawn"}', "select 'withdrawn'")]
        assert "notes of withdrawn" in [s.message for s in store.list_snapshots(wh.con)]


def test_backups_are_brought_up_to_date(here: Chest, purged: Purged) -> None:
    found = {Path(one["folder"]).name: one["renewed"] for one in purged.done.document["backups"]}
    assert {name: found[name] for name in ("known", "lost")} == {"known": True, "lost": False}
    assert here("backup", purged.root / "known", "--verify").returncode == 0
    for path in (path for path in (purged.root / "known").rglob("*") if path.is_file()):
        assert b"Covid10" not in path.read_bytes()


def test_a_list_of_backups_that_names_other_folders_changes_nothing_there(purged: Purged) -> None:
    """Whatever has a BACKUP.txt was taken for a backup of this lake, and lost what else was in its data."""
    root = purged.root
    assert {one["folder"]: one["renewed"] for one in purged.done.document["backups"]} == {
        str(root / "known"): True,
        str(root / "lost"): False,
        str(root / "notes"): False,
        str(root / "other"): False,
    }
    folders = (root / "notes", root / "other")
    found = {path.relative_to(root).as_posix() for folder in folders for path in folder.rglob("*") if path.is_file()}
    assert found == set(OTHERS)
    assert (root / "notes/BACKUP.txt").read_text() == "my own"


@pytest.mark.slow
def test_names_that_compression_puts_together_by_chance_are_no_finding(here: Chest, tmp_path: Path) -> None:
    """`Covid1`, and then what is new of `Covid2`: of a patient `Covid12`, each purge ended as not proven."""
    assert here("sample", tmp_path / "bucket", "--patients", 12, "--seed", 1, "--clean", "-q").returncode == 0
    assert here("refresh", tmp_path / "bucket", "--lake", tmp_path / "lake", "-q").returncode == 0
    there = [path.read_bytes() for path in (tmp_path / "lake/data/core/images").rglob("*.parquet")]
    assert any(b"Covid12457" in content for content in there), "another sample shows nothing"
    done = here("withdraw", "Covid12", "--purge", "--lake", tmp_path / "lake")
    assert done.returncode == 0, done.stdout


#: Runs a purge that kills its own process where a function of ours is entered for the nth time.
KILLED = """
import os, signal, sys
from warehouse.lake import location
from warehouse.settings import Settings
from warehouse.withdrawal import purge
name, count = sys.argv[2].split(":")
left = int(count)
def trace(frame, event, arg):
    global left
    if event == "call" and frame.f_code.co_name == name and "/withdrawal/" in frame.f_code.co_filename:
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
sys.setprofile(trace)
purge.purge(location.parse_address(sys.argv[1]), Settings(), ["Covid1", "Covid10"], "letter")
"""
#: Before and within each step of a purge. CHEST_KILLS=all tries all of them.
SEAMS = {
    "the list has not begun": "record_purge:1",
    "nothing is written": "record_live:1",
    "the log does not know what will be redacted": "announce:1",
    "the log knows what will be redacted": "_rewrite:1",
    "some files are written": "rewrite_data_file:3",
    "files are swapped within the transaction": "swap_data_file:2",
    "statistics are renewed within the transaction": "renew_table_statistics:1",
    "the transaction is not committed": "list_snapshots:1",
    "old files are there": "remove_files:1",
    "the catalogue has free pages": "compact_catalogue:1",
    "backups are old": "renew_backups:1",
    "nothing is proven": "search:1",
    "the certificate is not recorded": "build_certificate:1",
}
_FEW = (
    "the log knows what will be redacted",
    "some files are written",
    "the transaction is not committed",
    "old files are there",
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[str]]]:
    """A lake with the two patients and two others, and what its tables are without them."""
    root = tmp_path_factory.mktemp("small")
    make_bucket(root / "bucket", 11)
    for path in (root / "bucket/training").iterdir():
        if path.name not in (*GONE, "Covid2", "Covid11"):
            shutil.rmtree(path)
    # Its files are written by worker processes, not by DuckLake.
    warehouse.refresh(str(root / "bucket"), str(start_lake(root / "lake")), settings=Settings(workers=2))
    place = location.parse_address(str(root / "lake"))
    with store.open_writer(place, Settings()) as con:
        work = "update core.images set dcm_size = 1 where patient_id in ('Covid2', 'Covid1')"
        store.transact(con, "edit", lambda: con.execute(work), published=True)
    log.append(place, Settings(), log.NewEvent(vocabulary.REMARKED, "2026-0001", {"comment": "as Covid10"}))
    return root / "lake", drop_gone(read_as_plain(place))


@pytest.mark.slow
@pytest.mark.parametrize("seam", [seam for seam in SEAMS if seam in _FEW or os.environ.get("CHEST_KILLS") == "all"])
def test_a_purge_killed_anywhere_is_finished_by_the_next(
    small: tuple[Path, dict[str, list[str]]], tmp_path: Path, seam: str
) -> None:
    lake, expected = copy_lake(small[0], tmp_path / "lake"), small[1]
    words = [sys.executable, "-c", KILLED, str(lake), SEAMS[seam]]
    assert subprocess.run(words, capture_output=True, check=False).returncode == -signal.SIGKILL
    place = location.parse_address(str(lake))
    found = drop_gone(read_as_plain(place))
    assert {name: found[name] for name in expected} == expected
    assert log.verify_chain(log.read_events(place, Settings())) == recording.verify_list(place, Settings()) == []
    with warehouse.open(lake) as wh:
        assert not wh.sql("select 1 from patients where patient_id in ('Covid1', 'Covid10')").fetchall()
        is_begun = bool(measure_status(wh)["unfinished_purges"])
    assert is_begun == (seam != "the list has not begun")
    again = purge(place, Settings(), () if is_begun else GONE)
    assert again.holds, again.document["findings"]
    after = read_as_plain(place)
    assert {name: after[name] for name in expected} == expected
    with warehouse.open(lake) as wh:
        assert measure_status(wh)["unfinished_purges"] == 0
    events = log.read_events(place, Settings())
    assert log.verify_chain(events) == recording.verify_list(place, Settings()) == []
    assert events[0].body == {"comment": "as withdrawn"}
    assert [event.event for event in events].count(vocabulary.REDACTED) == 1
    for path in (path for path in lake.rglob("*") if path.is_file()):
        data = path.read_bytes().replace(b"Covid11", b"")
        assert b"Covid1" not in data, path


@pytest.mark.slow
def test_an_encrypted_lake_hides_and_purges_too(tmp_path: Path) -> None:
    make_bucket(tmp_path / "bucket", 3)
    settings = Settings(encrypted=1)
    warehouse.refresh(str(tmp_path / "bucket"), str(tmp_path / "lake"), settings=settings)
    place = location.parse_address(str(tmp_path / "lake"))
    changing.withdraw(place, settings, ["Covid1"])
    names = "select patient_id from patients order by all"
    with warehouse.open(tmp_path / "lake", settings=settings) as wh:
        assert wh.sql(names).fetchall() == wh.sql(names, trusted=False).fetchall() == [("Covid2",), ("Covid3",)]
    done = purge(place, settings, ["Covid1"])
    assert done.holds, done.document["findings"]
    assert done.document["rows_removed"]["core.images"] > 0
    found = read_as_plain(place)
    assert found
    assert not any("'Covid1'" in row for rows in found.values() for row in rows)


@pytest.mark.slow
def test_what_lies_beside_the_catalogue_is_removed_or_found(
    small: tuple[Path, dict[str, list[str]]], tmp_path: Path
) -> None:
    """What a repair has set aside, what a killed writer left, and files that others put there."""
    lake = copy_lake(small[0], tmp_path / "lake")
    shutil.copy(lake / "catalog.sqlite", lake / "catalog.sqlite.damaged")
    data = next(path for path in (lake / "data/raw/objects").rglob("*.parquet"))
    shutil.copy(data, data.with_name("old.parquet.damaged"))
    part = lake / f".chest-part-{'0' * 32}"
    part.mkdir()
    shutil.copy(lake / "catalog.sqlite", part / "catalog.read.sqlite")
    (lake / "airlock/A2026-0001").mkdir(parents=True)
    (lake / "airlock/A2026-0001/table.csv").write_text("patient_id\nCovid10\n")
    (lake / "Covid10.txt").write_text("a note")
    done = purge_all(str(lake))
    assert not done.holds
    assert {one.removeprefix(f"{lake}, ") for one in done.document["findings"]} == {
        "airlock/A2026-0001/table.csv: bytes",
        "withdrawn.txt: the name of the file",
    }
    assert not [path for path in lake.rglob("*") if path.name.endswith(".damaged") or path == part]
    with warehouse.open(lake) as wh:
        assert measure_status(wh)["unfinished_purges"] == 2
    (lake / "Covid10.txt").unlink()
    shutil.rmtree(lake / "airlock")
    assert purge(location.parse_address(str(lake)), Settings(), GONE).holds
