"""The commands of access as a data manager runs them, on SQLite and once on PostgreSQL."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from access_steps import ENDS, REQUEST, STARTS, TODAY, decide, grant, make_agreement, review_by_all, submit, to_new
from conftest import Chest, copy_lake, start_lake
from servers import serve_postgres

import warehouse
from warehouse.access import data_use_register, log, request_form, vocabulary
from warehouse.lake import location, store
from warehouse.settings import Settings
from warehouse.synthetic import make_bucket

ID = f"{TODAY.year}-0001"


@pytest.fixture
def ask(here: Chest, new_lake: Path, monkeypatch: pytest.MonkeyPatch) -> Chest:
    """Commands of access on a lake of the test's own."""
    monkeypatch.setenv("CHEST_LAKE", str(new_lake))
    return lambda *words: here("access", *words)


def write_request(folder: Path, **changes: Any) -> Path:
    path = folder / "request.yaml"
    path.write_text(request_form.build_form().render({**REQUEST, **changes}), encoding="utf-8")
    return path


def require(answer: Any, code: int = 0) -> str:
    assert answer.returncode == code, answer.stderr
    assert isinstance(answer.stdout, str)
    return answer.stdout


def add(lake: Path | str, *new: log.NewEvent) -> list[log.Event]:
    return log.append(location.parse_address(str(lake)), Settings(), *new)


def tell_story(ask: Chest, lake: str, folder: Path) -> None:
    """From the empty form to the end of an agreement."""
    assert "No application yet." in require(ask("list"))
    form = folder / "empty.yaml"
    require(ask("form", "-o", form))
    refused = ask("request", form)
    assert refused.stderr.startswith("chest: The request is not valid: applicant is empty")
    assert (refused.returncode, refused.stderr.count("\n"), refused.stdout) == (2, 1, "")
    assert "0 of 6 roles have reviewed it" in require(ask("request", write_request(folder)))
    early = ask("decide", ID, "--decision", "approved")
    assert (early.returncode, "no review by scientific advisor, technology" in early.stderr) == (2, True)
    require(ask("decide", ID, "--decision", "returned", "--comment", "Which films?"))
    require(ask("form", "--of", ID, "-o", form))
    form.write_text(form.read_text(encoding="utf-8").replace("Risk on chest films", "Risk on frontal films"))
    assert yaml.safe_load(require(ask("request", form, "--id", ID, "--format", "yaml")))["state"] == "submitted"
    review = {"reviewer": "Ann Lee", "role": "information-governance", "recommendation": "approve", "benefit": "met"}
    (folder / "review.yaml").write_text(yaml.safe_dump(review), encoding="utf-8")
    require(ask("review", ID, folder / "review.yaml"))
    words = ("--role", "system", "--by", "Bo Ek", "--finding", "Track record=not met", "--recommendation", "approve")
    assert "comment is empty" in ask("review", ID, *words).stderr
    reviewed = review_by_all(log.read_events(location.parse_address(lake), Settings()), ID)
    add(lake, *to_new(reviewed[-6:]))
    assert "information-governance advisor: A information-governance advisor" in require(ask("show", ID))
    assert "waits for the decision" in require(ask("list"))
    require(ask("decide", ID, "--decision", "approved", "--by", "The chair"))
    require(ask("grant", ID, "--reference", "DSA 2026/17"))
    require(ask("renew", ID, "--ends", ENDS + timedelta(days=9), "--reason", "It takes longer."))
    shown = json.loads(require(ask("show", ID, "--format", "json")))
    assert shown == yaml.safe_load(require(ask("show", ID, "--format", "yaml")))
    assert (shown["state"], shown["agreement"]["state"]) == ("approved", "active")
    assert shown["agreement"]["ends"] == str(ENDS + timedelta(days=9))
    assert shown["request"]["title"] == "Risk on frontal films"
    text = require(ask("show", ID))
    assert f"active, from {STARTS} to {ENDS + timedelta(days=9)}" in text
    assert "system advisor: A system advisor recommends approve" in text
    require(ask("revoke", ID, "--reason", "Data were passed on."))
    assert json.loads(require(ask("list", "--format", "json")))[0]["state"] == "revoked"
    assert "14 events: none was changed, removed or moved." in require(ask("verify"))


