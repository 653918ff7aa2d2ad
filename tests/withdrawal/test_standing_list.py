"""Withdrawn and opted-out patients: on the list by digest only, hidden from every reader, left out of every refresh."""

import gc
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Chest, Prepared, copy_lake, write_objects

import warehouse
from warehouse.catalog import public_views
from warehouse.errors import LakeError, RemovalsError, UsageError
from warehouse.lake import doctor, location, store
from warehouse.lake.maintenance import maintain
from warehouse.query.status import measure_status
from warehouse.settings import Settings
from warehouse.withdrawal import changing, repairing, standing_list


def header(patient: str, image: str, **tags: str) -> str:
    values = {"00080018": image, "0020000D": f"s{image}", "0020000E": f"e{image}", "00080060": "CR"} | tags
    return json.dumps({tag: {"Value": [value]} for tag, value in {"00100020": patient, **values}.items()})


def build_patient(patient: str, day: str = "2020-04-01") -> dict[str, bytes | str]:
    name = patient.lower()
    return {
        f"training/{patient}/images_metadata/{day}/{name}.json": header(patient, name),
        f"training/{patient}/images/{day}/{name}.dcm": b"pixels of " + patient.encode(),
        f"training/{patient}/data/{day}/data.json": json.dumps(
            {"Pseudonym": patient, "Age": "sixty", "Date of Positive Covid Swab": "04/01/2020"}
        ),
        f"training/{patient}/images_metadata/{day}/{name}-broken.json": "{",
        f"training/{patient}/notes.txt": "other",
    }


#: The objects of P2 in the bucket below, with an image of theirs that is filed under P3.
OF_P2 = ("P2", "P3/images_metadata/2020-04-02", "P3/images/2020-04-02")


@dataclass(frozen=True)
class Made:
    """A lake with two published snapshots of four patients, and one of the same bucket that never had P2."""

    prepared: Prepared
    never: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("withdrawal")
    prepared = Prepared.of(root, {**build_patient("P1"), **build_patient("P2")})
    write_objects(prepared.bucket, {**build_patient("P3"), **build_patient("P20")})
    stray = {
        "training/P3/images_metadata/2020-04-02/stray.json": header("P2", "stray"),
        "training/P3/images/2020-04-02/stray.dcm": b"stray",
    }
    write_objects(prepared.bucket, stray)
    warehouse.refresh(str(prepared.bucket), str(prepared.lake))
    shutil.rmtree(prepared._kept)
    shutil.copytree(prepared.bucket, prepared._kept)
    for place in OF_P2:
        shutil.rmtree(prepared.bucket / "training" / place)
    late = [shutil.move(prepared.bucket / "training" / name, root / name) for name in ("P3", "P20")]
    warehouse.refresh(str(prepared.bucket), str(root / "never"))
    for path in map(Path, late):
        shutil.move(path, prepared.bucket / "training" / path.name)
    warehouse.refresh(str(prepared.bucket), str(root / "never"))
    prepared.restore_bucket()
    return Made(prepared, root / "never")


@pytest.fixture
def lake(made: Made, tmp_path: Path) -> Iterator[Path]:
    yield copy_lake(made.prepared.lake, tmp_path / "lake")
    made.prepared.restore_bucket()


@pytest.fixture
def bucket(made: Made) -> str:
    return str(made.prepared.bucket)


def withdraw(lake: Path, *patients: str) -> changing.Changed:
    return changing.withdraw(location.parse_address(str(lake)), Settings(), patients)


def opt_out(lake: Path, *patients: str, allow_returns: bool = True) -> changing.Changed:
    place = location.parse_address(str(lake))
    return changing.replace_opt_outs(place, Settings(), patients, allow_returns=allow_returns)


def list_published(lake: Path) -> list[int]:
    with warehouse.open(lake) as wh:
        return [s.number for s in store.list_snapshots(wh.con) if s.is_published]


def read_all(lake: Path, snapshot: int | None = None, *, trusted: bool = True) -> dict[str, list[str]]:
    """Every row of every view and table of patients, as text, in order."""
    found = {}
    with warehouse.open(lake, snapshot=snapshot, trusted=trusted) as opened:
        wh = opened.group("all")
        names = [*public_views.VIEW_ORDER]
        if trusted:
            names += ["raw.objects", "raw.headers", "raw.records", "core.images", "core.clinical"]
            names += ["core.clinical_issues", "ops.rejects"]
        for name in names:
            with wh.limited():
                columns = "* exclude (first_seen, last_seen)" if name == "ops.rejects" else "*"
                found[name] = sorted(str(row) for row in wh.ask(f"select {columns} from {name}", {}).fetchall())
    return found


