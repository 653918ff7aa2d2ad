"""Records are cleaned again when rules changed or the lake is older than them: from the lake, not the bucket."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import write_objects

import warehouse
from warehouse.catalog import columns
from warehouse.lake import location
from warehouse.lake import store as lake
from warehouse.settings import Settings

ROOT = Path(warehouse.__file__).parent.parent
KEY = "training/data/P{}/data_2020-05-01.json"
ASK = "select patient_id, age, temperature_on_admission, pao2_unit from clinical order by 1"
ISSUES = "select patient_id, rule from clinical_issues order by all"


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """Records that only the lake remembers: once loaded, their objects are overwritten with something else."""
    record = {"Age": "70.6", "Temperature on admission": "41.5", "PaO2": "10 kPa"}
    write_objects(tmp_path / "bucket", {KEY.format(n): json.dumps(record) for n in (1, 2)})
    return tmp_path / "bucket"


def spoil(bucket: Path) -> None:
    for path in bucket.rglob("*.json"):
        stat = path.stat()
        path.write_bytes(b"x" * stat.st_size)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def ask(lake: str, query: str) -> list[tuple[Any, ...]]:
    with warehouse.open(lake) as opened:
        return opened.sql(query).fetchall()


WHOLE = [("P1", 71, 41.5, "kPa"), ("P2", 71, 41.5, "kPa")]
EXPLAINED = [(p, rule) for p in ("P1", "P2") for rule in ("number_from_text", "rounded", "unit_not_convertible")]


@pytest.mark.slow
def test_a_lake_of_the_schema_before_is_filled_by_the_next_refresh(tmp_path: Path, bucket: Path) -> None:
    folder = str(tmp_path / "lake")
    warehouse.refresh(str(bucket), folder)
    with lake.open_writer(location.parse_address(folder), Settings()) as con:
        lake.transact(con, "as it was", lambda: make_old(con))
    spoil(bucket)
    result = warehouse.refresh(str(bucket), folder)
    assert (result.clinical.recleaned, result.clinical.loaded, result.published.is_new) == (2, 0, True)
    assert ask(folder, ASK) == WHOLE
    assert ask(folder, ISSUES) == EXPLAINED
    again = warehouse.refresh(str(bucket), folder)
    assert (again.clinical.recleaned, again.published.is_new) == (0, False)


def make_old(con: Any) -> None:
    """Take the lake back to schema 2: no typed columns, no issues, no manifests."""
    before = {"source", "key", "etag", "size", "last_modified", "group_name", "patient_id", "available_date"}
    before |= {"kind", "pseudonym", "submitting_centre"}
    for view in ("clinical_issues", "clinical_changes", "completeness", "patients", "clinical", "clinical_history"):
        con.execute(f"drop view {view}")
    for column in columns.load_relations()["core.clinical"].columns:
        if column.name not in before:
            con.execute(f'alter table core.clinical drop column "{column.name}"')
    con.execute("drop table core.clinical_issues; drop table ops.manifests")
    con.execute("delete from ops.migrations where number > 2")


@pytest.mark.slow
def test_an_edited_rule_is_applied_to_what_the_lake_has(tmp_path: Path, new_lake: Path, bucket: Path) -> None:
    folder, house = str(new_lake), tmp_path / "house"
    warehouse.refresh(str(bucket), folder)
    write_objects(bucket, {KEY.format(3): json.dumps({"Temperature on admission": "41.5"})})
    for part in ("warehouse", "sql"):
        shutil.copytree(ROOT / part, house / part, ignore=shutil.ignore_patterns("__pycache__"))
    table = house / "sql/columns/clinical.csv"
    (row,) = (line for line in table.read_text().splitlines() if line.startswith("temperature_on_admission,"))
    table.write_text(table.read_text().replace(row, row.replace(",25,45,", ",25,41,")))
    for n in (1, 2):
        path = bucket / KEY.format(n)
        stat = path.stat()
        path.write_bytes(b"x" * stat.st_size)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    code = f"import sys; sys.path.insert(0, {str(house)!r}); from warehouse.cli import main; main()"
    command = [sys.executable, "-c", code, "refresh", str(bucket), "--lake", folder, "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=house)
    assert done.returncode == 0, done.stderr
    assert "Cleaned 2 clinical files again" in done.stdout
    found = ask(folder, "select patient_id, temperature_on_admission from clinical order by 1")
    assert found == [("P1", None), ("P2", None), ("P3", None)]
    assert ask(folder, "select count(distinct rules), count(*) from clinical_history") == [(1, 3)]
    issue = "select raw_value, clean_value from clinical_issues where rule = 'out_of_range'"
    assert ask(folder, issue) == [("41.5", None)] * 3


@pytest.mark.slow
def test_an_old_snapshot_keeps_its_old_values(new_lake: Path, bucket: Path, chest: Callable[..., Any]) -> None:
    folder = str(new_lake)
    first = warehouse.refresh(str(bucket), folder).published.snapshot
    with lake.open_writer(location.parse_address(folder), Settings()) as con:
        lake.transact(con, "other rules", lambda: con.execute("update core.clinical set rules = 'other', age = 7"))
    warehouse.refresh(str(bucket), folder)
    assert ask(folder, ASK) == WHOLE
    with warehouse.open(folder, snapshot=first) as then:
        assert then.sql(ASK).fetchall() == WHOLE