def test_a_story_of_an_agreement(ask: Chest, new_lake: Path, tmp_path: Path) -> None:
    tell_story(ask, str(new_lake), tmp_path)


@pytest.mark.slow
def test_the_log_on_postgresql(here: Chest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_postgres() as server:
        server.run("create database chest")
        address = server.address("chest", tmp_path / "data")
        monkeypatch.setenv("CHEST_LAKE", address)
        with store.open_writer(location.parse_address(address), Settings()):
            pass
        require(here("access", "request", write_request(tmp_path)))
        submitted = log.read_events(location.parse_address(address), Settings())
        reviewed = review_by_all(submitted, ID)
        add(address, *to_new(grant(decide(reviewed, ID, "approved"), ID)[1:]))
        assert f"active, from {STARTS} to {ENDS}" in require(here("access", "show", ID))
        assert "9 events: none was changed" in require(here("access", "verify"))
        with store.open_writer(location.parse_address(address), Settings()) as con:
            con.execute("update access.events set actor = 'Somebody else' where number = 3")
        changed = here("access", "verify")
        assert (changed.returncode, "Event 3 (application.event/reviewed" in changed.stdout) == (1, True)


ALTERATIONS = {
    "update access.events set actor = 'nobody' where number = 2": "Event 2",
    'update access.events set "at" = "at" - interval 1 day where number = 1': "Event 1",
    "delete from access.events where number = 2": "Event 2 is missing",
    "delete from access.events where number = 3": "no event with the hash",
    "delete from access.events": "no event with the hash",
    "update access.events set number = 5 - number where number in (2, 3)": "Event 2",
    "insert into access.events from access.events where number = 1": "Event 2 is missing: event 1 is in its place",
}


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = start_lake(tmp_path_factory.mktemp("logged") / "lake")
    add(lake, *(log.NewEvent(vocabulary.REMARKED, ID, {"n": n}) for n in range(3)))
    return lake


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("statement", ALTERATIONS)
def test_verify_finds_every_alteration_and_ends_with_1(
    here: Chest, logged: Path, tmp_path: Path, statement: str
) -> None:
    lake = copy_lake(logged, tmp_path / "lake")
    with store.open_writer(location.parse_address(str(lake)), Settings()) as con:
        con.execute(statement)
    found = here("access", "verify", "--lake", lake)
    assert found.returncode == 1
    assert ALTERATIONS[statement] in found.stdout
    assert "Compare it with a backup" in found.stderr


def test_verify_prints_the_head_and_takes_one_that_was_kept(here: Chest, logged: Path) -> None:
    found = require(here("access", "verify", "--lake", logged))
    head = found.rpartition("head   ")[2].strip()
    assert "3 events: none was changed" in found
    shown = json.loads(require(here("access", "verify", "--lake", logged, "--head", head, "--format", "json")))
    assert shown == {"events": 3, "head": head, "heads": 1, "problems": [], "redacted": []}


def test_what_is_no_head_is_a_wrong_use(ask: Chest) -> None:
    assert "'abc' is no head of a log. Give sha256:" in ask("verify", "--head", "abc").stderr
    assert "no event with the hash" in require(ask("verify", "--head", "0" * 64), 1)


def test_the_register_has_the_fields_of_version_2(ask: Chest, new_lake: Path, tmp_path: Path) -> None:
    granted = make_agreement(title='=HYPERLINK("x")', lay_summary="Two\nlines, and a comma.")
    add(new_lake, *to_new(submit(granted, title="Not granted")))
    require(ask("register", "-o", tmp_path / "register.csv"))
    (row,) = csv.DictReader(io.StringIO((tmp_path / "register.csv").read_text(encoding="utf-8")))
    assert tuple(row) == data_use_register.FIELDS
    assert len(row) == 32
    assert row["Project ID"] == ID
    assert row["Project title"] == '\'=HYPERLINK("x")', "a spreadsheet must not run what an applicant wrote"
    assert row["Applicant names"] == "Ada Young, Ben Old, Cy Lin"
    assert row["Applicant ID"] == "https://orcid.org/0000-0002-1825-0097"
    assert row["Lay summary"] == "Two\nlines, and a comma."
    assert (row["Project start date"], row["Project end date"]) == (str(STARTS), str(ENDS))
    assert row["Latest approval date"] == str(TODAY)
    assert row["National data opt-out applied?"] == "Yes"
    assert row["Legal basis for provision of data under Article 6"] == "Article 6(1)(e) public task"
    assert row["Description of the confidential data being used"] == "images CR, images DX, age, sex"
    require(ask("close", ID, "--reason", "It has ended."))
    (row,) = csv.DictReader(io.StringIO(require(ask("register"))))
    assert row["Project end date"] == str(TODAY)


def test_the_end_of_the_programme_is_a_setting(
    ask: Chest, new_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = write_request(tmp_path)
    monkeypatch.setenv("CHEST_PROGRAMME_END", str(ENDS - timedelta(days=1)))
    assert f"Allowed: until {ENDS - timedelta(days=1)} (CHEST_PROGRAMME_END)" in ask("request", request).stderr
    monkeypatch.setenv("CHEST_PROGRAMME_END", "soon")
    assert "CHEST_PROGRAMME_END='soon' is not a day" in ask("request", request).stderr
    monkeypatch.delenv("CHEST_PROGRAMME_END")
    add(new_lake, *to_new(make_agreement()))
    monkeypatch.setenv("CHEST_PROGRAMME_END", str(TODAY + timedelta(days=1)))
    listed = ask("list")
    assert str(TODAY + timedelta(days=1)) in listed.stdout
    assert (
        f"WARNING: Agreement {ID} (University of Leeds) ends on {TODAY + timedelta(days=1)}, tomorrow" in listed.stderr
    )
    monkeypatch.setenv("CHEST_PROGRAMME_END", str(TODAY - timedelta(days=1)))
    assert json.loads(require(ask("list", "--format", "json")))[0]["state"] == "expired"


def test_enforcement_is_switched_for_the_lake(ask: Chest) -> None:
    assert "is off" in require(ask("enforce"))
    assert "is on" in require(ask("enforce", "on", "--by", "The chair", "--reason", "From today."))
    assert "is on" in require(ask("enforce"))
    assert "is off" in require(ask("enforce", "off"))
    assert "switched on or off, not 'of'" in ask("enforce", "of").stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show", "2026-9"), "There is no application '2026-9'"),
        (
            ("review", ID, "--role", "cook", "--recommendation", "approve"),
            "role is 'cook', which is not known. Allowed: sci",
        ),
        (("review", ID, "--finding", "speed=met"), "'speed=met' is no finding. Give CRITERION=FINDING"),
        (
            ("decide", ID, "--decision", "maybe"),
            "decision is 'maybe', which is not known. Allowed: approved, rejected, re",
        ),
        (("grant", ID), "The grant is not valid: reference is empty"),
        (("form", "requst"), "There is no form 'requst'. Did you mean request?"),
        (("form", "review", "--of", ID), "--of fills in a request, and the form is review"),
        (("request", "none.yaml"), "none.yaml cannot be read: No such file or directory"),
        (("form", "-o", "/proc/none/x.yaml"), "/proc/none/x.yaml cannot be written"),
        (("enforce", "on", "--by", "{AUTHOR}"), "The event for the log of access has {AUTHOR}. DuckLake"),
        (("enforce", "on", "--reason", "From {DATA_PATH} on."), "The event for the log of access has {DATA_PATH}."),
    ],
)
def test_a_wrong_use_is_one_line(ask: Chest, words: tuple[str, ...], message: str) -> None:
    found = ask(*words)
    assert (found.returncode, found.stderr.count("\n"), found.stdout) == (2, 1, "")
    assert message in found.stderr