def test_nobody_sees_a_withdrawn_patient_at_any_snapshot_from_then_on(made: Made, lake: Path) -> None:
    """Every view and table, at every snapshot, is that of a lake that never had the patient."""
    assert withdraw(lake, "P2").unknown == ()
    for number, other in zip(list_published(lake), list_published(made.never), strict=True):
        after = read_all(lake, number)
        assert after == read_all(made.never, other)
        held = read_all(lake, number, trusted=False)
        assert held == {view: after[view] for view in held}


def test_the_newest_may_be_compared_with_a_snapshot_that_had_the_patient(lake: Path) -> None:
    first, _ = list_published(lake)
    withdraw(lake, "P2")
    with warehouse.open(lake) as wh:
        assert {row[0] for row in wh.changes_since(first).project("patient_id").fetchall()} == {"P3", "P20"}
        rows = wh.sql(f"select patient_id from core.images at (version => {first})").fetchall()
        assert rows == [("P1",)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [f"table_{kind}" for kind in ("changes", "insertions", "deletions")])
def test_the_changes_of_a_table_do_not_show_who_is_hidden(here: Chest, lake: Path, name: str) -> None:
    """In a session that hides patients by deletions of its own, these had their rows, as deleted ones."""
    withdraw(lake, "P2")
    *_, newest = list_published(lake)
    for call in (f"lake.core.{name}('images', 0", f"ducklake_{name}('lake', 'core', 'images', 0"):
        done = here("sql", f"from {call}, {newest})", "--lake", lake, "--format", "csv")
        assert (done.returncode, done.stdout) == (2, ""), done.stdout
        assert "Older snapshots still have patients" in done.stderr


@pytest.mark.slow
def test_older_snapshots_do_not_show_who_was_removed_from_the_newest(here: Chest, bucket: str, lake: Path) -> None:
    first, *_ = list_published(lake)
    withdraw(lake, "P2")
    warehouse.refresh(bucket, str(lake))
    with warehouse.open(lake) as wh:
        assert "P2" not in {row[0] for row in wh.changes_since(first).project("patient_id").fetchall()}
        for relation in ("core.images", "lake.main.patients"):
            with pytest.raises(UsageError, match="Older snapshots still have patients"):
                wh.sql(f"select patient_id from {relation} AT /* then */ (version => {first})")
        for name in ("lake.core.table_insertions('images', 0", "lake.core.table_changes('images', 0",
                     "ducklake_table_insertions('lake', 'core', 'images', 0"):  # fmt: skip
            with pytest.raises(UsageError, match="Older snapshots still have patients"):
                wh.sql(f"select patient_id from {name}, {first})")
        with wh.at_snapshot(first) as then:
            assert "P2" not in {row[0] for row in then.as_of("2030-01-01").patients().project("patient_id").fetchall()}
    done = here("sql", "--since", first, "select distinct patient_id from changes", "--lake", lake, "--format", "csv")
    assert "P2" not in done.stdout.split()
    assert done.stdout.startswith("patient_id")


@pytest.mark.slow
def test_sessions_derived_from_one_that_hides_patients_outlive_it(lake: Path) -> None:
    withdraw(lake, "P2")
    derived = warehouse.open(lake).group("training").as_of("2030-01-01")
    gc.collect()
    assert "P2" not in {row[0] for row in derived.patients().project("patient_id").fetchall()}
    derived.close()


@pytest.mark.slow
def test_the_list_outlives_maintenance_that_keeps_nothing(here: Chest, bucket: str, lake: Path, tmp_path: Path) -> None:
    with warehouse.open(lake) as wh:
        wh.cohort("prior_data", patients=["P2"]).export(tmp_path / "kept")
        first = wh.snapshot.number
    withdraw(lake, "P2")
    warehouse.refresh(bucket, str(lake))
    for _ in range(3):
        maintain(str(lake), keep_days=0)
    assert not any("'P2'" in row for rows in read_all(lake, first).values() for row in rows)
    assert "1 withdrawn" in here("withdraw", "list", "--lake", lake).stdout
    assert warehouse.refresh(bucket, str(lake)).objects.withheld == 7
    assert not any("'P2'" in row for rows in read_all(lake).values() for row in rows)


@pytest.mark.slow
def test_a_permission_does_not_outlive_the_opt_out_that_it_was_for(lake: Path) -> None:
    def shown() -> bool:
        with warehouse.open(lake) as wh:
            return ("P1",) in wh.patients().project("patient_id").fetchall()

    opt_out(lake, "P1")
    assert not shown()
    changing.permit(location.parse_address(lake), Settings(), [], "Dr A. Jones", "COPI notice")
    assert shown()
    opt_out(lake)
    opt_out(lake, "P1")
    assert not shown()


