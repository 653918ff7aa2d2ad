"""The workbench: its notebooks run from top to bottom over a lake, and are copied without overwriting anything."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from conftest import copy_lake, start_lake
from servers import S3, wait_for_port

import warehouse
from warehouse.synthetic import make_bucket
from warehouse.workbench import NOTEBOOKS, copy_notebooks

DOCS = Path(warehouse.__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def bucket(served_bucket: Path) -> Path:
    return served_bucket


@pytest.fixture(scope="module")
def lake(served_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_lake(served_lake, tmp_path_factory.mktemp("workbench") / "lake")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NOTEBOOKS])
def test_each_notebook_runs_from_top_to_bottom_and_again(name: str, lake: Path, tmp_path: Path) -> None:
    pytest.importorskip("marimo")
    copy_notebooks(tmp_path / "mine")
    for _ in range(2 if name in ("cohort_to_manifest", "images_in_a_grid") else 1):  # those find their manifest
        ran = subprocess.run(
            [sys.executable, tmp_path / "mine" / f"{name}.py"],
            env={**os.environ, "CHEST_LAKE": str(lake)},
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert ran.returncode == 0, ran.stderr[-2000:]
    made = {path.name for path in (tmp_path / "mine").iterdir()}
    expected = {"quality": "report.html", "cohort_to_manifest": "manifests", "images_in_a_grid": "data"}
    assert expected.get(name, f"{name}.py") in made


@pytest.mark.slow
def test_notebooks_show_what_the_lake_has(lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What their cells define is what the library answers."""
    pytest.importorskip("marimo")
    import runpy

    monkeypatch.setenv("CHEST_LAKE", str(lake))
    copy_notebooks(tmp_path)
    _, tour = runpy.run_path(str(tmp_path / "tour.py"))["app"].run()
    _, prior = runpy.run_path(str(tmp_path / "prior_to_a_day.py"))["app"].run()
    with warehouse.open(lake) as wh:
        assert sum(tour["patients"]["patients"]) == len(wh.patients().fetchall())
        then = wh.as_of(prior["day"].value)
        assert prior["patients"].height == len(then.patients().fetchall())
        headers = then.sql("select key from images").fetchall()
        assert set(prior["objects"].filter(kind="header")["key"]) == {key for (key,) in headers}


#: A name that a hospital may give to the folder of a patient, to a scanner, or to itself.
HOSTILE = "<iframe srcdoc='<script>1</script>'>`_*[x](y)"


@pytest.fixture(scope="module")
def hostile_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of a bucket in which the folders of all patients, their hospitals and what was examined are markup."""
    root = tmp_path_factory.mktemp("hostile")
    make_bucket(root / "bucket", 12, seed=1, clean=True)
    for path in [path for path in (root / "bucket").rglob("*.json") if path.is_file()]:
        text = re.sub(
            r'("SubmittingCentre"\s*:\s*)"[^"]*"', lambda found: f"{found[1]}{json.dumps(HOSTILE)}", path.read_text()
        )
        path.write_text(text)
    for number, patient in enumerate(sorted((root / "bucket").glob("*/*/"))):
        patient.rename(patient.with_name(f"{HOSTILE.replace('/', '')}{number}"))
    warehouse.refresh(str(root / "bucket"), str(start_lake(root / "lake")))
    return root / "lake"


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NOTEBOOKS])
def test_no_value_of_the_lake_is_markup_in_a_notebook(
    name: str, hostile_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In marimo's pages markup is code, and it would run commands: its page may open a terminal and run cells."""
    mo = pytest.importorskip("marimo")
    import runpy

    monkeypatch.setenv("CHEST_LAKE", str(hostile_lake))
    copy_notebooks(tmp_path)
    outputs, _ = runpy.run_path(str(tmp_path / f"{name}.py"))["app"].run()
    shown = "".join(mo.as_html(output).text for output in outputs if output is not None)
    assert "<iframe" not in shown
    assert "<script" not in shown
    if name in ("images_in_a_grid", "one_patient"):
        assert "&lt;iframe" in shown or "u003ciframe" in shown, "the hostile names were shown at all"
    if name == "images_in_a_grid":
        assert "<pre class='text-xs'>&lt;iframe" in shown


def test_a_file_that_is_there_is_never_overwritten(tmp_path: Path, here: Callable[..., Any]) -> None:
    mine = tmp_path / "notebooks"
    mine.mkdir()
    (mine / "tour.py").write_text("mine")
    (mine / "quality.py").symlink_to(tmp_path / "elsewhere.py")
    done = here("workbench", mine, "--copy-only")
    assert done.returncode == 0
    assert "Left as they are: tour.py, quality.py." in done.stderr
    assert (mine / "tour.py").read_text() == "mine"
    assert not (tmp_path / "elsewhere.py").exists()
    assert len(done.stdout.splitlines()) == len(NOTEBOOKS) - 2
    blocked = here("workbench", mine / "tour.py", "--copy-only")
    assert blocked.returncode == 2
    assert "cannot be written" in blocked.stderr