# Beside the data


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("filled")
    make_bucket(root / "bucket", 4)
    warehouse.refresh(str(root / "bucket"), str(start_lake(root / "lake")))
    return root / "lake"


@pytest.fixture
def lake(filled: Path, tmp_path: Path) -> str:
    return str(copy_lake(filled, tmp_path / "lake"))


@pytest.mark.slow
def test_every_manifest_has_the_head_of_the_log(here: Chest, lake: str, tmp_path: Path) -> None:
    place = location.parse_address(lake)
    first, second = log.append(place, Settings(), *(log.NewEvent(vocabulary.REMARKED, ID, {"n": n}) for n in (1, 2)))
    require(here("manifest", "export", "teaching_set", "-o", tmp_path / "m", "--lake", lake))
    about = json.loads((tmp_path / "m/manifest.json").read_text())
    assert (about["format"], about["access"]) == (4, {"event": 2, "head": second.hash})
    require(here("manifest", "reproduce", tmp_path / "m", "--lake", lake))
    (tmp_path / "m/manifest.json").write_text(
        (tmp_path / "m/manifest.json").read_text().replace(second.hash, first.hash)
    )
    altered = here("manifest", "verify", tmp_path / "m", "--lake", lake)
    assert (altered.returncode, "SHA256SUMS" in altered.stderr) == (1, True), "the seal covers it"
    require(here("access", "verify", "--lake", lake))
    with store.open_writer(place, Settings()) as con:
        con.execute("delete from access.events where number = 2")
        assert con.execute("select access_head from ops.manifests").fetchall() == [(second.hash,)]
    assert second.hash in require(here("access", "verify", "--lake", lake), 1)