def test_the_next_refresh_removes_the_rows_and_counts_the_objects(made: Made, bucket: str, lake: Path) -> None:
    withdraw(lake, "P2")
    done = warehouse.refresh(bucket, str(lake))
    assert (done.objects.withheld, done.objects.added, done.published.is_new) == (7, 0, True)
    assert not warehouse.refresh(bucket, str(lake)).published.is_new
    with warehouse.open(lake) as wh:
        assert wh.standing_list == 1
        assert wh.sql("select count(*) from duckdb_databases() where path like '%catalogue.duckdb'").fetchall() == [
            (0,)
        ]
        found = measure_status(wh.group("all"))
        assert (found["objects"], found["withheld"], found["patients"]) == (15, 7, 3)
        assert found["objects"] == sum(found[k] for k in ("image_json", "clinical_json", "rejected", "dcm", "other"))
        assert not any(result.n_rows for result in wh.check("books"))
    assert read_all(lake) == read_all(made.never)
    with warehouse.open(lake) as wh:
        assert wh.sql("select count(*) from ops.rejects where key like '%/P2/%'").fetchall() == [(0,)]


@pytest.mark.slow
def test_what_arrives_later_of_a_withdrawn_patient_is_never_loaded(bucket: str, lake: Path) -> None:
    assert withdraw(lake, "P9", "P2").unknown == ("P9",)
    write_objects(Path(bucket), build_patient("P9"))
    write_objects(Path(bucket), {"training/P1/images_metadata/2020-05-01/p9.json": header("P9", "of another")})
    done = warehouse.refresh(bucket, str(lake))
    assert done.objects.withheld == 12
    assert not any("P9" in row for rows in read_all(lake).values() for row in rows)
    again = warehouse.refresh(bucket, str(lake))
    assert (again.objects.added, again.objects.withheld, again.published.is_new) == (0, 13, False)
    assert not warehouse.refresh(bucket, str(lake)).published.is_new


@pytest.mark.slow
def test_a_renewed_list_lets_those_come_back_who_are_no_longer_on_it(bucket: str, lake: Path) -> None:
    before = read_all(lake)
    opt_out(lake, "P1", "P3")
    withdraw(lake, "P3")
    warehouse.refresh(bucket, str(lake))
    with pytest.raises(RemovalsError, match="2 of the 2 patients"):
        opt_out(lake, "P20", allow_returns=False)
    done = opt_out(lake, "P20")
    assert (done.added, done.ended) == (1, 2)
    warehouse.refresh(bucket, str(lake))
    after = read_all(lake)
    assert {name for row in after["patients"] for name in ("P1", "P2", "P3", "P20") if f"'{name}'" in row} == {
        "P1",
        "P2",
    }
    changing.give_back(location.parse_address(str(lake)), Settings(), ["P3"], "wrong letter")
    opt_out(lake)
    warehouse.refresh(bucket, str(lake))
    again = read_all(lake)
    assert again == before


@pytest.mark.slow
def test_inclusion_needs_a_named_permission_which_is_recorded(here: Chest, lake: Path) -> None:
    opt_out(lake, "P1", "P3")
    withdraw(lake, "P3")
    done = here("withdraw", "permit", "--lake", lake, "--reason", "COPI notice")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--allowed-by" in done.stderr
    done = here("withdraw", "permit", "--lake", lake, "--reason", "COPI notice", "--allowed-by", "Dr A. Jones")
    assert "2 newly included by permission" in done.stdout
    with warehouse.open(lake) as wh:
        assert {row[0] for row in wh.patients().project("patient_id").fetchall()} == {"P1", "P2", "P20"}
        rows = wh.sql("select distinct allowed_by, reason from access.withdrawals at (version => $v) "
                      "where action = 'permitted'", v=store.list_snapshots(wh.con)[-1].number).fetchall()  # fmt: skip
        assert rows == [("Dr A. Jones", "COPI notice")]
    assert "allowed by Dr A. Jones" in here("withdraw", "list", "P1", "--lake", lake).stdout
    here("withdraw", "permit", "--end", "--lake", lake)
    with warehouse.open(lake) as wh:
        assert {row[0] for row in wh.patients().project("patient_id").fetchall()} == {"P2", "P20"}