def test_the_workbench_opens_on_the_lake_that_is_named(lake: Path, tmp_path: Path, here: Callable[..., Any]) -> None:
    pytest.importorskip("marimo")
    from websockets.exceptions import ConnectionClosed, InvalidStatus
    from websockets.sync.client import connect

    missing = here("workbench", tmp_path / "mine", "--lake", tmp_path / "nothing")
    assert missing.returncode == 2
    assert not (tmp_path / "mine").exists()
    words = ["workbench", str(tmp_path / "mine"), "--lake", str(lake), "--no-open"]
    command = [sys.executable, "-c", "from warehouse.cli import main; main()", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as running:
        assert running.stdout
        address = next(found[0] for line in running.stdout if (found := re.search(r"http://\S+access_token=\S+", line)))
        assert address.startswith(("http://localhost:", "http://127.0.0.1:"))
        place = urlsplit(address)
        socket = f"ws://127.0.0.1:{place.port}/terminal/ws?{place.query}"
        wait_for_port(place.port or 0)
        with urlopen(address, timeout=20) as page:
            assert b"marimo" in page.read()
            policy = page.headers["Content-Security-Policy"]
        assert "img-src 'self' data: blob:" in policy  # marimo's tables show the address of a picture as the picture
        with pytest.raises((InvalidStatus, ConnectionClosed)), connect(socket) as terminal:
            terminal.recv(timeout=20)  # marimo's terminal in the browser, which the notebooks do not need
        running.terminate()
        running.communicate(timeout=60)


def read_settings(folder: Path, home: Path) -> str:
    """The settings that marimo itself finds for what is in a folder, its user's home being another."""
    shown = subprocess.run(
        [sys.executable, "-P", "-m", "marimo", "config", "show"],
        cwd=folder,
        env={**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")},
        capture_output=True,
        text=True,
        check=True,
    )
    return shown.stdout


@pytest.mark.slow
def test_marimo_takes_no_settings_from_the_folder_where_the_workbench_is_started(
    tmp_path: Path, here: Callable[..., Any]
) -> None:
    """It may be somebody else's: settings can put their files before all modules, and name servers for one's words."""
    pytest.importorskip("marimo")
    home, theirs = tmp_path / "home", tmp_path / "theirs"
    home.mkdir()
    theirs.mkdir()
    (theirs / "pyproject.toml").write_text('[tool.marimo.runtime]\npythonpath = ["."]\n')
    (theirs / "workbench").mkdir()
    assert f'pythonpath = ["{theirs}"]' in read_settings(theirs / "workbench", home)
    assert here("workbench", theirs / "workbench", "--copy-only").returncode == 0
    assert "pythonpath" not in read_settings(theirs / "workbench", home)
    (theirs / "workbench/pyproject.toml").write_text("mine")
    assert here("workbench", theirs / "workbench", "--copy-only").returncode == 0
    assert (theirs / "workbench/pyproject.toml").read_text() == "mine"


def test_settings_of_marimo_in_the_working_directory_are_refused(
    lake: Path, tmp_path: Path, here: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("marimo")
    (tmp_path / ".marimo.toml").write_text("[runtime]\npythonpath = ['theirs']\n")
    (tmp_path / "below").mkdir()
    for folder in (tmp_path, tmp_path / "below"):
        monkeypatch.chdir(folder)
        refused = here("workbench", "mine", "--lake", lake, "--no-open")
        assert refused.returncode == 2
        assert f"{tmp_path / '.marimo.toml'} would set marimo up" in refused.stderr
        assert not (folder / "mine").exists()


def read_examples() -> dict[str, str]:
    """The Python of docs/workbench.md by the heading above it."""
    text = (DOCS / "workbench.md").read_text()
    found: dict[str, str] = {}
    for section in re.split(r"^##+ ", text, flags=re.MULTILINE):
        title = section.partition("\n")[0]
        for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
            found[title] = found.get(title, "") + block
    return found


@pytest.mark.slow
def test_boto3_alone_and_the_warehouse_find_the_same_objects(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The samples of docs/workbench.md as they are printed, over a bucket of S3; ours and boto3's."""
    folder, lake, name = tmp_path / "bucket", tmp_path / "lake", "chest-data-warehouse"
    make_bucket(folder, 12, seed=1, clean=True)
    s3.upload(folder, name)
    warehouse.refresh(f"s3://{name}", str(lake))
    monkeypatch.setenv("CHEST_LAKE", str(lake))
    examples = read_examples()
    for title in ("All data prior to a day", "All data of one patient"):
        values: dict[str, Any] = {}
        exec(examples[title], values)
        assert values["keys"] == values["ours"], title
        assert values["keys"], title
