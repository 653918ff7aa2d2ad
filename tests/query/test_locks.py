"""A reader between two questions holds no lock: whoever refreshes the lake need not wait for an idle notebook."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import copy_lake, start_lake

import warehouse
from warehouse.access import log, vocabulary
from warehouse.lake import location, store
from warehouse.lake.location import READ_COPY
from warehouse.lake.read_copy import find_read_copy
from warehouse.manifests import register
from warehouse.query.status import measure_status
from warehouse.settings import Settings
from warehouse.synthetic import make_bucket

# In a process of its own: a second SQLite library in this one would drop the reader's locks.
ASK = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None).execute('begin exclusive')"

QUESTIONS: dict[str, Callable[[warehouse.Warehouse], Any]] = {
    "a query": lambda wh: wh.sql("select count(*) from images").fetchall(),
    "a refused query": lambda wh: wh.sql("from reads", trusted=False),
    "a query that is no query": lambda wh: wh.sql("selec 1", trusted=False),
    "a table of the lake": lambda wh: wh.sql("from core.images", trusted=False),
    "a failing query": lambda wh: wh.sql("select cast(key as integer) from images", trusted=False),
    "whether there is a view": lambda wh: wh.has("images", "KVP"),
    "an unknown group": lambda wh: wh.group("nobody"),
    "an unknown patient": lambda wh: wh.patient("nobody"),
    "a patient": lambda wh: wh.patient("Covid1").clinical_changes(),
    "checks": lambda wh: wh.check(),
    "status": measure_status,
    "changes": lambda wh: wh.changes_since(wh.snapshot.number).fetchall(),
    "changes since never": lambda wh: wh.changes_since(1),
    "a cohort": lambda wh: wh.cohort("covid_risk").rows,
    "a cohort with a wrong parameter": lambda wh: wh.cohort("covid_risk", min_age="x"),
    "attrition": lambda wh: wh.cohort("covid_risk").attrition(),
    "a split": lambda wh: wh.cohort("covid_risk").split(seed=1).sides(balance=["sex"]),
    "a split by a wrong column": lambda wh: wh.cohort("covid_risk").split(seed=1).sides(balance=["sexx"]),
    "table 1": lambda wh: wh.cohort("covid_risk").table1(by="covid_status"),
    "table 1 by a wrong column": lambda wh: wh.cohort("covid_risk").table1(by="nothing"),
    "why": lambda wh: wh.cohort("covid_risk").why("Covid1"),
    "why nobody": lambda wh: wh.cohort("covid_risk").why("nobody"),
    "the excluded": lambda wh: wh.cohort("covid_risk").excluded(),
}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("locks")
    make_bucket(folder / "bucket", 6, seed=2, stubs=True)
    warehouse.refresh(folder / "bucket", start_lake(folder / "lake"))
    return folder / "lake"


@pytest.mark.slow(
    cases=(
        *("attrition", "checks", "a split", "a split by a wrong column", "why"),
        *("table 1 by a wrong column", "why nobody", "the excluded"),
    )
)
@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("question", QUESTIONS)
def test_no_lock_is_held_after_a_query(lake: Path, question: str, trusted: bool) -> None:
    with warehouse.open(lake, trusted=trusted) as wh:
        with contextlib.suppress(warehouse.WarehouseError):
            QUESTIONS[question](wh)
        done = subprocess.run(
            [sys.executable, "-c", ASK, str(lake / "catalog.sqlite")], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_reader_of_half_an_answer_keeps_nobody_from_writing_or_reading(lake: Path, tmp_path: Path) -> None:
    with warehouse.open(lake) as wh:
        answer = wh.sql("select patient_id from patients order by patient_id")
        first = answer.fetchone()
        done = subprocess.run(
            [sys.executable, "-c", ASK, str(lake / "catalog.sqlite")], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        manifest = wh.cohort("covid_risk").export(tmp_path / "manifest")
        assert [entry["digest"] for entry in register.list_entries(str(lake))].count(manifest.digest) == 1
        assert first not in answer.fetchall()


@pytest.mark.slow
def test_a_catalogue_that_was_put_back_is_read_and_not_the_copy_of_the_later_one(lake: Path, tmp_path: Path) -> None:
    place = copy_lake(lake, tmp_path / "lake")
    older = (place / "catalog.sqlite").read_bytes()
    make_bucket(tmp_path / "bucket", 9, seed=3, stubs=True)
    warehouse.refresh(tmp_path / "bucket", place, add_source=True)
    with warehouse.open(place) as wh:
        newer = wh.snapshot.number
    (place / "catalog.sqlite").write_bytes(older)
    with warehouse.open(place) as wh:
        assert wh.snapshot.number < newer


@pytest.mark.slow
def test_the_copy_of_a_writer_that_died_is_not_read(lake: Path, tmp_path: Path) -> None:
    place = copy_lake(lake, tmp_path / "lake")
    kept = (place / READ_COPY).read_bytes(), (place / READ_COPY).stat()
    make_bucket(tmp_path / "bucket", 9, seed=3, stubs=True)
    warehouse.refresh(tmp_path / "bucket", place, add_source=True)
    with warehouse.open(place) as wh:
        newer = wh.snapshot.number
    (place / READ_COPY).write_bytes(kept[0])
    os.utime(place / READ_COPY, ns=(kept[1].st_atime_ns, kept[1].st_mtime_ns))
    with warehouse.open(place) as wh:
        assert wh.snapshot.number == newer


def test_a_writer_drops_the_copy_of_one_that_died_before_anybody_can_believe_it(lake: Path, tmp_path: Path) -> None:
    place = location.parse_address(str(copy_lake(lake, tmp_path / "lake")))
    warehouse.refresh(lake.parent / "bucket", tmp_path / "lake", add_source=True)
    assert find_read_copy(place)
    os.utime(tmp_path / "lake" / READ_COPY, ns=(1, 1))
    with store.open_writer(place, Settings(), make=False):
        assert find_read_copy(place) is None


@pytest.mark.slow
def test_an_event_of_the_log_takes_the_copy_from_nobody_who_reads_it(lake: Path, tmp_path: Path) -> None:
    """Whatever was asked of a lake that was open already failed until the writer was done: a refused request was
    enough."""
    place = location.parse_address(str(copy_lake(lake, tmp_path / "lake")))
    warehouse.refresh(lake.parent / "bucket", tmp_path / "lake", add_source=True)
    event = log.NewEvent(vocabulary.REFUSED, body={"what": "a test", "reason": "none"})
    with warehouse.open(tmp_path / "lake") as wh:

        def ask(_: object) -> None:
            """As the log is written: who comes now attaches the catalogue, which shows the event at once."""
            assert find_read_copy(place) is None
            for name in ("images", "clinical", "studies"):
                assert wh.fork().sql(f"select count(*) from {name}").fetchall() > [(0,)]

        log.append(place, Settings(), event, also=ask)
        assert find_read_copy(place)
        ask_again = wh.fork().sql("select count(*) from images").fetchall()
    assert ask_again > [(0,)]
