"""chest audit: who took what, when, from which snapshot, under which agreement."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from agreed_lakes import make_lake, read_log
from conftest import Chest

from warehouse.access import vocabulary
from warehouse.access.audit import audit_releases
from warehouse.access.programme import get_today
from warehouse.lake import location
from warehouse.settings import Settings


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_lake(tmp_path_factory.mktemp("audited"))


def run(lake: str, **asked: Any) -> list[dict[str, Any]]:
    found = audit_releases(location.parse_address(lake), Settings(), **asked)
    return [one.to_json() for one in found.takings]


def take(here: Chest, lake: str, agreement: str, folder: Path) -> None:
    query = "select patient_id from patients"
    done = here("sql", query, "--lake", lake, "--agreement", agreement, "-o", folder / f"{agreement}.csv")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_who_took_what_is_found_by_agreement_patient_and_day(here: Chest, lake: str, tmp_path: Path) -> None:
    assert "Nothing was taken." in here("audit", "--lake", lake).stdout
    take(here, lake, "2026-0001", tmp_path)  # PatA, PatB, PatC
    take(here, lake, "2026-0003", tmp_path)  # PatA alone
    take(here, lake, "2026-0003", tmp_path)  # the same set again
    refused = here("sql", "select 1 from patients", "--lake", lake, "--agreement", "2026-0005")
    assert refused.returncode == 1
    everything = run(lake)
    assert [(one["kind"], one["agreement"]) for one in everything] == [
        ("released", "2026-0001"),
        ("released", "2026-0003"),
        ("released", "2026-0003"),
        ("refused", "2026-0005"),
    ]
    assert everything[0]["what"] == "chest sql"
    assert (everything[0]["patients"], everything[0]["group"]) == (3, "training")
    assert everything[0]["snapshot"] > 0
    assert "ended on" in everything[3]["reason"]
    assert run(lake, agreement="2026-0003") == everything[1:3]
    assert run(lake, patient="PatA") == everything[:3]
    assert run(lake, patient="PatB") == everything[:1]
    assert run(lake, patient="PatX") == []
    assert run(lake, patient="PatA", agreement="2026-0001") == everything[:1]
    assert run(lake, since=get_today()) == everything
    assert run(lake, since=get_today() + timedelta(days=1)) == []
    shown = here("audit", "--lake", lake, "--patient", "PatB", "--since", get_today(), "--format", "json")
    assert [one["agreement"] for one in json.loads(shown.stdout)] == ["2026-0001"]
    text = here("audit", "--lake", lake).stdout
    assert "released under 2026-0001: chest sql, by " in text
    assert "3 patients, 3 rows, snapshot " in text
    assert "Pat" not in "".join(event.text for event in read_log(lake) if event.event == vocabulary.RELEASED)


def test_a_wrong_use_of_audit_is_one_line(here: Chest, lake: str) -> None:
    for words, message in (
        (("--agreement", "2026-9999"), "There is no application"),
        (("--since", "today"), "not a day"),
    ):
        done = here("audit", "--lake", lake, *words)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert message in done.stderr


def test_a_search_without_the_secret_is_refused(here: Chest, lake: str) -> None:
    (key,) = Path(lake).rglob("lake.key")
    text = key.read_text()
    try:
        key.write_text("nothing")
        done = here("audit", "--lake", lake, "--patient", "PatA")
    finally:
        key.write_text(text)
    assert (done.returncode, "Restore lake.key from a backup" in done.stderr) == (2, True)


@pytest.mark.slow
def test_manifests_without_an_agreement_are_listed(here: Chest, lake: str, tmp_path: Path) -> None:
    assert here("access", "enforce", "off", "--lake", lake).returncode == 0
    exported = here("manifest", "export", "teaching_set", "-o", tmp_path / "m", "--lake", lake)
    assert exported.returncode == 0, exported.stderr
    (one,) = (one for one in run(lake) if one["kind"] == "manifest")
    assert (one["agreement"], one["what"]) == ("", "manifest of teaching_set")
    assert one["snapshot"] > 0
    by_patient = here("audit", "--lake", lake, "--patient", "PatX")
    assert "1 manifest exported without an agreement: whether the patient is in it is not recorded" in by_patient.stderr


def test_the_end_of_the_programme_ends_what_is_taken(here: Chest, lake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHEST_PROGRAMME_END", str(get_today() - timedelta(days=1)))
    refused = here("sql", "select 1 from patients", "--lake", lake, "--agreement", "2026-0010")
    assert (refused.returncode, f"ended on {get_today() - timedelta(days=1)}" in refused.stderr) == (1, True)
    assert run(lake, agreement="2026-0010")[0]["kind"] == "refused"
