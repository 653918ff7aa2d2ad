"""The rows of a manifest: the objects behind a cohort's answer, sorted, and their content digest.

The digest is the SHA-256 over lines of JSON: first the names of its columns, then a line a row, in the order of the
manifest. It covers what an object is and what is said of it (key, size, ids, Modality, labels as text), not where or
when it was found: a folder and S3 give the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from warehouse.engine import confined, sql_files
from warehouse.engine.names import fold_name
from warehouse.engine.rows import fetch_dicts
from warehouse.engine.sql_files import identifier
from warehouse.errors import UsageError
from warehouse.manifests.paths import UNSAFE
from warehouse.query import sandbox

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from warehouse.cohorts import CohortAnswer

#: The columns of a manifest before the labels: name, type and meaning.
COLUMNS = (
    ("key", "VARCHAR", "Key of the object, below its bucket."),
    ("uri", "VARCHAR", "Where the object lies: s3://BUCKET/KEY, or its path in a folder."),
    ("object", "VARCHAR", "dcm (the image), json (its header) or clinical (a clinical file)."),
    ("size", "BIGINT", "Size of the object in bytes."),
    ("etag", "VARCHAR", "Entity tag of the object; in a folder, time of writing (ns) and size stand in for it."),
    (
        "version_id",
        "VARCHAR",
        "Always null: no listing names versions. Kept, since the columns of a manifest are fixed.",
    ),
    ("available_date", "DATE", "Day the object was there to be known."),
    ("group_name", "VARCHAR", "First segment of the key: training or validation."),
    ("patient_id", "VARCHAR", "Pseudonym of the patient, from the key."),
    ("StudyInstanceUID", "VARCHAR", "Study of the image."),
    ("SeriesInstanceUID", "VARCHAR", "Series of the image."),
    ("SOPInstanceUID", "VARCHAR", "Unique identifier of the image."),
    ("Modality", "VARCHAR", "Kind of equipment of the image."),
)

#: What `--objects` takes, and what it is without.
OBJECTS = ("dcm", "json", "clinical")
DEFAULT_OBJECTS = ("dcm", "json")

_DIGESTED = ("key", "size", "patient_id", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "Modality")

#: The identifiers that name rows of an answer, from the widest to the narrowest.
_IDS = ("patient_id", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")

_BATCH = 50_000


@dataclass(frozen=True, slots=True)
class Rows:
    """A manifest's rows in temp table `manifest_rows`, its clinical files in `manifest_records`, away from the lake."""

    con: duckdb.DuckDBPyConnection
    labels: tuple[str, ...]
    counts: dict[str, int]
    without_images: tuple[str, ...]  # what the answer names and no image belongs to
    digest: str

    def close(self) -> None:
        """Let go of the tables."""
        self.con.close()


def collect_rows(answer: CohortAnswer, objects: tuple[str, ...] = DEFAULT_OBJECTS, folder: Path | None = None) -> Rows:
    """Find the objects behind a cohort's answer, in the answer's warehouse; UsageError for kinds that there are not.

    They are found on a sandboxed connection, and handed over to one that has no lake and writes into the folder
    alone: whatever the names of a cohort should turn out to be, they get at nothing.
    """
    unknown = [kind for kind in objects if kind not in OBJECTS]
    if unknown or not objects:
        raise UsageError(f"Objects are {', '.join(OBJECTS)}, not {', '.join(unknown) or 'nothing'}.")
    grain = answer.definition.grain_column
    named, given = _select_identifiers(answer.rows, grain)
    labels = tuple(given.column_names[len(named) :])
    with contextlib.closing(answer.warehouse.fork()) as held, held.limited():
        counts = _build_tables(held.con, given, labels, named, grain, list(objects))
        unmatched = tuple(str(name) for (name,) in _fetch(held.con, "unmatched", {"grain": identifier(grain)}))
        counts = {
            "rows": given.num_rows,
            **_fetch_row(held.con, "picked"),
            "rows_without_images": len(unmatched),
            **counts,
        }
        con = confined.connect(held.settings, *([folder] if folder else []))
        try:
            for table in ("manifest_rows", "manifest_records"):
                _copy_between(held.con, con, table)
            return Rows(con, labels, counts, tuple(sorted(unmatched)), compute_digest(con, "manifest_rows", labels))
        except BaseException:
            con.close()
            raise


