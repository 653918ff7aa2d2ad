"""The gate before publishing: blocking checks hold a snapshot back, readers keep the last good one and see why."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from conftest import Chest, copy_lake, write_objects
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import warehouse
from warehouse.errors import BlockedError, LakeError
from warehouse.ingest import key_ranges, open_run, publish, publish_gate
from warehouse.lake import location, store
from warehouse.query import checks
from warehouse.query.status import measure_status
from warehouse.settings import Settings
from warehouse.synthetic import make_bucket

Con = duckdb.DuckDBPyConnection

#: One of each way in which a lake can be altered, and the blocking checks that see it.
FAULTS = {
    "insert into core.images from core.images limit 1": {"books", "rows_twice"},
    "insert into raw.headers from raw.headers limit 1": {"rows_twice"},
    "insert into raw.records from raw.records limit 1": {"rows_twice"},
    "insert into raw.objects from raw.objects where kind = 'other' limit 1": {"rows_twice"},
    "insert into raw.objects from raw.objects where kind = 'clinical' limit 1": {"books", "rows_twice"},
    "delete from raw.headers where key = (select min(key) from raw.headers)": {"rows_unpaired"},
    "delete from core.clinical where key = (select min(key) from core.clinical)": {"books", "rows_unpaired"},
    "delete from raw.objects where kind = 'header'": {"books", "rows_out_of_date"},
    "update core.images set etag = 'older' where key = (select max(key) from core.images)": {"rows_out_of_date"},
    "update core.clinical set etag = null where key = (select max(key) from core.clinical)": {"rows_out_of_date"},
    "update raw.headers set source = 'elsewhere'": {"rows_unpaired"},
    "update raw.objects set kind = 'novel' where kind = 'dcm'": {"books"},
    "update ops.rejects set kind = 'dcm'": {"books"},
    "insert into ops.rejects from ops.rejects limit 1": {"books"},
    "delete from ops.rejects": {"books"},
    "update core.images set key = null where key = (select max(key) from core.images)": {
        "rows_unpaired",
        "rows_out_of_date",
    },
}


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bucket")
    make_bucket(root, 3)
    write_objects(root, {"readme.txt": "other", "training/Covid9/data/2020-03-01/data.json": "no record"})
    return root


@pytest.fixture(scope="module")
def filled(bucket: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A lake that was refreshed once; tests that alter it roll back."""
    folder = str(tmp_path_factory.mktemp("lake") / "lake")
    warehouse.refresh(str(bucket), folder)
    return folder


