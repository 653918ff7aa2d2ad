"""The probe: a bounded look at a bucket, that goes on where the last one ended.

Each look makes some thirty requests at most (`_FOLDERS`, `_OBJECTS` / 1,000 and two), whatever the size of the bucket:

- It compares the folders of patients with those the lake knows, 10,000 at a time: a new patient in a bucket of 50,000
  is seen within five looks.
- It lists 20,000 objects and compares them with the lake's by key, size and etag, from where the last look ended, so
  that the whole bucket passes by. A study for a patient already known, or a file replaced, is seen when its turn
  comes: in a bucket of 20 million objects after up to 1,000 looks, three and a half days at one in five minutes.

What it misses until then, and objects that are gone, the scheduled refresh finds; where news must be heard at once,
there is the event queue (`events`).
"""

import bisect
import contextlib
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

import duckdb

from warehouse import keys, lake, lake_connection, location, schema, sqlfiles
from warehouse.bucket import Bucket
from warehouse.bucket_open import open_bucket
from warehouse.news import keyspace
from warehouse.news.notice import News, places
from warehouse.settings import Settings

#: Requests for folders, and objects listed, of one look.
_FOLDERS, _OBJECTS = 10, 20_000
#: The same news is told again after so many seconds: a refresh that cannot take it must not be started at every look.
_AGAIN = 6 * 3600


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Where the next look goes on: numbers only, since a cursor is kept where no patient may be named.

    `folder` is the place, among the patients' folders that the lake knows, where folders are compared next; `at`
    and `skip` are folder and key within it after which objects are. `told` marks what was told last, at `when`.
    """

    folder: int = 0
    at: int = 0
    skip: int = 0
    told: str = ""
    when: int = 0

    @classmethod
    def read(cls, text: str) -> "_Cursor":
        """A cursor as it was written; one from the start for anything else."""
        try:
            found = json.loads(text)
            return cls(**{field.name: field.type(found[field.name]) for field in fields(cls)})  # type: ignore[operator]
        except (ValueError, TypeError, KeyError):
            return cls()

    def write(self) -> str:
        """The cursor as a short text."""
        return json.dumps(asdict(self), separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class _Known:
    """What the lake knows of a source: its newest state, published or not, and its patients' folders in order."""

    con: duckdb.DuckDBPyConnection
    source: str
    folders: list[str]

    def ask(self, name: str, **parameters: object) -> list[tuple[Any, ...]]:
        """The answer to one of the probe's questions."""
        query = sqlfiles.statements("news/probe.sql")[name]
        return self.con.execute(query, {"source": self.source, **parameters}).fetchall()


def probe(source: str, lake_address: str, cursor: str, settings: Settings, *, most: int = _OBJECTS) -> News:
    """Look at a part of a bucket for objects that the lake does not know; `cursor` is that of the last News, or "".

    Keep the new cursor once the news was acted upon: until then the next look finds the same. Raises SourceError
    when the bucket cannot be listed, SourceDownError when that may heal, LakeError when the lake cannot be read.
    """
    bucket = open_bucket(source, settings)
    start = _Cursor.read(cursor)
    with _known(lake_address, bucket.source, settings) as known:
        if known is None:
            return News(True, 0, cursor, "The lake knows nothing of this source yet.", sources=(source,))
        folders, next_folder = _new_folders(bucket, known, start)
        changed, at, skip = _changed(bucket, known, start, most)
    found = {key for key, _ in changed}
    bare = [folder for folder in folders if not any(key.startswith(folder) for key in found)]
    place = _Cursor(next_folder, at, skip, start.told, start.when)
    if not (found or bare):
        return News(False, 0, place.write(), "Nothing new in the part of the bucket that was looked at.")
    mark = hashlib.sha256(json.dumps([sorted(changed), bare]).encode()).hexdigest()[:16]
    now = int(time.time())
    if mark == start.told and now - start.when < _AGAIN:
        why = "Nothing but what was told before, and no refresh has taken in yet."
        return News(False, len(found) + len(bare), place.write(), why)
    why = f"{len(found):,} object(s) and {len(bare):,} more folder(s) that the lake does not know."
    return News(
        True,
        len(found) + len(bare),
        _Cursor(next_folder, at, skip, mark, now).write(),
        why,
        sources=(source,),
        prefixes=places([*found, *bare]),
    )


