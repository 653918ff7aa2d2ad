"""Makes a lake of millions of images from the sample's rows, and measures what a person asks of it, by the defaults.

    python -m benchmarks.large_lake [--images 8000000] [--patients 17700] [--folder .benchmarks] [--only NAME …]
    python -m benchmarks.large_lake --images 80000000 --bare-headers [--folder .benchmarks] [--only NAME …]

Each question is a process of its own. One that fails is a line of the table, not the end. The lake takes 0.4 KB of disk
an image and stays in the folder for the next time. With --bare-headers the copies have the rows of their headers and
all extracted columns, but not the texts, whose writing takes most of the time and disk: what reads the texts finds
nothing to parse then, which the names of these questions state.
"""

import argparse
import contextlib
import os
import shutil
import stat
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from multiprocessing import Process
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.cohorts import GIVEN, list_names
from benchmarks.measure import Measured, run_chest, run_process
from benchmarks.results import Recorder, Row
from warehouse import synthetic
from warehouse.engine import sql_files
from warehouse.ingest import memory, open_lake_run, publish, refresh
from warehouse.lake import location, store
from warehouse.settings import Settings

_SQL = str(Path(__file__).with_suffix(".sql"))
_ALL_IMAGES = str(Path(__file__).with_name("all_images.sql"))
_MILLION = str(Path(__file__).with_name("million_objects.sql"))
#: The tables that a copy adds rows to.
_TABLES = (
    "raw objects",
    "raw headers",
    "raw records",
    "core images",
    "core clinical",
    "core clinical_issues",
    "ops rejects",
)
#: The numbers of a copy's patients begin with this and that of the copy.
_FIRST_NUMBER = 90_000
#: Without texts, so many copies are copied at once: one alone is a row group, which keeps one core busy.
_BARE_BLOCK = 8
_PATIENTS = "select covid_status, count(*), sum(n_ct) from patients group by all"
#: The questions that read the texts of headers, and much besides.
_READ_TEXTS = ("report", "check")
#: Not a command: the bucket is made of the lake.
_RELISTED = ("relisted_refresh",)
#: A failure is a line of the table.
_ANY_CODE = range(-64, 256)


def main() -> None:
    """Make the lake unless it is there, ask, and save what each question took."""
    words = argparse.ArgumentParser()
    words.add_argument("--images", type=int, default=8_000_000)
    words.add_argument("--patients", type=int, default=17_700, help="of the sample that is multiplied")
    words.add_argument("--folder", type=Path, default=Path(".benchmarks"))
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--bare-headers", action="store_true", help="leave the texts of headers out of the copies")
    words.add_argument("--spill-mb", type=int, help="CHEST_SQL_SPILL_MB, where the default is too little")
    words.add_argument("--seconds", type=int, help="CHEST_SQL_SECONDS, where the default is too little")
    words.add_argument("--only", nargs="*", metavar="NAME", help="report, check, covid_risk, …")
    given = words.parse_args()
    folder = given.folder.resolve()
    large = folder / f"lake-{given.images}{'-bare' if given.bare_headers else ''}"
    if not large.exists():
        # In a process of its own: Linux counts what a parent held in the peak of its children.
        made_of = (large, folder / "bucket", given.patients, given.images, given.bare_headers)
        making = Process(target=make_lake, args=made_of)
        making.start()
        making.join()
        if making.exitcode:
            raise SystemExit(f"{large} could not be made.")
    for name in [name for name in os.environ if name.startswith("CHEST_")]:
        del os.environ[name]  # the defaults
    more = {"CHEST_SQL_SPILL_MB": given.spill_mb, "CHEST_SQL_SECONDS": given.seconds}
    raised = {name: str(value) for name, value in more.items() if value}
    os.environ.update(raised)
    recorder = Recorder("large_lake")
    for name, question in list_questions(folder, large).items():
        if (given.only and name not in given.only) or (given.bare_headers and name == "tag"):
            continue
        if given.bare_headers and name in _READ_TEXTS:
            name = f"{name}, without the texts of headers"
        name = ", ".join([name, *(f"{setting}={value}" for setting, value in raised.items())])
        runs = [_ask(question, large, folder / "spill") for _ in range(given.rounds)]
        recorder.save(_build_rows({"question": name, "images": given.images}, runs))
        print(f"{name}: {runs[-1][0].seconds:.1f} s, exit code {runs[-1][0].exit_code}", file=sys.stderr)


def _build_rows(at: dict[str, Any], runs: list[tuple[Measured, float]]) -> Iterator[Row]:
    """What the runs of a question took; a failure is a note."""
    failed = [found.exit_code for found, _ in runs if found.exit_code not in (0, 1)]
    note = f"failed with exit code {failed[0]}" if failed else ""
    yield Row("seconds", "s", [found.seconds for found, _ in runs], at=at, note=note)
    yield Row("CPU seconds", "s", [found.cpu_seconds for found, _ in runs], at=at)
    yield Row("peak memory", "MiB", [found.peak_mib for found, _ in runs], at=at)
    yield Row("spilled", "MiB", [spilled for _, spilled in runs], at=at)