def test_the_list_names_nobody_and_says_who_is_on_it(here: Chest, lake: Path, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("# by post\nP2\n\nP404\nP2\n")
    done = here("withdraw", "--file", tmp_path / "list", "--reason", "letters", "--lake", lake)
    assert (done.returncode, "2 newly withdrawn" in done.stdout) == (0, True)
    assert "does not have now: P404" in done.stderr
    shown = here("withdraw", "list", "--lake", lake)
    assert "2 withdrawn" in shown.stdout
    assert "P2" not in shown.stdout + json.dumps(here("withdraw", "list", "--format", "json", "--lake", lake).stdout)
    assert here("withdraw", "list", "P2", "--lake", lake).returncode == 0
    done = here("withdraw", "list", "P1", "--lake", lake)
    assert (done.returncode, done.stderr) == (1, "chest: Not on the list: P1.\n")
    with warehouse.open(lake) as wh:
        rows = wh.sql("from access.withdrawals at (version => $v)", v=store.list_snapshots(wh.con)[-1].number)
        assert not any("P2" in str(value) or "P404" in str(value) for row in rows.fetchall() for value in row)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("P2", "--reason", "letter of P2"), "The reason names a patient"),
        (("--opt-out", "P2"), "--opt-out takes the whole list from a file"),
        (("a/b",), "is not a pseudonym"),
        (("--file", "/nonexistent"), "cannot be read: No such file or directory"),
        (("return", "P2"), "needs a reason"),
        (("return", "P2", "--reason", "x"), "1 of those given are not withdrawn"),
        (("permit", "P2", "--reason", "x", "--allowed-by", "y"), "1 of those given have not opted out"),
    ],
)
def test_mistakes_are_explained_in_one_line(here: Chest, lake: Path, words: tuple[str, ...], message: str) -> None:
    done = here("withdraw", *words, "--lake", lake)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert message in done.stderr


@pytest.mark.slow
def test_a_lake_without_its_key_is_not_read_as_if_nobody_had_withdrawn(bucket: str, lake: Path) -> None:
    withdraw(lake, "P2")
    key = lake / "data/lake.key"
    kept = key.read_text()
    key.unlink()
    with pytest.raises(LakeError, match="cannot be read"):
        warehouse.open(lake)
    with pytest.raises(LakeError, match="is not the one"):  # a writer makes a new one
        warehouse.refresh(bucket, str(lake))
    key.write_text(kept)
    assert warehouse.refresh(bucket, str(lake)).objects.withheld == 7


@pytest.mark.slow
def test_maintenance_changes_nothing_about_it(bucket: str, lake: Path) -> None:
    withdraw(lake, "P2")
    warehouse.refresh(bucket, str(lake))
    before = read_all(lake)
    for _ in range(2):
        maintain(str(lake), keep_days=0)
    with warehouse.open(lake) as wh:
        history = store.list_snapshots(wh.con)
        assert standing_list.is_applied(history, wh.snapshot.number)
    assert read_all(lake) == before
    withdraw(lake, "P1")
    assert not any("'P1'" in row for rows in read_all(lake).values() for row in rows)


@pytest.mark.slow
def test_a_backup_knows_who_has_withdrawn(here: Chest, lake: Path, tmp_path: Path) -> None:
    withdraw(lake, "P2")
    assert here("backup", tmp_path / "backup", "--lake", lake).returncode == 0
    assert read_all(tmp_path / "backup") == read_all(lake)
    assert here("backup", tmp_path / "backup", "--verify").returncode == 0


@pytest.mark.slow
def test_a_service_follows_the_list_without_a_restart(lake: Path) -> None:
    from warehouse.service.readers import Readers
    from warehouse.service.scope import Scope

    readers = Readers(str(lake), Settings())
    try:
        with readers.read(Scope()) as wh:
            assert wh.sql("select count(*) from patients").fetchall() == [(4,)]
        withdraw(lake, "P2")
        with readers.read(Scope()) as wh:
            assert wh.sql("select count(*) from patients").fetchall() == [(3,)]
    finally:
        readers.close()


