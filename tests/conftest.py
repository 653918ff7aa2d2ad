"""Fixtures that the tests share: the two sample buckets, real S3 servers, and the command as a user runs it."""

import atexit
import gc
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import hypothesis
import pytest
from botocore.loaders import JSONFileLoader
from servers import S3, serve_moto

import warehouse
from warehouse import masking
from warehouse.cli import main
from warehouse.engine import limits
from warehouse.lake import location
from warehouse.lake import store as lakes
from warehouse.settings import Settings

pytest_plugins = ["service_fixtures", "unit_fixtures"]

#: The workers share the cores already, and DuckDB's threads wait busily for the next of many small queries: two take a
#: third more of a core's time than one. tests/query/test_threads.py shows that answers do not depend on their number.
os.environ["CHEST_THREADS"] = "1"

#: A process that a test starts reads compiled modules instead of compiling the package again, a fifth of its start.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

#: The modules of the tests are hundreds of thousands of objects that stay: by default Python looks through them again
#: and again, a quarter of what collecting the tests takes.
gc.set_threshold(20_000, 20, 20)

#: A slow machine is not a fault of what is tested.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

SAMPLES = Path(__file__).parent / "samples"
#: Modules that take longest, longest first, by the seconds of a core that they took; before them those that wait, for
#: Dagster's daemon or for what is tried again. Workers take whole modules in order: the short ones are left for the
#: end, so that no worker waits for another's long one.
LONGEST = [
    f"test_{name}.py"
    for name in (
        *("pipelines_daemon", "torture", "healing", "spark", "unreadable", "pipelines_graph", "maintenance"),
        *("manifests", "any_bucket", "pipelines", "enforcement", "units", "airlock", "placeholders", "purge"),
        *("sandbox", "refresh", "encryption", "masking", "year", "manifests_untrusted", "documents", "workbench"),
        *("endurance", "postgres", "terminal", "untrusted", "explorer", "inventory", "backup", "standing_list"),
        *("every_command", "metadata_tables", "doctor", "credentials", "preparing", "cli", "s3_redirects"),
        *("layouts", "odd_arguments", "explorer_browser", "s3", "stored_sql", "counts_alone", "gate"),
        *("disclosure_control", "pipelines_dev"),
    )
]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """One worker more than there are cores, as one or another waits, unless somebody asks for another number."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 1


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let only the cases be slow that a mark means; put the longest modules first (within a module nothing moves)."""
    seen: Counter[str] = Counter()
    for item in items:
        mark = item.get_closest_marker("slow")
        test = item.nodeid.partition("[")[0]
        if mark and (seen[test] < mark.kwargs.get("after", 0) or not _is_meant(item, mark)):
            item.own_markers.remove(mark)
        seen[test] += 1
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def _is_meant(item: pytest.Item, mark: pytest.Mark) -> bool:
    """Whether a mark names one of the item's arguments among its slow cases, or names none."""
    cases = mark.kwargs.get("cases")
    given = item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
    return cases is None or any(value in cases for value in given if isinstance(value, str))


def pytest_collection_finish() -> None:
    """Leave what was imported and collected out of later searches for garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _one_reading_of_service_models() -> Iterator[None]:
    """Every client of boto3 reads S3's model, a megabyte of JSON, anew; a tenth of a refresh of a small bucket."""
    read = cache(JSONFileLoader().load_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", lambda _self, path: read(path))
        yield


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both sample buckets unpacked, times of writing kept: folders `dated` and `published`."""
    root = tmp_path_factory.mktemp("samples")
    for name in ("dated", "published"):
        with tarfile.open(SAMPLES / f"{name}.tar.gz") as archive:
            archive.extractall(root / name, filter="tar")
    return root


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings or credentials of whoever runs it."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "CHEST_", "DAGSTER_")) and name != "AWS_CA_BUNDLE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("CHEST_THREADS", "1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    """An S3 server of a module's own, empty at first."""
    with serve_moto() as running:
        yield running


@pytest.fixture
def s3(server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The same, and the environment that a user sets to reach it."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture(autouse=True)
def _own_process() -> Iterator[None]:
    """What a command does to this process ends with the test: umask, signals, limits, secrets to be masked, variables
    (with PYTHONSAFEPATH, Dagster does not find the pipelines)."""
    variables = dict(os.environ)
    remembered, is_own = set(masking._remembered), limits._is_own_process
    umask = os.umask(0o022)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    os.environ.update(variables)
    os.umask(umask)
    masking._remembered, limits._is_own_process = remembered, is_own
    for number, handler in handlers.items():
        signal.signal(number, handler)


Chest = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def chest() -> Chest:
    """Run the command in a process of its own: `chest("status", "--lake", lake)`; stdout, stderr and returncode."""

    def run(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from warehouse.cli import main; main()", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)  # type: ignore[call-overload, no-any-return]

    return run


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Chest:
    """The same within this process, to spare its start; a fault of the program, with its traceback, fails the test."""

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["chest", *map(str, words)])
        monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        seen = capfd.readouterr()
        assert "Traceback" not in seen.err
        return subprocess.CompletedProcess(words, code, seen.out, seen.err)

    return run


def copy_lake(lake: Path, place: Path) -> Path:
    """A copy of a lake that nobody has open, to be changed by one test; a tenth of what a refresh costs."""
    shutil.copytree(lake, place)
    return place


@cache
def _make_empty_lake() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="chest-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHEST_THREADS", "1")
        with lakes.open_writer(location.parse_address(str(folder / "lake")), Settings()):
            return folder / "lake"


def start_lake(place: Path) -> Path:
    """A lake that has its tables and no row yet, unless there is one: making them is a third of a first refresh."""
    return place if place.exists() else copy_lake(_make_empty_lake(), place)


@pytest.fixture
def new_lake(tmp_path: Path) -> Path:
    """The same for a test of its own."""
    return start_lake(tmp_path / "lake")


@dataclass(frozen=True)
class Prepared:
    """A bucket's folder and a lake of it, made once: a test that changes them gets a copy, and the folder put back.

    The lake knows the bucket by its path, so that stays; contents and times of writing are as the lake has them.
    """

    bucket: Path
    lake: Path

    @classmethod
    def of(cls, root: Path, objects: dict[str, bytes | str]) -> "Prepared":
        """Write the objects into a folder below `root` and refresh a lake from it."""
        made = cls(root / "bucket", root / "lake")
        write_objects(made.bucket, objects)
        warehouse.refresh(str(made.bucket), str(start_lake(made.lake)))
        shutil.copytree(made.bucket, made._kept)
        return made

    @property
    def _kept(self) -> Path:
        return self.bucket.with_name("kept")

    def restore_bucket(self) -> Path:
        """The bucket's folder as the lake knows it."""
        shutil.rmtree(self.bucket)
        shutil.copytree(self._kept, self.bucket)
        return self.bucket


def write_objects(bucket: Path, objects: dict[str, bytes | str]) -> None:
    """Write objects by key into a folder that serves as a bucket."""
    for key, content in objects.items():
        path = bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
