"""A wheel built from the repository works away from it: SQL, templates and the page of the report ship inside."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import warehouse

ROOT = Path(warehouse.__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = out.glob("*.whl")
    return found


def test_the_wheel_has_all_sql_and_nothing_else_of_ours(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    sql = {f"warehouse/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "sql").rglob("*") if path.is_file()}
    assert len(sql) > 20
    assert sql <= names
    assert {
        "warehouse/synthetic/headers.json",
        "warehouse/quality_report/page.html",
        "warehouse/quality_report/page.css",
    } <= names
    assert "warehouse/manifests/manifest.schema.json" in names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"warehouse"}


@pytest.mark.slow
def test_a_clean_environment_runs_it(wheel: Path, tmp_path: Path) -> None:
    """The environment is new; the libraries we depend on come from where they are installed, offline."""
    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    (packages,) = home.glob("lib/python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin/python"), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--quiet", str(wheel)], check=True)
    # .pth files in a folder that a .pth file names (our editable one) do not count.
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run(str(home / "bin/python"), "-c", "import warehouse; print(warehouse.__file__)").strip()
    assert Path(where) == packages / "warehouse/__init__.py"
    chest = str(home / "bin/chest")
    run(chest, "sample", "bucket", "--patients", "2")
    run(chest, "refresh", "bucket", "--lake", "lake")
    found = json.loads(run(chest, "status", "--lake", "lake", "--format", "json"))
    truth = json.loads((tmp_path / "bucket/truth.json").read_text())
    assert {name: found[name] for name in ("objects", "image_json", "patients")} == {
        name: truth[name] for name in ("objects", "image_json", "patients")
    }
    run(chest, "report", "--lake", "lake", "-o", "report.html", "--suppress", "0")
    assert "</svg>" in (tmp_path / "report.html").read_text()
    assert "KVP" in run(chest, "describe", "images")