def make_lake(large: Path, bucket: Path, patients: int, images: int, is_bare: bool = False) -> None:
    """Refresh a lake from a sample bucket, add copies of its rows until it has so many images, and publish it.

    `is_bare` leaves the texts of headers out of the copies.
    """
    if not (bucket / "truth.json").exists():
        print(f"making a sample bucket of {patients:,} patients …", file=sys.stderr)
        synthetic.make_bucket(bucket, patients, stubs=True)
    part = large.with_name(f"{large.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    base = refresh(str(bucket), str(part)).published.snapshot
    memory.bound_memory()
    with store.open_writer(location.parse_address(str(part)), Settings(memory_limit_mb=2048)) as con:
        n_copies = -(-images // _count_images(con))
        block = min(_BARE_BLOCK, n_copies) if is_bare else 1
        add_copies(con, base, range(1, block), is_bare)
        base = con.execute(sql_files.read_statements(_SQL)["newest snapshot"]).fetchall()[0][0]
        add_copies(con, base, range(block, block + -(-n_copies // block) - 1), is_bare)
    start = time.perf_counter()
    with open_lake_run(str(bucket), str(part)) as run:
        publish(run)
    print(f"published within {time.perf_counter() - start:.1f} s", file=sys.stderr)
    part.rename(large)


def _count_images(con: duckdb.DuckDBPyConnection) -> int:
    row = con.execute(sql_files.read_statements(_SQL)["size"]).fetchone()
    assert row is not None
    return int(row[0])


def add_copies(con: duckdb.DuckDBPyConnection, base: int, numbers: Iterable[int], is_bare: bool = False) -> None:
    """Add the rows of snapshot `base` under other names, once for each number; a commit a table and number."""
    sql = sql_files.read_statements(_SQL)
    con.execute(sql["renaming"])
    con.execute(f"set variable is_bare = {is_bare}")
    for number in numbers:
        start = time.perf_counter()
        con.execute(f"set variable copy = '{number}'")
        con.execute(f"set variable first_number = '{_FIRST_NUMBER + number}'")
        for name in _TABLES:
            statement = sql_files.fill(sql[name], base=str(base))
            store.transact(con, f"copy {number}: {name}", lambda text=statement: con.execute(text))  # type: ignore[misc]
        print(f"copy {number}: {time.perf_counter() - start:.1f} s", file=sys.stderr)
        memory.release()


def list_questions(folder: Path, large: Path) -> dict[str, tuple[str, ...]]:
    """What is asked, by name: the words of `chest`, without the lake."""
    patient, study, series = _find_one(large)
    answer, manifest = str(folder / "answer.parquet"), str(folder / "manifest-large")
    asked: dict[str, tuple[str, ...]] = {
        "status": ("status",),
        "patients": ("sql", _PATIENTS),
        "patients as of a day": ("sql", _PATIENTS, "--as-of", "2020-12-31"),
        "studies": ("sql", "select Modality, count(*), sum(n_images) from series group by all"),
        "one patient": ("patient", patient),
        "one study": ("sql", f"from studies where StudyInstanceUID = {sql_files.literal(study)}"),
        "series of one study": ("sql", f"from series where StudyInstanceUID = {sql_files.literal(study)}"),
        "images of one series": ("sql", f"from images where SeriesInstanceUID = {sql_files.literal(series)}"),
        "report": ("report", "-o", str(folder / "report.html")),
        "check": ("check",),
        "refresh with nothing new": _RELISTED,
        "tag": ("sql", "select tag(header, 'ProtocolName') as protocol, count(*) from headers group by all"),
    }
    for name in list_names():
        values = [
            word
            for parameter, value in GIVEN.get(name, {}).items()
            for one in (value if isinstance(value, list) else [value])
            for word in ("--param", f"{parameter}={one}")
        ]
        asked[name] = ("cohort", "run", name, *values, "-o", answer)
    return asked | {
        "manifest of a million objects": ("manifest", "export", _MILLION, "-o", f"{manifest}-million"),
        "manifest of covid_risk": ("manifest", "export", "covid_risk", "-o", manifest),
        "reproduce": ("manifest", "reproduce", manifest),
        "verify": ("manifest", "verify", manifest, "-q", "--source", str(folder / "bucket")),
        "manifest of all": ("manifest", "export", _ALL_IMAGES, "-o", f"{manifest}-all"),
    }


def _find_one(large: Path) -> tuple[str, str, str]:
    """A patient, a study and a series of the lake; asked by the command, so that this process stays small: Linux counts
    what a parent holds in the peak of its children."""
    query = "select patient_id, StudyInstanceUID, SeriesInstanceUID from images limit 1"
    answer = run_chest("sql", query, "--format", "csv", "--lake", str(large)).output
    patient, study, series = answer.splitlines()[1].split(",")
    return patient, study, series


def _ask(question: tuple[str, ...], large: Path, temporary: Path) -> tuple[Measured, float]:
    """Ask one question; what it took, and the most MiB that it had on disk meanwhile."""
    if "-o" in question:
        target = Path(question[question.index("-o") + 1])
        if target.is_dir():
            shutil.rmtree(target)
        target.unlink(missing_ok=True)
    words = [*question] if "verify" in question else [*question, "--lake", str(large)]
    with _watch_size(temporary) as sizes:
        if question == _RELISTED:
            program = ("-m", "benchmarks.relisted_refresh", str(large))
            found = run_process(sys.executable, *program, fine=_ANY_CODE, TMPDIR=str(temporary))
        else:
            found = run_chest(*words, fine=_ANY_CODE, TMPDIR=str(temporary))
    return found, max(sizes) / 2**20


@contextlib.contextmanager
def _watch_size(folder: Path) -> Iterator[list[int]]:
    """A folder for temporary files, whose size is looked at ten times a second."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    sizes, is_over = [0], threading.Event()

    def look() -> None:
        while not is_over.wait(0.1):
            sizes.append(sum(_measure_size(path) for path in folder.rglob("*")))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield sizes
    finally:
        is_over.set()
        watcher.join()
        shutil.rmtree(folder)


def _measure_size(path: Path) -> int:
    try:
        found = path.stat()
    except FileNotFoundError:  # gone since it was listed
        return 0
    return 0 if stat.S_ISDIR(found.st_mode) else found.st_blocks * 512


if __name__ == "__main__":
    main()