@pytest.mark.slow
@pytest.mark.parametrize("has_refreshed", [False, True])
def test_who_withdrew_after_a_backup_stays_on_the_list_when_the_catalogue_is_restored_from_it(
    here: Chest, bucket: str, lake: Path, tmp_path: Path, has_refreshed: bool
) -> None:
    withdraw(lake, "P1")
    assert here("backup", tmp_path / "backup", "--lake", lake).returncode == 0
    withdraw(lake, "P2")
    changing.give_back(location.parse_address(str(lake)), Settings(), ["P1"], "by mistake")
    if has_refreshed:
        warehouse.refresh(bucket, str(lake))
    (lake / "catalog.sqlite").write_bytes(b"SQLite format 3\0" + bytes(4096))
    done = here("doctor", "--repair", "--from-backup", tmp_path / "backup", "--lake", lake)
    assert "The catalogue was restored from" in done.stdout
    assert (
        "On the standing list again: 1 patient who withdrew or opted out, named in files that the catalogue lacks"
        in done.stderr
    )
    assert here("withdraw", "list", "P1", "P2", "--lake", lake).stdout.count("withdrawn") == 2
    assert here("access", "verify", "--lake", lake).returncode == 0
    with warehouse.open(lake) as wh:
        assert not {"P1", "P2"} & {row[0] for row in wh.patients().project("patient_id").fetchall()}
    assert repairing.put_back(location.parse_address(str(lake)), Settings()) == 0


@pytest.mark.slow
def test_nobody_reads_a_restored_lake_without_those_who_withdrew_since_whatever_else_is_damaged(
    here: Chest, lake: Path, tmp_path: Path
) -> None:
    assert here("backup", tmp_path / "backup", "--lake", lake).returncode == 0
    withdraw(lake, "P2")
    (lake / "catalog.sqlite").write_bytes(b"SQLite format 3\0" + bytes(4096))
    record = min((lake / "data" / "ops" / "refreshes").rglob("*.parquet"))
    for copy in (lake, tmp_path / "backup"):  # a file that the backup has not whole either
        path = copy / record.relative_to(lake)
        path.write_bytes(bytes(path.stat().st_size))
    done = here("doctor", "--repair", "--from-backup", tmp_path / "backup", "--lake", lake)
    assert "The catalogue was restored from" in done.stdout
    assert "On the standing list again: 1 patient" in done.stderr
    with warehouse.open(lake) as wh:
        assert "P2" not in {row[0] for row in wh.sql("select patient_id from images").fetchall()}


@pytest.mark.slow
def test_no_catalogue_is_restored_if_it_is_not_known_who_withdrew_since(
    here: Chest, lake: Path, tmp_path: Path
) -> None:
    assert here("backup", tmp_path / "backup", "--lake", lake).returncode == 0
    withdraw(lake, "P2")
    (lake / "catalog.sqlite").write_bytes(b"SQLite format 3\0" + bytes(4096))
    for path in (lake / "data" / "access" / "withdrawals").rglob("*.parquet"):
        path.write_bytes(b"cut")
    done = here("doctor", "--repair", "--from-backup", tmp_path / "backup", "--lake", lake)
    assert done.returncode == 2
    assert "who withdrew since is not known" in done.stderr.replace("\n", " ")
    assert here("sql", "select * from patients", "--lake", lake).returncode == 2
    done = here("doctor", "--repair", "--accept-loss", "--from-backup", tmp_path / "backup", "--lake", lake)
    assert "The catalogue was restored from" in done.stdout


@pytest.mark.slow
def test_a_repair_that_ended_before_the_list_was_put_back_is_taken_up_by_the_next(
    here: Chest, bucket: str, lake: Path, tmp_path: Path
) -> None:
    assert here("backup", tmp_path / "backup", "--lake", lake).returncode == 0
    withdraw(lake, "P2")
    (lake / "catalog.sqlite").write_bytes(b"SQLite format 3\0" + bytes(4096))
    doctor.repair(str(lake), from_backup=tmp_path / "backup")  # all that was done before the kill
    warehouse.refresh(bucket, str(lake))
    doctor.repair(str(lake))
    done = here("doctor", "--repair", "--lake", lake)
    assert "On the standing list again: 1 patient" in done.stderr
    assert "which no snapshot lists, was removed" in done.stdout
    assert here("withdraw", "list", "P2", "--lake", lake).stdout.count("withdrawn") == 1
    assert here("doctor", "--lake", lake).returncode == 0


@pytest.mark.slow
def test_who_was_given_back_after_a_repair_is_not_put_on_the_list_again(
    here: Chest, lake: Path, tmp_path: Path
) -> None:
    assert here("backup", tmp_path / "backup", "--lake", lake).returncode == 0
    withdraw(lake, "P2")
    (lake / "catalog.sqlite").write_bytes(b"SQLite format 3\0" + bytes(4096))
    assert "1 patient" in here("doctor", "--repair", "--from-backup", tmp_path / "backup", "--lake", lake).stderr
    changing.give_back(location.parse_address(str(lake)), Settings(), ["P2"], "by mistake")
    assert "standing list" not in here("doctor", "--repair", "--lake", lake).stderr
    assert "Not on the list: P2" in here("withdraw", "list", "P2", "--lake", lake).stderr
