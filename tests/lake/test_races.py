"""Exports to one folder, maintenance while a manifest is made or a lake opened. They wait for each other."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from conftest import Prepared, copy_lake, write_objects

import warehouse
from warehouse.errors import UsageError
from warehouse.lake import location, maintenance, snapshots, store
from warehouse.manifests.register import list_entries
from warehouse.manifests.reproduce import reproduce
from warehouse.settings import Settings

COHORT = """\
-- title: Patients
-- question: Who is there?
-- grain: patient
select patient_id from patients where patient_id {which}
"""
#: The command, which waits for a line on stdin before it takes the writer's lock for the first time, or the second: an
#: audit hook sees that the file is opened.
STOPPING = """
import sys
tries = int(sys.argv.pop(1))

def stop(event, words):
    global tries
    if event == "open" and str(words[0]).endswith("writer.lock"):
        tries -= 1
        if not tries:
            print("ready", flush=True)
            sys.stdin.readline()

sys.addaudithook(stop)
from warehouse.cli import main
main()
"""


def record(patient: str, centre: str = "Leeds") -> dict[str, bytes | str]:
    content = {"Pseudonym": patient, "SwabStatus": "Negative", "SubmittingCentre": centre}
    return {f"training/{patient}/data/2020-03-01/data.json": json.dumps(content)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return Prepared.of(tmp_path_factory.mktemp("races"), {**record("P1"), **record("P2"), **record("P3")})


@pytest.fixture
def lake(prepared: Prepared, tmp_path: Path) -> str:
    return str(copy_lake(prepared.lake, tmp_path / "lake"))


@pytest.fixture
def export(lake: str, tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start an export of some patients to the folder `made`; it has everything written but its name, and waits."""
    running: list[subprocess.Popen[str]] = []

    def start(which: str, tries: int = 1) -> subprocess.Popen[str]:
        cohort = tmp_path / f"cohort{len(running)}.sql"
        cohort.write_text(COHORT.format(which=which))
        folder = str(tmp_path / "made")
        command = [sys.executable, "-c", STOPPING, str(tries), "manifest", "export", str(cohort), "-o", folder]
        process = subprocess.Popen(
            [*command, "--lake", lake],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def go_on(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Let it end: its exit code, and what it wrote to stderr."""
    _, output = process.communicate("\n", timeout=60)
    return process.returncode, output


def publish_another(prepared: Prepared, lake: str) -> None:
    """Publish a snapshot beside that which readers have."""
    bucket = prepared.restore_bucket()
    write_objects(bucket, record("P4"))
    assert warehouse.refresh(str(bucket), lake).published.is_new


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 1])
def test_of_two_exports_to_one_folder_one_wins(
    export: Callable[[str], "subprocess.Popen[str]"], lake: str, tmp_path: Path, first: int
) -> None:
    both = [export("= 'P1'"), export("<> 'P1'")]
    assert go_on(both[first])[0] == 0
    code, output = go_on(both[1 - first])
    assert (code, output.count("\n")) == (2, 1)
    assert "is in the way: name a new folder" in output
    manifest = warehouse.manifest(tmp_path / "made")
    assert manifest.contents.sources is not None  # reads every file, and compares it with its hash
    assert len(manifest.about["without_images"]) == (1, 2)[first]
    assert not list(tmp_path.glob(".chest-*"))
    assert [entry["digest"] for entry in list_entries(lake)] == [manifest.digest]


@pytest.mark.slow
def test_a_snapshot_expired_before_its_manifest_is_recorded_fails_the_export(
    export: Callable[[str], "subprocess.Popen[str]"], prepared: Prepared, lake: str, tmp_path: Path
) -> None:
    process = export("is not null")
    publish_another(prepared, lake)
    assert maintenance.maintain(lake, keep_days=0).expired
    code, output = go_on(process)
    assert (code, output.count("\n")) == (1, 1)
    assert "cannot be reproduced. Export it again" in output
    assert not (tmp_path / "made").exists()


@pytest.mark.slow
def test_an_export_waits_for_a_writer_and_keeps_its_snapshot(
    export: Callable[[str, int], "subprocess.Popen[str]"], prepared: Prepared, lake: str, tmp_path: Path
) -> None:
    with store.open_writer(location.parse_address(lake), Settings()):
        process = export("is not null", 2)  # the lock was refused to it once
        assert not (tmp_path / "made").exists()
    assert "recorded" not in go_on(process)[1]
    assert process.returncode == 0
    publish_another(prepared, lake)
    maintenance.maintain(lake, keep_days=0)
    manifest = warehouse.manifest(tmp_path / "made")
    assert reproduce(manifest, lake).digest == manifest.digest


@pytest.mark.slow
def test_maintenance_keeps_what_a_manifest_is_being_made_from(
    export: Callable[[str], "subprocess.Popen[str]"], prepared: Prepared, lake: str, tmp_path: Path
) -> None:
    process = export("is not null")
    publish_another(prepared, lake)
    maintenance.maintain(lake, keep_days=1)
    assert go_on(process)[0] == 0
    maintenance.maintain(lake, keep_days=0)
    manifest = warehouse.manifest(tmp_path / "made")
    assert reproduce(manifest, lake).digest == manifest.digest


def between(name: str, step: Callable[[], object], work: Callable[[], Any]) -> Any:
    """Do `work`, and `step` once in its middle: when the function `name` of the lake's snapshots has returned."""
    stepped: list[object] = []

    def watch(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "return" and code.co_name == name and code.co_filename == snapshots.__file__ and not stepped:
            stepped.append(frame)
            sys.setprofile(None)
            step()

    sys.setprofile(watch)
    try:
        return work()
    finally:
        sys.setprofile(None)
        assert stepped, f"{name} was not called"


@pytest.mark.slow
def test_a_reader_that_opens_while_its_snapshot_goes_tries_again(prepared: Prepared, lake: str) -> None:
    def supersede() -> None:
        publish_another(prepared, lake)
        assert maintenance.maintain(lake, keep_days=0).expired

    with between("find_published", supersede, lambda: warehouse.open(lake)) as wh:
        assert wh.sql("select count(*) from patients").fetchone() == (4,)


@pytest.mark.slow
def test_a_snapshot_that_was_asked_for_and_goes_meanwhile_is_named(prepared: Prepared, lake: str) -> None:
    with warehouse.open(lake) as wh:
        number = wh.snapshot.number

    def supersede() -> None:
        publish_another(prepared, lake)
        maintenance.maintain(lake, keep_days=0)

    with pytest.raises(UsageError, match=f"Snapshot {number} of .* is gone: maintenance keeps"):
        between("find_published", supersede, lambda: warehouse.open(lake, snapshot=number))


@pytest.mark.slow
def test_a_reader_that_is_open_keeps_its_snapshot(prepared: Prepared, lake: str) -> None:
    with warehouse.open(lake) as wh:
        publish_another(prepared, lake)
        maintenance.maintain(lake, keep_days=1)
        assert wh.sql("select count(*) from patients").fetchone() == (3,)
        assert wh.sql("select count(*) from clinical_history").fetchone() == (3,)
    with warehouse.open(lake) as wh:
        assert wh.sql("select count(*) from patients").fetchone() == (4,)
