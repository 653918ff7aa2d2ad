"""The rows of a manifest: the objects behind a cohort's answer, sorted, and their content digest.

The digest is the SHA-256 over lines of JSON: first the column names, then one line per row, in the order of the
manifest. It covers the identity and description of an object (key, size, ids, Modality, labels as text), not where or
when it was found: a folder and S3 give the same digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from warehouse.catalog.columns import load_relations
from warehouse.engine import confined, sql_files
from warehouse.engine.names import fold_name, suggest_nearest
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
    ("uri", "VARCHAR", "Location of the object: s3://BUCKET/KEY, or its path in a folder."),
    ("object", "VARCHAR", "dcm (the image), json (its header) or clinical (a clinical file)."),
    ("size", "BIGINT", "Size of the object in bytes."),
    ("etag", "VARCHAR", "Entity tag of the object; in a folder, its modification time (ns) and size instead."),
    (
        "version_id",
        "VARCHAR",
        "Always null: listings have no versions. Kept because the columns of a manifest are fixed.",
    ),
    ("available_date", "DATE", "Day the object became available."),
    ("group_name", "VARCHAR", "First segment of the key: training or validation."),
    ("patient_id", "VARCHAR", "Pseudonym of the patient, from the key."),
    ("StudyInstanceUID", "VARCHAR", "Study of the image."),
    ("SeriesInstanceUID", "VARCHAR", "Series of the image."),
    ("SOPInstanceUID", "VARCHAR", "Unique identifier of the image."),
    ("Modality", "VARCHAR", "Kind of equipment of the image."),
)

#: The values of `--objects`, and its default.
OBJECTS = ("dcm", "json", "clinical")
DEFAULT_OBJECTS = ("dcm", "json")

_DIGESTED = ("key", "size", "patient_id", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "Modality")

#: The identifiers of rows of an answer, from the coarsest to the finest.
_IDS = ("patient_id", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")

_BATCH = 50_000


@dataclass(frozen=True, slots=True)
class Rows:
    """A manifest's rows (temp table `manifest_rows`) and its clinical files (`manifest_records`), without the lake."""

    con: duckdb.DuckDBPyConnection
    labels: tuple[str, ...]
    counts: dict[str, int]
    without_images: tuple[str, ...]  # ids in the answer that have no image
    digest: str

    def close(self) -> None:
        """Drop the tables."""
        self.con.close()


def collect_rows(
    answer: CohortAnswer,
    objects: tuple[str, ...] = DEFAULT_OBJECTS,
    folder: Path | None = None,
    columns: tuple[str, ...] = (),
) -> Rows:
    """Find the objects behind a cohort's answer, in the answer's warehouse; UsageError for unknown kinds.

    `columns` are columns of view `images` that become labels of each image, after those of the answer.

    They are found on a sandboxed connection and copied to one that has no lake and can write only to the folder, so
    that a cohort cannot reach anything through its names.
    """
    unknown = [kind for kind in objects if kind not in OBJECTS]
    if unknown or not objects:
        raise UsageError(f"Objects are {', '.join(OBJECTS)}, not {', '.join(unknown) or 'nothing'}.")
    grain = answer.definition.grain_column
    named, given = _select_identifiers(answer.rows, grain)
    labels = tuple(given.column_names[len(named) :])
    columns = check_columns(columns, labels)
    with contextlib.closing(answer.warehouse.fork()) as held, held.limited():
        counts = _build_tables(held.con, given, labels, columns, named, grain, list(objects))
        unmatched = tuple(str(name) for (name,) in _fetch(held.con, "unmatched", {"grain": identifier(grain)}))
        counts = {
            "rows": given.num_rows,
            **_fetch_row(held.con, "picked"),
            "rows_without_images": len(unmatched),
            **counts,
        }
        if not counts["headers_in_dcm"]:
            del counts["headers_in_dcm"]
        con = confined.connect(held.settings, *([folder] if folder else []))
        try:
            for table in ("manifest_rows", "manifest_records"):
                _copy_between(held.con, con, table)
            digest = compute_digest(con, "manifest_rows", (*labels, *columns))
            return Rows(con, (*labels, *columns), counts, tuple(sorted(unmatched)), digest)
        except BaseException:
            con.close()
            raise


