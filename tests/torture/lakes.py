"""Buckets that change, the calm lakes of them, and the comparison of a lake with a calm one, row by row."""

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

import warehouse
from warehouse.errors import LakeError
from warehouse.lake import connection, doctor, location, store
from warehouse.lake.doctor import Kind
from warehouse.object_store.keys import ANSWERS
from warehouse.settings import Settings
from warehouse.synthetic import make_bucket

from .starter import Command, Outcome, Starter

#: Left out of a comparison: when something was done, by which run, and in which snapshot; and what follows from these.
LEFT_OUT = frozenset(
    (
        *("first_seen", "last_seen", "started_at", "finished_at", "applied_at", "created_at", "recorded_at"),
        *("refresh_id", "snapshot", "snapshot_time", "seal", "since"),
    )
)
#: The lake's own files, whose names and number differ from lake to lake; `chest doctor` compares them with the disk.
NOT_COMPARED = frozenset(("ops.files",))
#: What must be equal of the refreshes where some objects were loaded by a later one: the sums of these.
SUMS = ("added", "changed", "removed", "images", "clinical")

_SETTINGS = Settings(threads=1)


def write_first_state(bucket: Path, seed: int, patients: int = 4) -> None:
    """A small bucket: images, records, an unreadable record and an object of no kind."""
    make_bucket(bucket, patients, seed=seed)
    for name in ANSWERS:
        (bucket / name).unlink()
    _write(bucket / "training/Odd/data/2020-03-01/data.json", "[]")
    _write(bucket / "training/notes.txt", "none")


def write_second_state(bucket: Path) -> None:
    """The bucket later: a header, a record and an image replaced, one of each gone, a patient come."""
    headers = sorted(bucket.rglob("images_metadata/**/*.json"))
    images = sorted(bucket.rglob("images/**/*.dcm"))
    for path in (headers[0], images[1]):
        path.unlink()
    for path in (headers[2], images[2], *sorted(bucket.rglob("data.json"))[:1]):
        path.write_bytes(path.read_bytes() + b"\n")
    _write(bucket / "training/Late/data/2020-03-02/data.json", '{"Pseudonym": "Late", "SwabStatus": "Positive"}')


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Calm:
    """A lake that nothing disturbed, to start from, and its rows, to compare with."""

    lake: Path
    rows: "Rows"

    def copy(self, place: Path) -> Path:
        """A copy of the lake."""
        shutil.copytree(self.lake, place)
        return place


@dataclass(frozen=True)
class Rows:
    """The rows of each table of a lake as text, each with its number, and the sums of its refreshes."""

    tables: dict[str, Counter[str]]
    sums: tuple[Any, ...]


def keep_calm(lake: Path) -> Calm:
    """Keep the rows of a lake."""
    return Calm(lake, read_rows(lake))


