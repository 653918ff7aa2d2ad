"""Ctrl-C, SIGTERM and SIGHUP: one line, the exit code that shells know, nothing left behind, nobody lingering."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import warehouse
from warehouse import synthetic

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
#: The advice of commands that write.
RESUMES = " What was committed is safe; run it again to resume."
#: A query that would run for years.
ENDLESS = "select count(*) from range(1_000_000_000_000) as n(i) where hash(i) = 3"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interrupted")
    synthetic.make_bucket(folder / "bucket", 3, seed=1)
    warehouse.refresh(str(folder / "bucket"), str(folder / "lake"))
    return folder / "lake"


@contextlib.contextmanager
def started(
    folder: Path, *words: object, python: tuple[str, ...] = (), **variables: str
) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, with a place of its own for what is temporary."""
    (folder / "tmp").mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, *python, "-c", "from warehouse.cli import main; main()", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder / "tmp"), **variables},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def end(process: subprocess.Popen[str], number: signal.Signals, advice: str = "") -> str:
    """Send a signal; what the process writes to stderr until it ends as it should, with this advice."""
    process.send_signal(number)
    _, output = process.communicate(timeout=60)
    assert process.returncode == CODES[number], output
    by = "" if number is signal.SIGINT else f" by {number.name}"
    assert output.endswith(f"chest: interrupted{by}.{advice}\n")
    assert "Traceback" not in output
    assert output.count("chest: ") == 1
    return output


def wait_for(folder: Path, pattern: str) -> Path:
    """The first file of a name, once it is there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in folder.glob(pattern):
            return path
    raise AssertionError(f"no {pattern}")


@pytest.mark.slow
@pytest.mark.parametrize("number", CODES)
def test_a_partial_file_is_removed_after_a_signal(lake: Path, tmp_path: Path, number: signal.Signals) -> None:
    query = "select i from range(1_000_000_000_000) as n(i)"
    with started(tmp_path, "sql", query, "--lake", lake, "-o", tmp_path / "a.csv") as process:
        wait_for(tmp_path, ".chest-part-*")
        assert end(process, number).count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tmp"]
    assert not any((tmp_path / "tmp").iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_query_ends_with_the_signal(lake: Path, tmp_path: Path, number: signal.Signals) -> None:
    os.mkfifo(tmp_path / "pipe")
    with started(tmp_path, "sql", "-f", tmp_path / "pipe", "--lake", lake) as process:
        with (tmp_path / "pipe").open("w") as pipe:  # waits until the command reads
            pipe.write(ENDLESS)
        end(process, number)
    assert not any((tmp_path / "tmp").iterdir())


def test_a_blocking_library_call_does_not_keep_the_process(lake: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    query = f"from read_csv('{tmp_path}/pipe')"
    with (
        started(tmp_path, "sql", query, "--lake", lake) as process,
        (tmp_path / "pipe").open("w"),  # and never writes anything
    ):
        end(process, signal.SIGTERM)
    assert not any((tmp_path / "tmp").iterdir())


def test_a_bucket_that_does_not_answer_does_not_keep_the_process(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "eu-west-2"}
        command = ("refresh", "s3://bucket", "--lake", tmp_path / "lake")
        with started(tmp_path, *command, AWS_ENDPOINT_URL=address, **keys) as process:
            silent.accept()
            end(process, signal.SIGTERM, RESUMES)
    assert not any((tmp_path / "tmp").iterdir())


@pytest.mark.parametrize("module", ["warehouse.filesystem.permissions", "typer.main", "duckdb"])
def test_a_signal_during_the_imports_is_one_line_too(lake: Path, tmp_path: Path, module: str) -> None:
    with started(tmp_path, "sql", ENDLESS, "--lake", lake, python=("-X", "importtime")) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.rstrip().endswith(f" {module}"):
                break
        end(process, signal.SIGINT)


def test_a_signal_that_the_parent_ignores_is_ignored(lake: Path, tmp_path: Path) -> None:
    code = (
        "import signal, os, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.executable, sys.argv[1:])"
    )
    chest = [sys.executable, "-c", "from warehouse.cli import main; main()"]
    os.mkfifo(tmp_path / "pipe")
    process = subprocess.Popen(
        [sys.executable, "-c", code, *chest, "sql", "-f", tmp_path / "pipe", "--lake", lake],
        stdout=subprocess.PIPE,
        text=True,
    )
    with (tmp_path / "pipe").open("w") as pipe:
        process.send_signal(signal.SIGHUP)
        pipe.write("select 17")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "17" in out


def test_a_refresh_resumes_after_a_signal(tmp_path: Path) -> None:
    synthetic.make_bucket(tmp_path / "bucket", 12, seed=2)
    with started(tmp_path, "refresh", tmp_path / "bucket", "--lake", tmp_path / "lake") as process:
        wait_for(tmp_path / "lake", "catalog.sqlite")
        end(process, signal.SIGTERM, RESUMES)
    assert not any((tmp_path / "tmp").iterdir())
    warehouse.refresh(str(tmp_path / "bucket"), str(tmp_path / "lake"))
    with warehouse.open(str(tmp_path / "lake")) as wh:
        assert wh.sql("select count(distinct patient_id) from patients").fetchone() == (12,)
