"""All that a command makes is for its owner and group, whatever the umask, unless CHEST_SHARE is set."""

import os
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from warehouse.cli import main

Run = Callable[..., None]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process, under a umask."""

    def command(umask: int, *words: object) -> None:
        os.umask(umask)
        monkeypatch.setattr(sys, "argv", ["chest", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 0

    return command


def modes(folder: Path) -> set[tuple[str, str]]:
    """Kind and permissions of everything in a folder, links not followed."""
    found = [path.lstat().st_mode for path in folder.rglob("*")]
    return {("folder" if stat.S_ISDIR(mode) else "file", f"{stat.S_IMODE(mode):o}") for mode in found}


def make_everything(run: Run, folder: Path, umask: int) -> None:
    lake = ("--lake", folder / "lake")
    run(umask, "sample", folder / "above" / "bucket", "--patients", 4, "--seed", 1, "-q")
    run(umask, "refresh", folder / "above" / "bucket", *lake, "-q")
    run(umask, "sql", "from patients", *lake, "-o", folder / "a.csv")
    run(umask, "sql", "from patients", *lake, "-o", folder / "a.parquet")
    run(umask, "export", *lake, "-o", folder / "exports" / "all")
    run(umask, "report", *lake, "-o", folder / "report.html")
    run(umask, "cohort", "attrition", "covid_risk", *lake, "-o", folder / "flow.svg")
    run(umask, "manifest", "export", "covid_risk", *lake, "-o", folder / "manifest")
    run(umask, "manifest", "download", folder / "manifest", *lake, "-o", folder / "data", "-q")
    run(umask, "backup", folder / "backup", *lake, "-q")
    run(umask, "maintain", *lake, "-q")


def test_everything_is_for_owner_and_group(run: Run, tmp_path: Path) -> None:
    make_everything(run, tmp_path, 0o000)
    assert modes(tmp_path) == {("folder", "750"), ("file", "640")}
    kinds = Counter(path.suffix for path in tmp_path.rglob("*"))
    assert {".csv", ".parquet", ".html", ".svg", ".json", ".dcm", ".lock", ".sqlite", ".txt"} <= set(kinds)
    assert not [path for path in tmp_path.rglob("*") if "chest-" in path.name]


@pytest.mark.slow
def test_a_setting_overrides_the_permissions(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for share, umask, file, folder in (
        ("private", 0o022, "600", "700"),
        ("all", 0o077, "644", "755"),
        ("group", 0o077, "640", "750"),
    ):
        monkeypatch.setenv("CHEST_SHARE", share)
        run(umask, "sample", tmp_path / share / "bucket", "--patients", 1, "-q")
        run(umask, "refresh", tmp_path / share / "bucket", "--lake", tmp_path / share / "lake", "-q")
        assert modes(tmp_path / share) == {("folder", folder), ("file", file)}


@pytest.mark.slow
def test_a_lake_of_the_library_is_no_more_open_and_the_umask_is_as_before(tmp_path: Path) -> None:
    code = """
import os, pathlib, sys, warehouse
from warehouse import synthetic
os.umask(0)
synthetic.make_bucket(pathlib.Path(sys.argv[1]) / "bucket", 2)
warehouse.refresh(sys.argv[1] + "/bucket", sys.argv[1] + "/lake")
print(os.umask(0))
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert done.stdout == "0\n", done.stderr
    assert modes(tmp_path) == {("folder", "750"), ("file", "640")}
