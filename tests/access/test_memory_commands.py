"""The memory of an agreement as a user meets it: commands under one agreement refuse what would disclose a few."""

from pathlib import Path

import pytest
from conftest import Chest, copy_lake, start_lake

import warehouse
from warehouse.access import log, vocabulary
from warehouse.lake import location
from warehouse.settings import Settings
from warehouse.synthetic import make_bucket

ID = "2026-0001"
TERMS = {
    "applicant": "A. Researcher",
    "organisation": "University",
    "title": "Lungs",
    "purpose": "validation of AI products",
    "duo": ["DUO:0000007"],
    "mondo": ["MONDO:0100096"],
    "groups": ["all"],
    "modalities": ["all"],
    "fields": ["all"],
    "starts": "2020-01-01",
    "ends": "2120-01-01",
    "output": "counts",
}
COHORT = """\
-- title: Some
-- question: Which patients are there, but for the first ones?
-- grain: patient
-- param skip INTEGER = 0: how many are left out
with everybody as (
    -- Those who have images.
    select patient_id from patients
),
chosen as (
    -- All but the first ones.
    select patient_id from everybody order by patient_id offset $skip
)
select patient_id from chosen
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of 30 patients with an agreement on all that there is."""
    root = tmp_path_factory.mktemp("memory")
    make_bucket(root / "bucket", 30, stubs=True)
    warehouse.refresh(root / "bucket", start_lake(root / "lake"))
    place = location.parse_address(str(root / "lake"))
    log.append(place, Settings(), *(log.NewEvent(vocabulary.APPROVED, name, TERMS) for name in (ID, "2026-0002")))
    return root / "lake"


@pytest.fixture
def lake(made: Path, tmp_path: Path) -> Path:
    (tmp_path / "some.sql").write_text(COHORT)
    return copy_lake(made, tmp_path / "lake")


@pytest.fixture
def ask(lake: Path, tmp_path: Path, here: Chest) -> Chest:
    """Ask for a cohort without its first patients, under an agreement."""

    def run(command: str, skip: int, *words: object, agreement: str = ID) -> object:
        scope = ("--lake", lake, "--agreement", agreement, "--group", "training")
        kind = ("manifest", "export") if command == "export" else ("cohort", command)
        return here(*kind, tmp_path / "some.sql", "--param", f"skip={skip}", *scope, *words)

    return run  # type: ignore[return-value]


def read_log(lake: Path) -> list[log.Event]:
    return log.read_events(location.parse_address(str(lake)), Settings())


@pytest.mark.slow
def test_a_second_count_that_differs_by_few_is_refused_and_logged(ask: Chest, lake: Path) -> None:
    assert ask("attrition", 0).returncode == 0
    assert ask("attrition", 0).returncode == 0
    done = ask("attrition", 2)
    assert (done.returncode, done.stdout) == (1, "")
    assert "differs from an earlier one by fewer than 5 patients" in done.stderr
    assert done.stderr.count("\n") == 1
    refused = read_log(lake)[-1]
    assert (refused.event, refused.about) == (vocabulary.REFUSED, ID)
    assert "fewer than 5 patients" in refused.body["reason"]
    assert ask("attrition", 8).returncode == 0
    assert ask("attrition", 2, agreement="2026-0002").returncode == 0


@pytest.mark.slow
def test_every_kind_of_answer_is_compared_with_every_count(ask: Chest, tmp_path: Path) -> None:
    assert ask("export", 0, "-o", tmp_path / "manifest").returncode == 0
    for command, *words in (
        ("attrition",),
        ("table1", "--suppress", "0"),
        ("split",),
    ):
        done = ask(command, 1, *words)
        assert (done.returncode, "fewer than 5 patients" in done.stderr) == (1, True), (command, done.stderr)


@pytest.mark.slow
def test_rows_after_a_count_are_compared_and_rows_after_rows_are_not(ask: Chest, tmp_path: Path) -> None:
    assert ask("run", 0).returncode == 0
    assert ask("export", 1, "-o", tmp_path / "manifest").returncode == 0
    assert ask("attrition", 10).returncode == 0
    done = ask("export", 8, "-o", tmp_path / "refused")
    assert (done.returncode, (tmp_path / "refused").exists()) == (1, False)


@pytest.mark.slow
def test_without_an_agreement_nothing_is_remembered(ask: Chest, lake: Path, tmp_path: Path, here: Chest) -> None:
    for skip in (0, 1):
        words = ("cohort", "attrition", tmp_path / "some.sql", "--param", f"skip={skip}", "--lake", lake)
        assert here(*words).returncode == 0
    assert ask("attrition", 1).returncode == 0


@pytest.mark.slow
def test_no_event_of_the_log_names_a_patient(ask: Chest, lake: Path) -> None:
    for command, skip in (("run", 0), ("attrition", 0), ("attrition", 1), ("table1", 0)):
        ask(command, skip)
    events = read_log(lake)
    assert len(events) == 6
    assert not any("Covid" in event.text for event in events)
    assert log.verify_chain(events) == []
