"""Proves a purge: searches every file of a lake, its catalogue and its backups for the patients, values and bytes.

Values are searched decoded; bytes as they are, for what is in no value (statistics of files, free pages). Where no
pseudonym is known any longer, because an interrupted purge had removed them all, the keys and contents are searched by
digest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from warehouse.engine import sql_files
from warehouse.engine.programs import run_apart
from warehouse.engine.rows import fetch_first
from warehouse.filesystem import below
from warehouse.lake.location import READ_COPY, Location, parse_address
from warehouse.lake.stored_files import open_storage
from warehouse.withdrawal import catalogue as catalogues
from warehouse.withdrawal import raw_search, rows, stored
from warehouse.withdrawal.redaction import Patterns
from warehouse.withdrawal.stored import DataFile

if TYPE_CHECKING:
    from warehouse.settings import Settings
    from warehouse.withdrawal.cleaning_up import KnownBackup
    from warehouse.withdrawal.digests import Key

_SQL = "withdrawal/proof.sql"
#: Columns that name a patient, where a short pseudonym is searched as a whole value.
_NAMING = ("patient_id", "PatientID", "pseudonym")


@dataclass(slots=True)
class Proof:
    """What was searched, and where a patient was found; nothing found is the proof."""

    files: int = 0
    bytes: int = 0
    catalogues: list[str] = field(default_factory=list)
    by: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    backups: list[tuple[str, str]] = field(default_factory=list)


def search(
    place: Location,
    settings: Settings,
    names: dict[str, str],
    digests: set[str],
    key: Key,
    known: Sequence[KnownBackup],
) -> Proof:
    """Search a lake and its backups; no finding names a patient."""
    found = Proof(backups=[(one.folder, one.problem) for one in known])
    patterns = Patterns.of(names)
    found.by = ["digest of each name", *(["values"] if names else []), *(["bytes"] if patterns.distinctive else [])]
    for lake in (place, *(parse_address(one.folder) for one in known if not one.problem)):
        with catalogues.open_catalogue(lake, settings) as catalogue:
            files = stored.list_data_files(catalogue.con, lake, catalogue.schema)
            if rows.find_names(catalogue.con, files, key, digests):
                found.findings.append(f"{lake.name}: a name in a table")
            others = _list_others(catalogue, files)
            _search_files(catalogue, lake, settings, files, patterns, names, others, found)
            _search_catalogue(catalogue, patterns, found)
        if not lake.is_postgres and patterns.distinctive:
            _search_bytes_apart(lake.catalogue, patterns, others, found)
        found.catalogues.append(lake.name)
    return found


def _list_others(catalogue: catalogues.Catalogue, files: list[DataFile]) -> list[str]:
    """Everybody whom the lake still names, whose pseudonyms may contain a purged one."""
    found: set[str] = set()
    if chosen := [file for file in files if file.table_name == "raw.objects"]:
        query = sql_files.fill(sql_files.read_statements("withdrawal/rows.sql")["names by_key"],
                               scan=stored.render_scan(chosen))  # fmt: skip
        found.update(name for (name,) in catalogue.con.execute(query).fetchall())
    return sorted(found)


def _search_files(
    catalogue: catalogues.Catalogue,
    lake: Location,
    settings: Settings,
    files: list[DataFile],
    patterns: Patterns,
    names: dict[str, str],
    others: list[str],
    found: Proof,
) -> None:
    """Search every file below the data path and in the lake's folder, whether the catalogue names it or not: the values
    of Parquet, the bytes of all."""
    con, sql = catalogue.con, sql_files.read_statements(_SQL)
    keys = {file.path: file.encryption_key for file in files}
    keys |= {file.path: file.encryption_key for file in stored.list_delete_files(con, lake, catalogue.schema)}
    for path in _list_paths(lake, settings):
        name = f"{lake.name}, {patterns.redact(path.removeprefix(lake.data_path).removeprefix(f'{lake.folder}/'))}"
        if patterns.find(path.rpartition("/")[2]):
            found.findings.append(f"{name}: the name of the file")
        file = DataFile(0, 0, "", path, path, keys.get(path), 0, None, 0, None, has_content=False)
        has_values = path.endswith(".parquet") and (path in keys or not any(keys.values()))  # else the key is gone
        try:
            if names and has_values:
                tests = _render_tests(catalogue, file, patterns)
                query = sql_files.fill(sql["values"], scan=stored.render_scan([file]), tests=tests)
                row = fetch_first(con.execute(query))
                if row and row[0]:
                    found.findings.append(f"{name}: {row[0]:,} rows")
            row = fetch_first(con.execute(sql_files.fill(sql["blob"], path=sql_files.literal(path))))
        except duckdb.Error as error:
            # Its text may quote a value.
            found.findings.append(f"{name}: cannot be read ({type(error).__name__})")
            continue
        data = bytes(row[0]) if row else b""
        found.files, found.bytes = found.files + 1, found.bytes + len(data)
        if not raw_search.count_words(data, [*patterns.distinctive], others):
            continue
        if path in keys and not keys[path]:
            data = _blank_pages(con, path, data)
        if raw_search.count_words(data, [*patterns.distinctive], others):
            found.findings.append(f"{name}: bytes")


def _blank_pages(con: duckdb.DuckDBPyConnection, path: str, data: bytes) -> bytes:
    """The bytes of a file of the lake without its compressed pages, whose values were searched: in these a word may be
    put together by chance, as `Covid12` by the pages of a column with `Covid1` and `Covid2`."""
    left = bytearray(data)
    query = sql_files.fill(sql_files.read_statements(_SQL)["pages"], path=sql_files.literal(path))
    for start, size in con.execute(query).fetchall():
        left[start : start + size] = bytes(len(left[start : start + size]))
    return bytes(left)


def _list_paths(lake: Location, settings: Settings) -> list[str]:
    """Every regular file of a lake but those of its catalogue, which this process must not open."""
    paths = {f"{lake.data_path}{name}" for name in open_storage(lake, settings).list_files()}
    if lake.folder:
        theirs = set(_list_catalogue_files(lake.catalogue))
        regular = (path for path in lake.folder.rglob("*") if below.find_size(path) is not None)
        paths |= {str(path) for path in regular if path not in theirs}
    return sorted(paths)


def _list_catalogue_files(path: Path) -> list[Path]:
    """A SQLite catalogue, its journals, and the copy for readers."""
    return [path, path.with_name(READ_COPY), *(path.with_name(path.name + end) for end in ("-journal", "-wal", "-shm"))]


def _render_tests(catalogue: catalogues.Catalogue, file: DataFile, patterns: Patterns) -> str:
    relation = catalogue.con.sql(f"from {stored.render_scan([file])}")
    tests = ["false"]
    for name in relation.columns:
        if name in ("filename", "file_row_number", "file_path"):
            continue
        text = f"cast({sql_files.identifier(name)} as varchar)"
        if patterns.words:
            tests.append(f"regexp_matches({text}, {sql_files.literal(patterns.words)})")
        if name in _NAMING:
            tests += [f"{text} = {sql_files.literal(one)}" for one in patterns.short]
        if name == "key":
            tests += [f"list_contains(string_split({text}, '/'), {sql_files.literal(one)})" for one in patterns.short]
    return " or ".join(tests)


def _search_catalogue(catalogue: catalogues.Catalogue, patterns: Patterns, found: Proof) -> None:
    """Search every text of DuckLake's tables, and what PostgreSQL has taken from them for its planner."""
    place = catalogue.place
    schema = sql_files.literal(place.schema if place.is_postgres else "main")
    for table, column in catalogue.run("tables", database=sql_files.literal("catalogue"), schema=schema):
        holes = {"table": sql_files.identifier(table), "column": sql_files.identifier(column)}
        n_texts = sum(patterns.find(text) or text in patterns.short for (text,) in catalogue.run("texts", **holes))
        if n_texts:
            found.findings.append(f"{place.name}, catalogue, {table}.{column}: {n_texts:,} values")
    for table, column, texts in catalogue.list_planner_texts() if place.is_postgres else ():
        if patterns.find(texts):
            found.findings.append(f"{place.name}, statistics of PostgreSQL's planner, {table}.{column}: values")


def _search_bytes_apart(path: Path, patterns: Patterns, others: list[str], found: Proof) -> None:
    """Search the bytes of a SQLite catalogue, of its journals and of the copy for readers."""
    there = [str(one) for one in _list_catalogue_files(path) if one.exists()]
    request = {"paths": there, "words": [*patterns.distinctive], "longer": others}
    counts = run_apart(raw_search.__file__, request, f"searching {path}")
    found.findings += [f"{one}: bytes" for one, count in counts.items() if count]
