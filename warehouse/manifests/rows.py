"""The rows of a manifest: the objects behind a cohort's answer, sorted, and their content digest.

The digest is the SHA-256 over lines of JSON: first the names of its columns, then a line a row, in the order of the
manifest. It covers what an object is and what is said of it (key, size, ids, Modality, labels as text), not where or
when it was found: a folder and S3 give the same.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from warehouse import sqlfiles
from warehouse.errors import UsageError
from warehouse.manifests.paths import UNSAFE

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from warehouse.cohorts import Cohort

#: The columns of a manifest before the labels: name, type and meaning.
COLUMNS = (
    ("key", "VARCHAR", "Key of the object, below its bucket."),
    ("uri", "VARCHAR", "Where the object lies: s3://BUCKET/KEY, or its path in a folder."),
    ("object", "VARCHAR", "dcm (the image), json (its header) or clinical (a clinical file)."),
    ("size", "BIGINT", "Size of the object in bytes."),
    ("etag", "VARCHAR", "Entity tag of the object; in a folder, time of writing (ns) and size stand in for it."),
    ("version_id", "VARCHAR", "Version of the object in a bucket that keeps versions, where it is known."),
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
    """A manifest's rows in temp table `manifest_rows`, its clinical files in `manifest_records`."""

    con: "duckdb.DuckDBPyConnection"
    labels: tuple[str, ...]
    counts: dict[str, int]
    without_images: tuple[str, ...]  # what the answer names and no image belongs to
    digest: str

    def close(self) -> None:
        """Let go of the lake: whoever reads it keeps others from writing."""
        self.con.close()


def collect(answer: "Cohort", objects: "tuple[str, ...]" = DEFAULT_OBJECTS) -> Rows:
    """Find the objects behind a cohort's answer, in the answer's warehouse; UsageError for kinds that there are not."""
    unknown = [kind for kind in objects if kind not in OBJECTS]
    if unknown or not objects:
        raise UsageError(f"Objects are {', '.join(OBJECTS)}, not {', '.join(unknown) or 'nothing'}.")
    grain = answer.definition.grain_column
    named, given = _named(answer.rows, grain)
    con = answer.warehouse.in_trust().con
    con.register("answer", given)
    labels = tuple(given.column_names[len(named) :])
    quoted = [f'"{label}"' for label in labels]
    holes = {
        "labels": _listed(quoted),
        "labels of the answer": _listed([f"answer.{label}" for label in quoted]),
        "labels of patients": _listed([f"picked_patients.{label}" for label in quoted]),
        "labels of the patient": _listed(
            [label if grain == "patient_id" else f"{_typed_null(con, label)} as {label}" for label in quoted]
        ),
        "patients": "answer" if grain == "patient_id" else "(select distinct patient_id from picked)",
        "named": " and ".join(f'images."{name}" = answer."{name}"' for name in named),
        "grain": f'"{grain}"',
    }
    sql = {name: sqlfiles.fill(text, **holes) for name, text in _sql().items() if name not in _OUTPUTS}
    con.execute(sql["images"])
    con.execute(sql["patients"])
    con.execute(sql["rows"], {"objects": list(objects)})
    con.execute(sql["records"])
    counts = _row(con, sql["counts"])
    if counts["objects"] != counts["distinct_objects"]:
        con.execute(sql["doubles"])
        counts = _row(con, sql["counts"])
    del counts["distinct_objects"]
    unmatched = tuple(str(name) for (name,) in con.execute(sql["unmatched"]).fetchall())
    counts = {"rows": given.num_rows, **_row(con, sql["picked"]), "rows_without_images": len(unmatched), **counts}
    con.execute("drop table picked; drop table picked_patients")
    con.unregister("answer")
    return Rows(con, labels, counts, tuple(sorted(unmatched)), digest(con, "manifest_rows", labels))


_OUTPUTS = ("lines", "s5cmd", "retype")


def _sql() -> dict[str, str]:
    return sqlfiles.statements("manifests/rows.sql")


def _named(table: "pa.Table", grain: str) -> "tuple[list[str], pa.Table]":
    """By which identifiers an answer names images, and the answer: these first, then its labels under their names.

    Identifiers wider than the grain narrow it; a label that is called like a column of the manifest is `label_NAME`.
    """
    spelt = {name.casefold(): name for name in table.column_names}
    named = [name for name in _IDS[: _IDS.index(grain) + 1] if name.casefold() in spelt]
    taken = {name.casefold() for name, _, _ in COLUMNS} | {"source"}
    labels = [name for name in table.column_names if name.casefold() not in {n.casefold() for n in named}]
    given = table.select([spelt[name.casefold()] for name in named] + labels)
    renamed: list[str] = []
    for label in labels:
        new = label
        while new.casefold() in taken:
            new = f"label_{new}"
        taken.add(new.casefold())
        renamed.append(new)
    return named, given.rename_columns([*named, *renamed])


def _listed(names: list[str]) -> str:
    return "".join(f", {name}" for name in names)


def _typed_null(con: "duckdb.DuckDBPyConnection", label: str) -> str:
    kind = con.sql(f"select {label} from answer limit 0").types[0]
    return f"cast(null as {kind})"


def _row(con: "duckdb.DuckDBPyConnection", query: str) -> dict[str, int]:
    answer = con.execute(query)
    names = [column[0] for column in answer.description or []]
    (row,) = answer.fetchall()  # an answer that is not read to its end keeps the catalogue locked
    return dict(zip(names, row, strict=True))


def digest(con: "duckdb.DuckDBPyConnection", rows: str, labels: tuple[str, ...]) -> str:
    """The content digest of rows that lie in order in a table or file: `sha256:` and 64 hex digits."""
    sha = hashlib.sha256()
    header = json.dumps([*_DIGESTED, *labels], ensure_ascii=False, separators=(",", ":"))
    sha.update(f"{header}\n".encode())
    as_text = _listed([f'cast("{label}" as varchar)' for label in labels])
    for text in lines(con, sqlfiles.fill(_sql()["lines"], rows=rows, **{"labels as text": as_text})):
        sha.update(text)
    return f"sha256:{sha.hexdigest()}"


def write_s5cmd(con: "duckdb.DuckDBPyConnection", rows: str, file: IO[bytes]) -> None:
    """Write the commands with which s5cmd fetches the objects."""
    for text in lines(con, sqlfiles.fill(_sql()["s5cmd"], rows=rows), {"unsafe": UNSAFE}):
        file.write(text)


def lines(
    con: "duckdb.DuckDBPyConnection", query: str, parameters: dict[str, object] | None = None
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
