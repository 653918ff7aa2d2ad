"""What changed since a snapshot: random edits of a bucket, and the views at both snapshots compared row by row."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from conftest import Chest, start_lake

import warehouse

DAYS = (None, "2020-05-01", "2021-02-01")
IMAGE = ("etag", "dcm_key", "dcm_etag", "rules")
NAMES = {"etag": "content", "dcm_key": "image", "dcm_etag": "image", "rules": "rules"}


def edit_bucket(bucket: Path, seed: int) -> None:
    """Remove, rewrite and add some objects of every kind."""
    rng = random.Random(seed)
    files = sorted(bucket.glob("*/*/*/*/*"))
    for path in rng.sample(files, 24):
        if path.suffix == ".dcm" and rng.random() < 0.5:
            path.unlink()
        elif path.suffix == ".dcm":
            path.write_bytes(path.read_bytes() + b"\0" * rng.randint(1, 9))
        elif rng.random() < 0.3:
            path.unlink()
        else:
            path.write_text(path.read_text() + " " * rng.randint(1, 9))
    for path in rng.sample(sorted(bucket.glob("*/*/data/*/data.json")), 3):
        later = path.parent.parent / "2021-01-01"
        later.mkdir(exist_ok=True)
        (later / "data.json").write_text(json.dumps({**json.loads(path.read_text()), "Age": rng.randint(20, 90)}))
    for path in rng.sample(sorted(bucket.glob("*/*/images_metadata/*/*.json")), 3):
        (path.parent / f"{path.stem}.9.json").write_text(path.read_text())


def read_rows(wh: warehouse.Warehouse) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Every row of the two views, by view, source and key."""
    found = {}
    for view, columns in (("images", IMAGE), ("clinical_history", ("etag", "rules"))):
        names = ", ".join(("source", "key", "group_name", "patient_id", *columns))
        answer = wh.sql(f"select {names} from {view}")
        for row in answer.fetchall():
            values = dict(zip(answer.columns, row, strict=True))
            found[view, values["source"], values["key"]] = values
    return found


def compare_rows(then: warehouse.Warehouse, now: warehouse.Warehouse) -> set[tuple[Any, ...]]:
    old, new = read_rows(then), read_rows(now)
    found = set()
    for row in old.keys() | new.keys():
        a, b = old.get(row), new.get(row)
        if a is None or b is None:
            found.add((*row, "added" if a is None else "removed", None))
        elif differing := tuple(sorted({NAMES[name] for name in NAMES if name in a and a[name] != b[name]})):
            found.add((*row, "changed", differing))
    return found


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """A lake of three published snapshots; the last two each follow edits of the bucket."""
    from warehouse.synthetic import make_bucket

    folder = tmp_path_factory.mktemp("changes")
    lake = start_lake(folder / "lake")
    make_bucket(folder / "bucket", patients=12, seed=5)
    settings = warehouse.Settings(max_removals_percent=100)
    published = []
    for seed in range(3):
        if seed:
            edit_bucket(folder / "bucket", seed)
        published.append(warehouse.refresh(folder / "bucket", lake, settings=settings).published.snapshot)
    return lake, published


@pytest.mark.slow
@pytest.mark.parametrize("group", ["training", "all"])
@pytest.mark.parametrize("day", DAYS)
def test_changes_are_the_rows_that_differ(lake: tuple[Path, list[int]], day: str | None, group: str) -> None:
    place, published = lake
    for since, until in ((0, 1), (1, 2), (0, 2)):
        then = warehouse.open(str(place), snapshot=published[since]).group(group)
        now = warehouse.open(str(place), snapshot=published[until]).group(group)
        if day:
            then, now = then.as_of(day), now.as_of(day)
        found = now.changes_since(published[since]).select("relation, source, key, change, why").fetchall()
        shown = [(*row[:4], None if row[4] is None else tuple(sorted(row[4]))) for row in found]
        assert set(shown) == compare_rows(then, now)
        assert len(shown) == len(set(shown))
        if day is None:
            assert {row[3] for row in shown} == {"added", "changed", "removed"}


def test_nothing_changed_since_the_same_snapshot(lake: tuple[Path, list[int]]) -> None:
    place, published = lake
    assert warehouse.open(str(place)).changes_since(published[-1]).fetchall() == []


def test_the_command_joins_changes_with_the_views(lake: tuple[Path, list[int]], here: Chest) -> None:
    place, published = lake
    query = """select count(*) as n, count(images.key) as joined
               from changes left join images using (source, key)
               where relation = 'images' and change <> 'removed'"""
    out = here("sql", query, "--since", published[0], "--lake", place, "--format", "json")
    assert out.returncode == 0, out.stderr
    (row,) = json.loads(out.stdout)
    assert row["n"] == row["joined"] > 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--since", "1"), "is not a published snapshot"),
        (("--since", "999"), "is later than snapshot"),
        (("--since", "{last}", "--untrusted"), "are not available to untrusted SQL"),
    ],
)
def test_a_wrong_snapshot_is_one_line(
    lake: tuple[Path, list[int]], here: Chest, options: tuple[str, ...], reason: str
) -> None:
    place, published = lake
    words = [word.format(last=published[-1]) for word in options]
    out = here("sql", "from changes", *words, "--lake", place)
    assert out.returncode == 2
    assert reason in out.stderr
    assert len(out.stderr.splitlines()) == 1