def check_columns(columns: tuple[str, ...], labels: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return columns of view `images` as they are spelt there; UsageError for one that it lacks or that is taken."""
    known = {column.name.lower(): column.name for column in load_relations()["images"].columns}
    taken = {fold_name(name) for name, _, _ in COLUMNS} | {fold_name(label) for label in labels}
    found: list[str] = []
    for name in columns:
        if name.lower() not in known:
            near = suggest_nearest(name, known.values())
            raise UsageError(
                f"--columns {name}: view images has no such column.{near} List them:  chest describe images"
            )
        if fold_name(name) in taken:
            raise UsageError(f"--columns {name}: the manifest has a column of that name already. Leave it out.")
        taken.add(fold_name(name))
        found.append(known[name.lower()])
    return tuple(found)


def _build_tables(
    con: duckdb.DuckDBPyConnection,
    given: pa.Table,
    labels: tuple[str, ...],
    columns: tuple[str, ...],
    named: list[str],
    grain: str,
    objects: list[str],
) -> dict[str, int]:
    """Create `manifest_rows` and `manifest_records` on a sandboxed connection; returns the counts of the first."""
    con.register("given", given)
    con.execute(_read_sql()["answer"])
    con.unregister("given")
    of_patients = grain == "patient_id"
    holes = {
        "labels": _render_names(map(identifier, (*labels, *columns))),
        "labels_of_the_answer": _render_names(f"answer.{identifier(label)}" for label in labels),
        "labels_of_patients": _render_names(f"picked_patients.{identifier(label)}" for label in labels)
        + _render_names(f"null as {identifier(column)}" for column in columns),
        "columns_of_images": _render_names(f"images.{identifier(column)}" for column in columns),
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
    """Copy a table from one connection to another in batches, keeping its order."""
    new.register("handed_over", old.table(table).to_arrow_reader(_BATCH))
    new.execute(sql_files.fill(_read_sql()["make"], table=identifier(table), query="from handed_over"))
    new.unregister("handed_over")


def _read_sql() -> dict[str, str]:
    return sql_files.read_statements("manifests/rows.sql")


def _select_identifiers(table: pa.Table, grain: str) -> tuple[list[str], pa.Table]:
    """Return the identifier columns of an answer, and the answer with these first, followed by its labels.

    Identifiers coarser than the grain narrow it; a label with the name of a manifest column becomes `label_NAME`.
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
    """Compute the content digest of the sorted rows of a table or file: `sha256:` and 64 hex digits."""
    sha = hashlib.sha256()
    header = json.dumps([*_DIGESTED, *labels], ensure_ascii=False, separators=(",", ":"))
    sha.update(f"{header}\n".encode())
    as_text = _render_names(f"cast({identifier(label)} as varchar)" for label in labels)
    for text in iterate_lines(con, sql_files.fill(_read_sql()["lines"], rows=rows, labels_as_text=as_text)):
        sha.update(text)
    return f"sha256:{sha.hexdigest()}"


def write_s5cmd(con: duckdb.DuckDBPyConnection, rows: str, file: IO[bytes]) -> None:
    """Write the s5cmd commands that download the objects."""
    for text in iterate_lines(con, sql_files.fill(_read_sql()["s5cmd"], rows=rows), {"unsafe": UNSAFE}):
        file.write(text)


def iterate_lines(
    con: duckdb.DuckDBPyConnection, query: str, parameters: dict[str, object] | None = None
) -> Iterator[memoryview]:
    """Yield the concatenated bytes of a query's single text column, straight from memory."""
    import pyarrow as pa

    for batch in con.sql(query, params=parameters).to_arrow_reader(_BATCH):
        # 64-bit offsets always, because a batch may have long texts.
        column = batch.column(0).cast(pa.large_string())
        if not len(column):
            continue
        _, offsets, content = column.buffers()
        places = memoryview(offsets).cast("q")
        yield memoryview(content)[places[column.offset] : places[column.offset + len(column)]]