@contextlib.contextmanager
def _known(address: str, source: str, settings: Settings) -> Iterator[_Known | None]:
    """The newest state of the lake, for reading; None when there is nothing of that source."""
    place = location.parse(address)
    if not lake.exists(place):
        yield None
        return
    with contextlib.closing(lake_connection.connect(settings, place)) as con:
        lake_connection.attach(con, place, "read_only")
        schema.check_version(con, place)
        known = _Known(con, source, [])
        folders = [folder for (folder,) in known.ask("folders")]
        yield _Known(con, source, folders) if folders else None


def _new_folders(bucket: Bucket, known: _Known, start: _Cursor) -> tuple[list[str], int]:
    """Patients' folders that the lake does not know, as far as the requests go; and where to go on."""
    first = start.folder if start.folder < len(known.folders) else 0
    parents = {_parent(folder) for folder in known.folders}
    top, requests, _ = keyspace.folders(bucket, "", "", 1)
    there = {*known.folders, *parents, *(_parent(parent) for parent in parents)}
    fresh = [folder for folder in top if folder not in there]
    after = known.folders[first - 1] if first else ""
    for parent in sorted({*parents, *top} - {*fresh}):
        if first and parent < _parent(after):
            continue
        found, used, whole = keyspace.folders(
            bucket, parent, after if _parent(after) == parent else "", _FOLDERS - requests
        )
        fresh += [folder for folder in found if folder not in there]
        requests += used
        if not whole or requests >= _FOLDERS:
            last = found[-1] if found else parent
            return fresh, bisect.bisect_right(known.folders, last) % len(known.folders)
    return fresh, 0


def _parent(folder: str) -> str:
    return folder.rstrip("/").rpartition("/")[0] + "/" if "/" in folder.rstrip("/") else ""


def _changed(bucket: Bucket, known: _Known, start: _Cursor, most: int) -> tuple[list[tuple[str, str]], int, int]:
    """The objects, with their etags, that are new or replaced in the part listed; and where to go on."""
    import pyarrow as pa

    after = _after(known, start)
    rows = keyspace.objects(bucket, after, most)
    if not rows:
        return [], 0, 0
    last = rows[-1][0]
    # A marker of a folder is spelt in two ways, and holds nothing; a sample's answers are no objects.
    shown = [row for row in rows if not row[0].endswith("/") and row[0] not in keys.ANSWERS]
    columns = zip(*shown, strict=True) if shown else ((), (), ())
    types = (pa.string(), pa.int64(), pa.string())
    listed = pa.table(dict(zip(("key", "size", "etag"), map(pa.array, columns, types), strict=True)))
    known.con.register("listed", listed)
    changed = [(key, etag) for key, etag in known.ask("changed", after=after, last=last)]
    if len(rows) < most:
        return changed, 0, 0
    at = max(0, bisect.bisect_right(known.folders, last) - 1)
    skip = known.ask("place", folder=known.folders[at], key=last)[0][0]
    if (at, skip) == (start.at, start.skip):  # more new objects in a row than one look lists
        return changed, (at + 1) % len(known.folders), 0
    return changed, at, skip


def _after(known: _Known, start: _Cursor) -> str:
    """The key after which objects are listed."""
    if start.at >= len(known.folders) or (start.at, start.skip) == (0, 0):
        return ""
    folder = known.folders[start.at]
    found = known.ask("nth", folder=folder, n=start.skip) if start.skip else []
    return str(found[0][0]) if found else folder
