"""Finds rows of a lake's Parquet files that name a purged patient in a text, though they are not the patient's."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse.access.vocabulary import REPLACEMENT
from warehouse.catalog import columns
from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_first
from warehouse.withdrawal.redaction import Patterns
from warehouse.withdrawal.rows import list_patient_tables
from warehouse.withdrawal.stored import DataFile, render_scan

if TYPE_CHECKING:
    import duckdb

_SQL = "withdrawal/mentions.sql"
#: Columns that identify a row: they are not edited.
_KEYS = ("source", "key", "patient_id", "dcm_key")
_TEXTS = ("VARCHAR", "JSON", "VARCHAR[]")


@dataclass(frozen=True, slots=True)
class Mentions:
    """Per data file, the columns whose texts name a patient, as SQL that puts something else in their place."""

    replaced: dict[int, dict[str, str]]
    n_rows: int


def find_mentions(
    con: duckdb.DuckDBPyConnection, files: list[DataFile], patterns: Patterns, doomed: dict[int, list[int]]
) -> Mentions:
    """Search the texts of every data file, apart from the rows at the positions that are removed anyway."""
    replaced: dict[int, dict[str, str]] = {}
    n_rows = 0
    by_table: dict[str, list[DataFile]] = defaultdict(list)
    for file in files:
        by_table[file.table_name].append(file)
    of_patients = set(list_patient_tables())
    for table, chosen in by_table.items():
        pattern = patterns.words if table in of_patients else patterns.anywhere
        declared = columns.load_relations().get(table)
        if not pattern or declared is None:
            continue
        texts = [c for c in declared.columns if c.type in _TEXTS and (c.name not in _KEYS or table not in of_patients)]
        for file in chosen:
            there = set(con.sql(f"from {render_scan([file])}").columns)
            found, rows = _search(
                con, file, [c for c in texts if c.name in there], pattern, doomed.get(file.file_id, [])
            )
            if found:
                replaced[file.file_id] = found
                n_rows += rows
    return Mentions(replaced, n_rows)


def _search(
    con: duckdb.DuckDBPyConnection, file: DataFile, texts: list[columns.Column], pattern: str, doomed: list[int]
) -> tuple[dict[str, str], int]:
    if not texts:
        return {}, 0
    tests = [
        f"regexp_matches(cast({sql_files.identifier(c.name)} as varchar), {sql_files.literal(pattern)})" for c in texts
    ]
    counts = ", ".join(f"count(*) filter ({test})" for test in tests)
    query = sql_files.fill(
        sql_files.read_statements(_SQL)["count"], counts=counts, tests=" or ".join(tests), scan=render_scan([file])
    )
    con.execute(sql_files.read_statements(_SQL)["doomed"], {"positions": doomed})
    (row,) = con.execute(query).fetchall()
    found = {c.name: _render_replacement(c, pattern) for c, n in zip(texts, row[1:], strict=True) if n}
    return found, int(row[0]) if found else 0


def redact_texts(con: duckdb.DuckDBPyConnection, texts: list[str], pattern: str) -> list[str]:
    """What a purge makes of texts, by the same expression as in the files."""
    query = f"select list_transform($texts, lambda item: {_render_redaction('item', pattern)})"
    row = fetch_first(con.execute(query, {"texts": texts}))
    return list(row[0]) if row else []


def _render_replacement(column: columns.Column, pattern: str) -> str:
    name = sql_files.identifier(column.name)
    if column.type.endswith("[]"):
        value = f"list_transform({name}, lambda item: {_render_redaction('item', pattern)})"
    else:
        value = _render_redaction(f"cast({name} as varchar)", pattern)
    return f"cast({value} as {column.type}) as {name}"


def _render_redaction(value: str, pattern: str) -> str:
    before, after = ("\\1", "\\2") if re.compile(pattern).groups == 2 else ("\\1\\3", "\\2\\4")
    replacement = sql_files.literal(f"{before}{REPLACEMENT}{after}")
    for _ in range(2):  # two that share a space between them
        value = f"regexp_replace({value}, {sql_files.literal(pattern)}, {replacement}, 'g')"
    return value