@pytest.mark.slow
def test_status_shows_access_in_a_line(here: Chest, lake: str) -> None:
    assert "access     " not in require(here("status", "--lake", lake))
    add(lake, *to_new(make_agreement()))
    line = "access     1 agreement active, 0 waiting, enforcement off\n"
    assert line in require(here("status", "--lake", lake))
    found = json.loads(require(here("status", "--lake", lake, "--format", "json")))
    assert found["tables"]["access.events"] == found["access"]["events"] == 9
    assert found["unpublished_commits"] == 0, "an event is no data that wait to be published"


def test_untrusted_sql_does_not_read_the_log(here: Chest, lake: str) -> None:
    log.append(location.parse_address(lake), Settings(), log.NewEvent(vocabulary.REMARKED, ID, {"n": 1}, "Ada Young"))
    with warehouse.open(lake, trusted=False) as wh, pytest.raises(warehouse.UntrustedSqlError):
        wh.sql("select actor from access.events").fetchall()


#: Events that chest writes none of: by kind, what their bodies have.
ODD: dict[str, tuple[str, ...]] = {
    "access list": (vocabulary.SUBMITTED, vocabulary.APPROVED, vocabulary.RENEWED),
    "access show 2026-0001": (vocabulary.SUBMITTED, vocabulary.REVIEWED, vocabulary.DECIDED),
    "access register": (vocabulary.APPROVED, vocabulary.RENEWED),
    "airlock list": (vocabulary.AIRLOCK_REQUESTED, vocabulary.AIRLOCK_REVIEWED),
    "airlock show A2026-0001": (vocabulary.AIRLOCK_REQUESTED,),
    "audit": (vocabulary.AIRLOCK_RELEASED, vocabulary.LIST_CHANGED),
    "access verify": (vocabulary.REDACTED,),
    "status": (vocabulary.APPROVED,),
}


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("command", ODD)
@pytest.mark.parametrize("body", [{}, {"ends": 1, "starts": "soon", "request": "A2026-0001", "files": 7, "team": 3}])
def test_a_strangers_events_end_a_command_with_one_line(
    here: Chest, new_lake: Path, command: str, body: dict[str, Any]
) -> None:
    """They were a traceback."""
    more = {"events": [1], "list": 3, "changes": 4, "findings": 5} if body else {}
    for kind in ODD[command]:
        add(new_lake, log.NewEvent(kind, "2026-0001", {**body, **more}))
    answer = here(*command.split(), "--lake", new_lake)
    assert "Traceback" not in answer.stderr
    if answer.returncode:
        assert (answer.returncode, answer.stderr.count("\n")) == (2, 1), answer.stderr


@pytest.mark.slow
def test_names_that_are_no_utf_8_are_escaped_or_refused_with_one_line(
    here: Chest, new_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a user, in the environment, and of a file: both were a traceback as they were written down."""
    table = tmp_path / "table\udcff.csv"
    table.write_text("n\n50\n")
    add(new_lake, *to_new(make_agreement()))
    refused = here("airlock", "request", table, "--agreement", ID, "--reason", "A table", "--lake", new_lake)
    assert (refused.returncode, refused.stderr) == (
        2,
        "chest: The event for the log of access is not valid UTF-8.\n",
    )
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "Ann\udcff")
    require(here("access", "enforce", "on", "--lake", new_lake))
    assert log.read_events(location.parse_address(str(new_lake)), Settings())[-1].actor == r"Ann\udcff"