@contextlib.contextmanager
def _open_plain(lake: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A lake as it is, with what is not published yet."""
    place = location.parse_address(str(lake))
    with contextlib.closing(connection.connect(_SETTINGS, place)) as con:
        connection.attach(con, place, "read_only")
        con.execute("set threads = 1")
        yield con


def read_rows(lake: Path) -> Rows:
    """All rows of a lake, without the columns that are not compared."""
    query = (
        "select schema_name || '.' || table_name from duckdb_tables() "
        "where database_name = 'lake' and schema_name in ('raw', 'core', 'ops') order by all"
    )
    with _open_plain(lake) as con:
        names = [name for (name,) in con.execute(query).fetchall() if name not in NOT_COMPARED]
        tables = {}
        for name in names:
            columns = [column for column, *_ in con.execute(f"describe lake.{name}").fetchall()]
            wanted = ", ".join(f'"{column}"' for column in columns if column not in LEFT_OUT)
            tables[name] = Counter(map(str, con.execute(f"select {wanted} from lake.{name}").fetchall()))
        sums = con.execute(f"select {', '.join(f'sum({name})' for name in SUMS)} from lake.ops.refreshes").fetchone()
    return Rows(tables, sums or ())


def find_differences(lake: Path, calm: Calm, *, refreshes: str = "rows") -> list[str]:
    """How a lake differs from a calm one, table by table; nothing if they are equal.

    Of ops.refreshes the rows are compared, or the sums of what they did, or nothing (`rows`, `sums`, `none`).
    """
    ours, theirs = read_rows(lake), calm.rows
    if ours.tables.keys() != theirs.tables.keys():
        return [f"tables {[*ours.tables]} instead of {[*theirs.tables]}"]
    different = []
    if refreshes == "sums" and ours.sums != theirs.sums:
        different.append(f"ops.refreshes: sums {ours.sums} instead of {theirs.sums}")
    for table, rows in theirs.tables.items():
        if table == "ops.refreshes" and refreshes != "rows":
            continue
        for what, some in (("too many", ours.tables[table] - rows), ("missing", rows - ours.tables[table])):
            different += [f"{table}: {what}: {row[:300]}" for row in [*some.elements()][:3]]
    return different


def require_equal(lake: Path, calm: Calm, *, refreshes: str = "rows") -> None:
    """AssertionError if a lake differs from a calm one, or has commits that are not published."""
    different = find_differences(lake, calm, refreshes=refreshes)
    assert not different, "the lake differs from a calm one: " + "; ".join(different[:6])
    with _open_plain(lake) as con:
        waiting = store.find_unpublished(store.list_snapshots(con))[1]
    assert not waiting, f"commits are not published: {[s.message for s in waiting]}"


def list_unexplained(lake: Path) -> list[str]:
    """The keys of headers and clinical files that are listed, but neither loaded as they are nor rejected."""
    query = """
        select key from lake.raw.objects
        where kind in ('header', 'clinical')
            and (key, etag) not in (select (key, etag) from lake.core.images)
            and (key, etag) not in (select (key, etag) from lake.core.clinical)
            and key not in (select key from lake.ops.rejects)
        limit 5
    """
    with _open_plain(lake) as con:
        return [row[0] for row in con.execute(query).fetchall()]


def require_sound(lake: Path) -> None:
    """AssertionError if `chest doctor` finds more than orphans and leftovers, which a kill may leave."""
    report = doctor.examine(str(lake), settings=_SETTINGS)
    bad = [one for one in report.findings if one.kind not in (Kind.ORPHAN, Kind.LEFTOVER)]
    assert not bad, f"chest doctor finds: {[(one.kind.value, one.where, one.what) for one in bad[:4]]}"


def fingerprint_published(lake: Path) -> str:
    """What a reader sees of a lake, in few bytes; "" if nothing was published yet."""
    try:
        with warehouse.open(str(lake), settings=_SETTINGS) as wh:
            return fingerprint(wh)
    except LakeError as error:
        if "no published snapshot" in str(error) or "There is no lake" in str(error):
            return ""
        raise


def fingerprint(wh: warehouse.Warehouse) -> str:
    """A digest of the objects, images and clinical files that an open lake shows."""
    queries = (
        f"select count(*), md5(string_agg(md5({row}), '' order by {row})) from lake.{table}"
        for table, row in (
            ("raw.objects", "key || etag"),
            ("core.images", "key || etag || coalesce(SOPInstanceUID, '')"),
            ("core.clinical", "key || etag"),
        )
    )
    return str([wh.con.execute(query).fetchone() for query in queries])


@dataclass
class World:
    """What scenarios share: how commands are started, a bucket as it was and is, and the calm lakes of both states."""

    root: Path
    starter: Starter
    bucket: str
    first: Calm
    second: Calm
    #: What readers of each see.
    seen: frozenset[str]
    env: dict[str, str]
    number: int = 0
    #: Further calm lakes by name, made when they are first needed.
    others: dict[str, Calm] = field(default_factory=dict)

    def find_calm(self, name: str, make: Callable[[Path], object]) -> Calm:
        """The calm lake of this name, which `make` fills in the folder that it is given."""
        if name not in self.others:
            lake = self.root / name
            make(lake)
            self.others[name] = keep_calm(lake)
        return self.others[name]

    @property
    def whole(self) -> Calm:
        """The second state loaded into a new lake."""
        return self.find_calm("whole", lambda lake: self.must(*self.refresh_words(lake)))

    def start(self, *words: object, env: dict[str, str] | None = None, **more: Any) -> Command:
        """Start a command that reaches the bucket (starter.py)."""
        return self.starter.start(*words, env={**self.env, **(env or {})}, **more)

    def run(self, *words: object, env: dict[str, str] | None = None) -> Outcome:
        """Run it to its end."""
        return self.start(*words, env=env).wait()

    def must(self, *words: object, env: dict[str, str] | None = None) -> Outcome:
        """The same for one that nothing disturbs; AssertionError if it fails."""
        done = self.run(*words, env=env)
        assert done.code == 0, f"undisturbed, but: {done}"
        return done

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """A folder of a try's own, removed after it; kept where CHEST_TORTURE_KEEP is set."""
        self.number += 1
        path = self.root / f"try{self.number}"
        path.mkdir()
        try:
            yield path
        finally:
            if not os.environ.get("CHEST_TORTURE_KEEP"):
                shutil.rmtree(path, ignore_errors=True)

    def refresh_words(self, lake: Path, *more: str) -> tuple[object, ...]:
        """The refresh that is tortured."""
        return ("refresh", self.bucket, "--lake", lake, "-q", *more)

    def require_seen(self, lake: Path) -> None:
        """AssertionError if readers see anything but one of the calm states, or nothing yet."""
        seen = fingerprint_published(lake)
        assert not seen or seen in self.seen, "readers see a state of the lake that never was"


def make_calm(
    root: Path,
    starter: Starter,
    bucket: str,
    folder: Path,
    env: dict[str, str],
    between: Callable[[], None] = lambda: None,
) -> World:
    """Load both states of the bucket `bucket`, which is in `folder`, into calm lakes; it stays in the second."""
    root.mkdir(parents=True, exist_ok=True)

    def load(name: str, start: Path | None = None) -> Calm:
        lake = root / name
        if start:
            shutil.copytree(start, lake)
        done = starter.start("refresh", bucket, "--lake", lake, "-q", env=env).wait()
        assert done.code == 0, f"undisturbed, but: {done}"
        return keep_calm(lake)

    first = load("first")
    between()
    write_second_state(folder)
    second = load("second", first.lake)
    seen = frozenset(fingerprint_published(calm.lake) for calm in (first, second))
    return World(root, starter, bucket, first, second, seen, env)


def list_lake_files(lake: Path) -> list[Path]:
    """Every file of a lake."""
    return sorted(path for path in lake.rglob("*") if path.is_file())
