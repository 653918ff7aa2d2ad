"""Examines the files that a catalogue lists: there, of the right size, with the bytes and rows that were written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import duckdb

from warehouse.engine import sql_files
from warehouse.lake import file_records
from warehouse.lake.doctor.catalogue import RESTORE, SQL
from warehouse.lake.doctor.findings import Finding, Kind, advise
from warehouse.lake.listed_files import ListedFile, find_path
from warehouse.lake.location import CATALOGUE, Location
from warehouse.lake.snapshots import Snapshot
from warehouse.lake.stored_files import Storage, hash_files
from warehouse.progress import Progress

#: Files whose footers one query reads.
_FOOTERS = 256


@dataclass(slots=True)
class Examined:
    """The findings about listed files; how many were compared with a checksum, and how many have none."""

    findings: list[Finding] = field(default_factory=list)
    compared: int = 0
    unrecorded: int = 0


def examine_files(
    con: duckdb.DuckDBPyConnection,
    location: Location,
    storage: Storage,
    files: Sequence[ListedFile],
    stored: dict[str, int],
    history: Sequence[Snapshot],
    progress: Progress,
) -> Examined:
    """Read every listed file. Those of ops.files come first: a record is trusted if its own file is whole."""
    found = Examined()
    faulty = set[str]()

    def note(file: ListedFile, kind: Kind, what: str) -> None:
        if file.path not in faulty:
            faulty.add(file.path)
            text = f"{what} ({_describe(file, history)})"
            found.findings.append(Finding(kind, file.path, text, advise(file), file))

    for file in files:
        if "://" not in file.path and not file.path.startswith("/") and file.path not in stored:
            note(file, Kind.MISSING, "The file is not there")
        elif stored.get(file.path, file.size) != file.size:
            what = f"The file has {stored[file.path]:,} bytes instead of {file.size:,}"
            note(file, Kind.DAMAGED, what)
    records = file_records.read_trusted_records(con, location, storage)
    there = [file for file in files if file.path not in faulty]
    hashed = hash_files(storage, (file.path for file in there))
    for done, (file, (_, actual)) in enumerate(zip(there, hashed, strict=True), 1):
        recorded = records.get(file.path)
        if actual is None:
            note(file, Kind.MISSING, "The file is not there")
        elif recorded and recorded != actual:
            note(file, Kind.DAMAGED, "The file has other bytes than were written")
        elif recorded:
            found.compared += 1
        elif not _is_whole(con, location, file):
            note(file, Kind.DAMAGED, "The file is not whole Parquet")
        else:
            found.unrecorded += 1
        progress("reading files", done, len(there))
    sound = [file for file in there if file.path not in faulty]
    found.findings += _compare_counts(con, location, sound)
    return found


def _describe(file: ListedFile, history: Sequence[Snapshot]) -> str:
    """Which rows a file has, and which published snapshots need it."""
    rows = f"{file.rows:,} rows of" if file.kind == "data" else f"{file.rows:,} deleted rows of"
    users = [
        s.number
        for s in history
        if s.is_published and s.number >= file.begin and (file.is_live or s.number < file.end)  # type: ignore[operator]
    ]
    if file.is_live:
        return f"{rows} {file.table or 'no table'}, in the newest state{_name_snapshots(users, ' and ')}"
    return f"{rows} {file.table or 'no table'}, only in{_name_snapshots(users, ' ') or ' snapshots never published'}"


def _name_snapshots(numbers: list[int], before: str) -> str:
    if not numbers:
        return ""
    ends = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    return f"{before}snapshot{'s' if len(numbers) > 1 else ''} {ends}"


def _render_key(file: ListedFile) -> str:
    """The argument of read_parquet for a file of an encrypted lake."""
    if not file.key:
        return ""
    return f", encryption_config => {{footer_key_value: from_base64({sql_files.literal(file.key)})}}"


def _is_whole(con: duckdb.DuckDBPyConnection, location: Location, file: ListedFile) -> bool:
    """Whether all values of a Parquet file can be read. DuckDB's reason is left out: it may quote a value."""
    path = sql_files.literal(find_path(location, file))
    query = sql_files.fill(sql_files.read_statements(SQL)["decode"], path=path, key=_render_key(file))
    try:
        con.execute(query).fetchall()
    except duckdb.Error:
        return False
    return True


def _compare_counts(
    con: duckdb.DuckDBPyConnection, location: Location, files: Sequence[ListedFile]
) -> Iterator[Finding]:
    """Compare the rows of sound files by the catalogue with those by their footers: the catalogue is wrong."""
    sql = sql_files.read_statements(SQL)
    stated: dict[str, int] = {}
    plain = [file for file in files if not file.key]
    for first in range(0, len(plain), _FOOTERS):
        paths = ", ".join(sql_files.literal(find_path(location, file)) for file in plain[first : first + _FOOTERS])
        stated |= dict(con.execute(sql_files.fill(sql["footers"], paths=f"[{paths}]")).fetchall())
    for file in files:
        if file.key:
            path = sql_files.literal(find_path(location, file))
            row = con.execute(sql_files.fill(sql["count"], path=path, key=_render_key(file))).fetchone()
            stated[find_path(location, file)] = row[0] if row else -1
    for file in files:
        if (rows := stated.get(find_path(location, file))) not in (None, file.rows):
            what = f"The catalogue gives {file.path} {file.rows:,} rows, the file itself {rows:,}."
            yield Finding(Kind.CATALOGUE, CATALOGUE, what, RESTORE)
