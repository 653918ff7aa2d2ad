"""Manifests of before a withdrawal: who holds them, what was trained from them, and what is still done with them."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Chest, Prepared, copy_lake

import warehouse
from warehouse.lake import location
from warehouse.manifests import past
from warehouse.settings import Settings
from warehouse.withdrawal import changing
from warehouse.withdrawal.purge import purge

#: Where an image is filed, and whom its header names.
STRAY, OF_STRAY = "training/Covid3/images", "Covid4"
EVERYBODY = """-- title: Everybody
-- question: Who has an image?
-- grain: patient
select patient_id from patients where n_images > 0
"""


@dataclass(frozen=True)
class Exported:
    lake: Path
    manifest: Path
    digest: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    objects: dict[str, bytes | str] = {}
    for patient in ("Covid1", "Covid2", "Covid3"):
        name = patient.lower()
        tags = {"00080018": name, "0020000D": f"s{name}", "0020000E": f"e{name}", "00080060": "CR"}
        header = {tag: {"Value": [value]} for tag, value in tags.items()}
        objects[f"training/{patient}/images_metadata/2020-04-01/{name}.json"] = json.dumps(header)
        objects[f"training/{patient}/images/2020-04-01/{name}.dcm"] = f"pixels of {patient}"
    stray = {"00080018": "stray", "0020000D": "s", "0020000E": "e", "00080060": "CR", "00100020": OF_STRAY}
    objects[f"{STRAY}_metadata/2020-04-02/stray.json"] = json.dumps({t: {"Value": [v]} for t, v in stray.items()})
    objects[f"{STRAY}/2020-04-02/stray.dcm"] = "pixels of stray"
    return Prepared.of(tmp_path_factory.mktemp("past"), objects)


@pytest.fixture
def exported(made: Prepared, here: Chest, tmp_path: Path) -> Exported:
    lake = copy_lake(made.lake, tmp_path / "lake")
    (tmp_path / "everybody.sql").write_text(EVERYBODY)
    done = here("manifest", "export", tmp_path / "everybody.sql", "-o", tmp_path / "manifest", "--lake", lake)
    assert done.returncode == 0, done.stderr
    found = re.search("digest (sha256:[0-9a-f]{64})", done.stdout)
    assert found
    return Exported(lake, tmp_path / "manifest", found[1])


def withdraw(exported: Exported, patient: str = "Covid2") -> None:
    changing.withdraw(location.parse_address(str(exported.lake)), Settings(), [patient])


@pytest.mark.slow
def test_it_is_known_who_holds_a_patient_by_digest_only(here: Chest, exported: Exported) -> None:
    for wanted in ("Covid2", "training/Covid2/images/2020-04-01/covid2.dcm"):
        done = here("manifest", "used-by", wanted, "--lake", exported.lake)
        assert (done.returncode, exported.digest in done.stdout) == (0, True)
        assert "WITHDRAWN" not in done.stdout
    assert here("manifest", "used-by", "Covid9", "--lake", exported.lake).stdout == "No registered manifest has them.\n"
    done = here("manifest", "used-by", "notes.txt/x", "--lake", exported.lake)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    with warehouse.open(exported.lake, unpublished=True) as wh:
        rows = wh.sql("select patients from access.manifest_patients").fetchall()
    assert len(rows[0][0]) == 4, "with the one whom a header alone names"
    assert "Covid" not in str(rows)


@pytest.mark.slow
def test_models_trained_from_it_are_listed(here: Chest, exported: Exported) -> None:
    short = exported.digest.removeprefix("sha256:")[:12]
    assert here("manifest", "model", short, "covid-net 2.1", "--lake", exported.lake).returncode == 0
    assert "models: covid-net 2.1" in here("manifest", "used-by", "Covid1", "--lake", exported.lake).stdout
    done = here("manifest", "model", "ffff", "x", "--lake", exported.lake)
    assert (done.returncode, "is registered" in done.stderr) == (1, True)
    assert here("manifest", "model", short, " ", "--lake", exported.lake).returncode == 2


@pytest.mark.slow
@pytest.mark.parametrize("is_purged", [False, True])
def test_a_past_manifest_states_who_has_withdrawn_and_leaves_them_out(
    here: Chest, exported: Exported, tmp_path: Path, is_purged: bool
) -> None:
    withdraw(exported)
    if is_purged:
        assert purge(location.parse_address(str(exported.lake)), Settings(), ["Covid2"]).holds
    done = here("manifest", "used-by", "--withdrawn", "--lake", exported.lake)
    assert done.stdout.startswith("WITHDRAWN 1 of 3 patients")
    assert "Covid2 has withdrawn" in here("manifest", "used-by", "Covid2", "--lake", exported.lake).stdout
    for command in ("verify", "reproduce"):
        done = here("manifest", command, exported.manifest, "--lake", exported.lake)
        assert (done.returncode, "WITHDRAWN: 1 patient has withdrawn" in done.stderr) == (1, True), done.stderr
    assert "a different answer" in done.stdout
    data = tmp_path / "data"
    done = here("manifest", "download", exported.manifest, "-o", data, "--lake", exported.lake, "-q")
    assert done.returncode == 1
    assert "WITHDRAWN: 1 patient has withdrawn" in done.stderr
    assert "2 of a patient who has withdrawn" in done.stderr
    assert {path.name for path in data.rglob("*.dcm")} == {"covid1.dcm", "covid3.dcm", "stray.dcm"}


@pytest.mark.slow
@pytest.mark.parametrize("after", ["withdrawal", "refresh", "purge"])
def test_what_is_filed_under_another_patient_is_left_out_too(
    here: Chest, made: Prepared, exported: Exported, tmp_path: Path, after: str
) -> None:
    """The lake remembers such objects by a digest of their places; the rows of a manifest state the other patient."""
    withdraw(exported, OF_STRAY)
    if after == "refresh":
        warehouse.refresh(str(made.bucket), str(exported.lake))
    elif after == "purge":
        assert purge(location.parse_address(str(exported.lake)), Settings(), [OF_STRAY]).holds
    done = here("manifest", "verify", exported.manifest, "--lake", exported.lake, "--format", "json")
    assert done.returncode == 1
    assert "WITHDRAWN: 2 objects filed under another patient are of one who has withdrawn" in done.stderr
    found = json.loads(done.stdout)
    assert (found["withdrawn"], found["withdrawn_objects"]) == ([], 2)
    data = tmp_path / "data"
    done = here("manifest", "download", exported.manifest, "-o", data, "--lake", exported.lake, "-q")
    assert (done.returncode, "2 of a patient who has withdrawn" in done.stderr) == (1, True)
    assert {path.name for path in data.rglob("*.dcm")} == {"covid1.dcm", "covid2.dcm", "covid3.dcm"}
    opened = warehouse.manifest(exported.manifest)
    left = past.leave_out_withdrawn(opened, str(exported.lake), Settings(), lambda _: None)
    assert left.height == opened.polars().height - 2, "what is signed, granted and streamed"
    done = here("manifest", "used-by", "--withdrawn", "--lake", exported.lake)
    assert done.stdout.startswith("WITHDRAWN 1 of 3 patients")


@pytest.mark.slow
def test_the_list_shows_that_an_answer_changed_by_a_withdrawal(here: Chest, exported: Exported) -> None:
    def read_state() -> str:
        done = here("manifest", "list", "--check", "--format", "json", "--lake", exported.lake)
        (row,) = json.loads(done.stdout)
        return str(row["state"])

    assert read_state() == "same"
    withdraw(exported)
    assert read_state() == "changed", "before any refresh, at the same snapshot"