@pytest.fixture(scope="module")
def untouched(bucket: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake that nobody opens: it is copied."""
    folder = tmp_path_factory.mktemp("untouched") / "lake"
    warehouse.refresh(str(bucket), str(folder))
    return folder


@pytest.fixture
def own(untouched: Path, tmp_path: Path) -> str:
    return str(copy_lake(untouched, tmp_path / "own"))


def alter(folder: str, *statements: str) -> None:
    with store.open_writer(location.parse_address(folder), Settings()) as con:
        for statement in statements:
            store.transact(con, "altered by hand", lambda s=statement: con.execute(s))


def found_by_rules(con: Con) -> dict[str, int]:
    """What the blocking rules find, with or without the gate's screen."""
    rules = (c for c in checks.load_definitions().values() if c.severity is checks.Severity.BLOCKING)
    return {rule.name: len(con.execute(rule.sql).fetchall()) for rule in rules}


@pytest.fixture(scope="module")
def run(bucket: Path, filled: str) -> Iterator[warehouse.ingest.Run]:
    with open_run(str(bucket), filled) as run:
        yield run


@pytest.mark.slow(after=6)
@pytest.mark.parametrize("statement", FAULTS)
def test_every_fault_is_seen_by_the_checks_that_name_it(run: warehouse.ingest.Run, statement: str) -> None:
    run.con.execute("begin")
    try:
        run.con.execute(statement)
        assert found_by_rules(run.con) == {r.check.name: r.n_rows for r in publish_gate.run_blocking_checks(run)}
        assert {r.check.name for r in publish_gate.run_blocking_checks(run) if r.n_rows} == FAULTS[statement]
    finally:
        run.con.execute("rollback")


@pytest.mark.slow
def test_an_object_repeated_anywhere_is_seen_by_ranges_of_any_size(
    run: warehouse.ingest.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [key for (key,) in run.con.execute("select key from raw.objects order by key").fetchall()]
    for size in (1, 7, len(keys) - 1, len(keys)):
        monkeypatch.setattr(key_ranges, "RANGE_SIZE", size)
        assert not any(result.n_rows for result in publish_gate.run_blocking_checks(run))
        for key in (keys[0], keys[len(keys) // 2], keys[-1]):
            run.con.execute("begin")
            run.con.execute("insert into raw.objects from raw.objects where key = $key", {"key": key})
            found = {result.check.name: result.n_rows for result in publish_gate.run_blocking_checks(run)}
            run.con.execute("rollback")
            assert found["rows_twice"] == 1, key


TABLES = ("raw.objects", "raw.headers", "raw.records", "core.images", "core.clinical", "ops.rejects")
WHICH = "where hash(key, {n}) % 7 = 0"
CHANGES = st.tuples(
    st.sampled_from(
        [
            "insert into {table} from {table} " + WHICH,
            "delete from {table} " + WHICH,
            "update {table} set source = source || '!' " + WHICH,
            "update {table} set key = null " + WHICH,
            "update {table} set key = 'same' " + WHICH,
        ]
    ),
    st.sampled_from(TABLES),
    st.integers(0, 9),
)


@given(st.lists(CHANGES, min_size=1, max_size=3))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_gate_agrees_with_the_rules(run: warehouse.ingest.Run, changes: list[tuple[str, str, int]]) -> None:
    run.con.execute("begin")
    try:
        for statement, table, n in changes:
            run.con.execute(statement.format(table=table, n=n))
        assert {r.check.name: r.n_rows for r in publish_gate.run_blocking_checks(run)} == found_by_rules(run.con)
    finally:
        run.con.execute("rollback")


@pytest.mark.slow
def test_a_blocked_snapshot_is_not_published_and_readers_are_informed(own: str, bucket: Path, here: Chest) -> None:
    with warehouse.open(own) as wh:
        good, images = wh.snapshot.number, len(wh.group("all").images().fetchall())
    alter(own, "insert into core.images from core.images limit 1")
    with pytest.raises(BlockedError, match=rf"rows_twice \(1 row.*keep snapshot {good}.*--unpublished") as caught:
        warehouse.refresh(str(bucket), own)
    assert isinstance(caught.value, LakeError)
    assert {r.check.name: r.n_rows for r in caught.value.results} == {
        "books": 1,
        "rows_twice": 1,
        "rows_unpaired": 0,
        "rows_out_of_date": 0,
    }
    assert all(r.rows.num_rows == 0 for r in caught.value.results)

    done = here("refresh", bucket, "--lake", own, "-q")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert done.stderr.startswith("chest: Publishing is blocked by books")
    with warehouse.open(own) as wh:
        assert (wh.snapshot.number, len(wh.group("all").images().fetchall())) == (good, images)
    status = json.loads(here("status", "--lake", own, "--format", "json").stdout)
    assert [(one["check"], one["rows"]) for one in status["blocked"]] == [("books", 1), ("rows_twice", 1)]
    assert (status["snapshot"], status["newest_published"], status["unpublished_commits"]) == (good, good, 1)
    assert all(one["snapshot"] > good and one["at"] for one in status["blocked"])
    shown = here("status", "--lake", own).stdout
    assert "BLOCKED    by books" in shown
    assert f"Readers keep snapshot {good}." in shown

    assert here("check", "rows_twice", "--lake", own).returncode == 0
    seen = here("check", "rows_twice", "--lake", own, "--unpublished", "--format", "json")
    assert seen.returncode == 1
    (fault,) = json.loads(seen.stdout)[0]["faults"]
    assert (fault["table_name"], fault["n_rows"]) == ("core.images", 2)
    both = here("check", "--lake", own, "--unpublished", "--snapshot", good)
    assert (both.returncode, both.stderr.count("not both")) == (2, 1)


@pytest.mark.slow
def test_a_refusal_is_remembered_once_and_ends_with_the_fault(own: str, bucket: Path) -> None:
    alter(own, "update raw.headers set key = key || '!'")
    for _ in range(2):
        with pytest.raises(BlockedError):
            warehouse.refresh(str(bucket), own)
    with warehouse.open(own) as wh:
        (first,) = measure_status(wh)["blocked"]
    with store.open_writer(location.parse_address(own), Settings()) as con:
        assert sum(s.is_blocked for s in store.list_snapshots(con)) == 1
        store.transact(con, "mended", lambda: con.execute("update raw.headers set key = rtrim(key, '!')"))
    with warehouse.open(own) as wh:
        (again,) = measure_status(wh)["blocked"]
        assert (again["check"], again["at"]) == ("rows_unpaired", first["at"])
    result = warehouse.refresh(str(bucket), own).published
    assert result.is_new
    with warehouse.open(own) as wh:
        status = measure_status(wh)
    assert (status["blocked"], status["unpublished_commits"]) == ([], 0)
    assert [row["published"] for row in status["refreshes"]] == [True, False, True]
    assert status["refreshes"][0]["snapshot"] == status["snapshot"] == result.snapshot


@pytest.mark.slow
def test_a_blocked_first_refresh_is_reported(bucket: Path, tmp_path: Path, here: Chest) -> None:
    folder = str(tmp_path / "lake")
    with open_run(str(bucket), folder) as run:
        warehouse.ingest.list_objects(run)
        with pytest.raises(BlockedError, match=r"nothing to read yet.*run again"):
            publish(run)  # headers and records are listed, and not loaded yet
    done = here("status", "--lake", folder)
    assert done.returncode == 2
    assert "was blocked (books)" in done.stderr
    assert here("check", "books", "--lake", folder, "--unpublished").returncode == 1
    assert warehouse.refresh(str(bucket), folder).published.is_new


def test_any_blocking_rule_holds_the_gate(
    run: warehouse.ingest.Run, monkeypatch: pytest.MonkeyPatch, filled: str
) -> None:
    known = checks.load_definitions()
    rule = replace(known["study_after_available"], name="no_ct", severity=checks.Severity.BLOCKING)
    rule = replace(rule, sql="-- title: No CT\nselect key from core.images where Modality = 'CT' order by all;\n")
    monkeypatch.setattr(checks, "load_definitions", lambda: {**known, "no_ct": rule})
    ((count,),) = run.con.execute("select count(*) from core.images where Modality = 'CT'").fetchall()
    assert count
    assert {r.check.name: r.n_rows for r in publish_gate.run_blocking_checks(run) if r.n_rows} == {"no_ct": count}


@pytest.mark.slow
def test_publishing_alone_cleans_by_the_new_rules_first(own: str, bucket: Path) -> None:
    alter(own, "update core.clinical set rules = 'older', age = 7")
    with open_run(str(bucket), own) as run:
        assert publish(run).is_new
    with warehouse.open(own) as wh:
        assert wh.sql(
            "select count(distinct rules), count(*) filter (rules = 'older') from clinical_history"
        ).fetchall() == [(1, 0)]
        assert wh.sql("select count(*) from patients where age = 7").fetchall() == [(0,)]


@pytest.mark.slow
def test_status_of_an_older_snapshot_lists_the_tables_it_has(own: str, bucket: Path) -> None:
    with open_run(str(bucket), own) as run:
        store.transact(run.con, "as it was", lambda: run.con.execute("drop table ops.manifests"))
        older = publish(run).snapshot
        store.transact(run.con, "as it was", lambda: run.con.execute("delete from ops.migrations where number >= 4"))
    newer = warehouse.refresh(str(bucket), own).published.snapshot
    for snapshot, there in ((older, {"core.clinical_issues"}), (newer, {"core.clinical_issues", "ops.manifests"})):
        with warehouse.open(own, snapshot=snapshot) as wh:
            assert measure_status(wh)["tables"].keys() & {"core.clinical_issues", "ops.manifests"} == there