def _build_tables(
    con: duckdb.DuckDBPyConnection,
    given: pa.Table,
    labels: tuple[str, ...],
    named: list[str],
    grain: str,
    objects: list[str],
) -> dict[str, int]:
    """Make tables `manifest_rows` and `manifest_records` on a sandboxed connection; the counts of the first."""
    con.register("given", given)
    con.execute(_read_sql()["answer"])
    con.unregister("given")
    of_patients = grain == "patient_id"
    holes = {
        "labels": _render_names(map(identifier, labels)),
        "labels_of_the_answer": _render_names(f"answer.{identifier(label)}" for label in labels),
        "labels_of_patients": _render_names(f"picked_patients.{identifier(label)}" for label in labels),
        "patients": "answer" if of_patients else "(select distinct patient_id from picked)",
        "labels_come": "named.patient_id = answer.patient_id" if of_patients else "false",
        "named": " and ".join(f"images.{identifier(name)} = answer.{identifier(name)}" for name in named),
    }
    made = ["answer"]
    for table in ("picked", "picked_patients", "manifest_rows", "manifest_records"):
        query = sql_files.fill(_read_sql()[f"make {table}"], **holes)
        parameters = {"objects": objects} if table == "manifest_rows" else {}
        sandbox.check_plan(con, query, parameters, relations=made)
        con.execute(sql_files.fill(_read_sql()["make"], table=identifier(table), query=query), parameters)
        made.append(table)
    counts = _fetch_row(con, "counts")
    if counts["objects"] != counts["distinct_objects"]:
        con.execute(_read_sql()["doubles"])
        counts = _fetch_row(con, "counts")
    del counts["distinct_objects"]
    return counts


def _copy_between(old: duckdb.DuckDBPyConnection, new: duckdb.DuckDBPyConnection, table: str) -> None:
    """Copy a table from one connection to another, in its order, a batch at a time."""
    new.register("handed_over", old.table(table).to_arrow_reader(_BATCH))
    new.execute(sql_files.fill(_read_sql()["make"], table=identifier(table), query="from handed_over"))
    new.unregister("handed_over")


def _read_sql() -> dict[str, str]:
    return sql_files.read_statements("manifests/rows.sql")


def _select_identifiers(table: pa.Table, grain: str) -> tuple[list[str], pa.Table]:
    """By which identifiers an answer names images, and the answer: these first, then its labels under their names.

    Identifiers wider than the grain narrow it; a label that is called like a column of the manifest is `label_NAME`.
    """
    spelt = {fold_name(name): name for name in table.column_names}
    named = [name for name in _IDS[: _IDS.index(grain) + 1] if fold_name(name) in spelt]
    taken = {fold_name(name) for name, _, _ in COLUMNS} | {"source"}
    labels = [name for name in table.column_names if fold_name(name) not in {fold_name(n) for n in named}]
    given = table.select([spelt[fold_name(name)] for name in named] + labels)
    renamed: list[str] = []
    for label in labels:
        new = label
        while fold_name(new) in taken:
            new = f"label_{new}"
        taken.add(fold_name(new))
        renamed.append(new)
    return named, given.rename_columns([*named, *renamed])


def _render_names(names: Iterable[str]) -> str:
    return "".join(f", {name}" for name in names)


def _fetch_row(con: duckdb.DuckDBPyConnection, name: str) -> dict[str, int]:
    (row,) = fetch_dicts(con.execute(_read_sql()[name]))
    return row


def _fetch(con: duckdb.DuckDBPyConnection, name: str, holes: dict[str, str]) -> list[tuple[object, ...]]:
    return con.execute(sql_files.fill(_read_sql()[name], **holes)).fetchall()


def compute_digest(con: duckdb.DuckDBPyConnection, rows: str, labels: tuple[str, ...]) -> str:
    """The content digest of rows that lie in order in a table or file: `sha256:` and 64 hex digits."""
    sha = hashlib.sha256()
    header = json.dumps([*_DIGESTED, *labels], ensure_ascii=False, separators=(",", ":"))
    sha.update(f"{header}\n".encode())
    as_text = _render_names(f"cast({identifier(label)} as varchar)" for label in labels)
    for text in iterate_lines(con, sql_files.fill(_read_sql()["lines"], rows=rows, labels_as_text=as_text)):
        sha.update(text)
    return f"sha256:{sha.hexdigest()}"


def write_s5cmd(con: duckdb.DuckDBPyConnection, rows: str, file: IO[bytes]) -> None:
    """Write the commands with which s5cmd fetches the objects."""
    for text in iterate_lines(con, sql_files.fill(_read_sql()["s5cmd"], rows=rows), {"unsafe": UNSAFE}):
        file.write(text)


def iterate_lines(
    con: duckdb.DuckDBPyConnection, query: str, parameters: dict[str, object] | None = None
) -> Iterator[memoryview]:
    """The bytes of a query's one column of texts, one behind the other, as they lie in memory."""
    import pyarrow as pa

    for batch in con.sql(query, params=parameters).to_arrow_reader(_BATCH):
        # 64-bit offsets, whatever DuckDB gave: a batch of long texts.
        column = batch.column(0).cast(pa.large_string())
        if not len(column):
            continue
        _, offsets, content = column.buffers()
        places = memoryview(offsets).cast("q")
        yield memoryview(content)[places[column.offset] : places[column.offset + len(column)]]
