"""Every change of the standing list is an event of the log of access, and the log's chain covers the list."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Chest, copy_lake, start_lake, write_objects

import warehouse
from warehouse.access import log, vocabulary
from warehouse.lake import location, store
from warehouse.settings import Settings
from warehouse.withdrawal import changing, recording
from warehouse.withdrawal.purge import purge

NAMES = ("Pat10", "Pat11", "Pat12", "Pat13")


def header(patient: str) -> str:
    values = {"00100020": patient, "00080018": patient, "0020000D": f"s{patient}", "0020000E": f"e{patient}"}
    return json.dumps({tag: {"Value": [value]} for tag, value in {**values, "00080060": "CR"}.items()})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("list")
    keys = {f"training/{name}/images_metadata/2020-04-01/{name}.json": header(name) for name in NAMES}
    write_objects(root / "bucket", {**keys})
    warehouse.refresh(str(root / "bucket"), str(start_lake(root / "lake")))
    return root / "lake"


@pytest.fixture
def lake(made: Path, tmp_path: Path) -> Path:
    return copy_lake(made, tmp_path / "lake")


def read(lake: Path) -> list[log.Event]:
    return log.read_events(location.parse_address(str(lake)), Settings())


def edit(lake: Path, statement: str) -> None:
    with store.open_writer(location.parse_address(str(lake)), Settings()) as con:
        store.transact(con, "an edit", lambda: con.execute(statement))


@pytest.mark.slow
def test_each_change_is_an_event_without_an_identifier(here: Chest, lake: Path, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("Pat11\nPat12\n")
    (tmp_path / "next").write_text("Pat12\n")
    for words in (
        ("withdraw", "Pat10", "--reason", "letter of 3 May"),
        ("withdraw", "--opt-out", "--file", tmp_path / "list"),
        ("withdraw", "permit", "Pat11", "--allowed-by", "Dr A. Jones", "--reason", "COPI notice"),
        ("withdraw", "permit", "--end"),
        ("withdraw", "--opt-out", "--file", tmp_path / "next", "--allow-returns"),
        ("withdraw", "return", "Pat10", "--reason", "wrong letter"),
        ("withdraw", "Pat13", "--purge", "-q"),
    ):
        assert here(*words, "--lake", lake).returncode == 0
    events = read(lake)
    assert [event.body["changes"] for event in events] == [
        {"withdrawn": 1},
        {"opted out": 2},
        {"permitted": 1},
        {"permission ended": 1},
        {"opt-out ended": 1},
        {"returned": 1},
        {"withdrawn": 1},
        {"purge begun": 1},
        {"purged": 1},
    ]
    assert {event.event for event in events} == {vocabulary.LIST_CHANGED}
    assert "Pat" not in "".join(event.text for event in events)
    assert "certificate" in events[-1].body
    shown = here("audit", "--lake", lake).stdout
    assert "list: standing list 2, 2 opted out, by" in shown
    assert shown.count("list: standing list") == 9
    assert "standing list" not in here("audit", "--lake", lake, "--patient", "Pat10").stdout
    done = here("access", "verify", "--lake", lake)
    assert (done.returncode, "9 events: none was changed" in done.stdout) == (0, True)


def test_nothing_is_logged_where_nothing_changed(lake: Path) -> None:
    place = location.parse_address(str(lake))
    changing.withdraw(place, Settings(), ["Pat10"])
    changing.withdraw(place, Settings(), ["Pat10"])
    assert len(read(lake)) == 1


@pytest.mark.slow(after=1)
@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("delete from access.withdrawals where version = 1", "Version 1 of the standing list was changed"),
        ("update access.withdrawals set allowed_by = 'B' where version = 2", "Version 2 of the standing list was"),
        ("insert into access.withdrawals select * replace (3 as version) from access.withdrawals",
         "Version 3 of the standing list has no event"),
        ("insert into access.withdrawals select * replace ('returned' as action) from access.withdrawals limit 1",
         "of the standing list was changed"),
        ("insert into access.withdrawals select * replace (0 as version) from access.withdrawals limit 1",
         "The standing list of before the log has no event"),
        ("delete from access.events where number = 2", "The log has no event with the hash"),
    ],
)  # fmt: skip
def test_an_edit_of_the_list_is_found(here: Chest, lake: Path, statement: str, problem: str) -> None:
    place = location.parse_address(str(lake))
    changing.withdraw(place, Settings(), ["Pat10", "Pat11"])
    changing.replace_opt_outs(place, Settings(), ["Pat12"])
    edit(lake, statement)
    done = here("access", "verify", "--lake", lake)
    assert (done.returncode, problem in done.stdout) == (1, True), done.stdout


@pytest.mark.slow
def test_a_list_of_before_the_log_is_covered_by_the_first_event(here: Chest, lake: Path) -> None:
    place = location.parse_address(str(lake))
    changing.withdraw(place, Settings(), ["Pat10"])
    edit(lake, "delete from access.events")
    with store.open_writer(place, Settings()) as con:
        assert recording.compare_list(log.read_rows(con), recording.read_changes(con)) == []
    changing.withdraw(place, Settings(), ["Pat11"])
    assert read(lake)[0].body["earlier"].startswith("sha256:")
    assert recording.verify_list(place, Settings()) == []
    edit(lake, "update access.withdrawals set reason = 'other' where version = 1")
    assert "The standing list of before the log was changed" in here("access", "verify", "--lake", lake).stdout


@pytest.mark.slow
def test_a_purge_redacts_the_log_and_it_can_still_be_verified(here: Chest, lake: Path) -> None:
    """Somebody has written a pseudonym into a comment and into a reason: the chain holds, and no other change does."""
    place = location.parse_address(str(lake))
    changing.withdraw(place, Settings(), ["Pat10"], "as for Pat99")  # whom the lake does not have yet
    log.append(place, Settings(), log.NewEvent(vocabulary.REMARKED, "2026-0001", {"comment": 'Pat99, and "Pat99"'}))
    purge(place, Settings(), ["Pat99"], "letter")
    events = read(lake)
    assert events[1].body == {"comment": 'withdrawn, and "withdrawn"'}
    assert [event.event for event in events].count(vocabulary.REDACTED) == 1
    done = here("access", "verify", "--lake", lake, "--head", events[1].hash)
    assert done.returncode == 0, done.stdout
    assert "A purge has put 'withdrawn' in a patient's place in event 2.\n" in done.stdout
    assert "names of purged patients removed" in here("audit", "--lake", lake).stdout
    for path in (path for path in lake.rglob("*") if path.is_file()):
        assert b"Pat99" not in path.read_bytes(), path
    edit(lake, 'update access.events set body = \'{"comment":"withdrawn"}\' where number = 2')
    assert (
        "Event 2 (application.event/remarked 2026-0001) was changed" in here("access", "verify", "--lake", lake).stdout
    )


def test_a_text_of_the_log_that_names_a_patient_of_the_lake_is_refused(here: Chest, lake: Path) -> None:
    for words in (
        ("withdraw", "Pat10", "--reason", "as for Pat13."),
        ("withdraw", "Pat10", "--reason", "see training/Pat13/data.json"),
        ("access", "enforce", "on", "--reason", "since Pat13 left"),
    ):
        done = here(*words, "--lake", lake)
        assert (done.returncode, done.stderr.count("\n"), "Pat13" in done.stderr) == (2, 1, False)
        assert "names a patient" in done.stderr
    assert read(lake) == []


@pytest.mark.slow
def test_an_announcement_alone_lets_nobody_alter_an_event(here: Chest, lake: Path) -> None:
    """Only the word that a purge writes is accepted, and which events have it is printed."""
    place = location.parse_address(str(lake))
    first, _ = log.append(
        place, Settings(), *(log.NewEvent(vocabulary.REMARKED, "", {"by": n}) for n in ("Ann", "Ben"))
    )
    altered = replace(first, text='{"by":"Cy"}')
    log.append(place, Settings(), log.NewEvent(vocabulary.REDACTED, body={"events": [[1, altered.compute_hash()]]}))
    edit(lake, 'update access.events set body = \'{"by":"Cy"}\' where number = 1')
    done = here("access", "verify", "--lake", lake)
    assert (done.returncode, "Event 1 (application.event/remarked ) was changed" in done.stdout) == (1, True)
