"""Exports a manifest: a folder with a cohort's answer, object by object, that can be verified and reproduced.

manifest.parquet, manifest.csv   a row an object, sorted            manifest.json   everything else about it
records.parquet                  the clinical files that were known  croissant.json  for those who read Croissant
table_NAME.parquet               copies of the cohort's own tables, if asked for
manifest.schema.json             the schema of manifest.json         download.s5cmd  for those who prefer s5cmd
SHA256SUMS                       the hashes of all of them
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.access import log
from warehouse.catalog.columns import load_relations
from warehouse.cohorts.attrition import count_steps
from warehouse.cohorts.leaks import require_no_leaks
from warehouse.engine import sql_files
from warehouse.errors import UsageError
from warehouse.filesystem.files import write_folder_atomically
from warehouse.lake import store
from warehouse.manifests import croissant, register
from warehouse.manifests.checking import LABEL_TYPES
from warehouse.manifests.data_use import parse_conditions
from warehouse.manifests.document import FORMAT, FORMAT_WITHOUT_ACCESS, SCHEMA, read_schema, to_utc
from warehouse.manifests.manifest import Manifest, open_manifest
from warehouse.manifests.rows import DEFAULT_OBJECTS, Rows, check_columns, collect_rows, write_s5cmd
from warehouse.manifests.sealing import DOCUMENT, SUMS, render_sums
from warehouse.manifests.sides import find_leaks
from warehouse.manifests.tables import describe_tables, write_copies
from warehouse.query.origin import describe_origin, render_metadata
from warehouse.version import __version__

if TYPE_CHECKING:
    import duckdb

    from warehouse.cohorts import CohortAnswer

_CSV = "(format csv, header, delimiter ',', quote '\"', escape '\"')"
_PARQUET = "(format parquet, compression zstd, compression_level 1, row_group_size 100000, kv_metadata {{ origin }})"


def export_manifest(
    answer: CohortAnswer,
    folder: Path | str,
    *,
    objects: tuple[str, ...] = DEFAULT_OBJECTS,
    columns: tuple[str, ...] = (),
    copy_tables: bool = False,
    suppress: int = 0,
    warn: Callable[[str], object] = warnings.warn,
) -> Manifest:
    """Record the manifest of a cohort's answer in the lake, and write it into a new folder: whole, or not at all.

    `columns` are columns of view `images`, such as InstanceNumber, which its rows have after the labels.

    A recorded manifest is kept by maintenance and can be reproduced, so the folder does not appear before. If the lake
    is readable only, the manifest is not recorded, and `warn` is called with the reason. `copy_tables` puts a copy of
    the cohort's own tables beside it. With `suppress`, an error names no patients.

    UsageError when the folder is in the way or cannot be written, SplitLeakError when a label `split` has a patient, an
    image or equal bytes on two sides, LakeBusyError when another writes to the lake for longer than is waited,
    LakeError when it cannot be recorded, ManifestError when its snapshot is gone by now.
    """
    folder = Path(folder)
    try:
        with contextlib.ExitStack() as held, write_folder_atomically(folder) as part:
            with contextlib.closing(collect_rows(answer, objects, part, columns)) as rows:
                require_no_leaks(answer.definition.name, find_leaks(rows.con, "manifest_rows", rows.labels), suppress)
                head = log.read_head(answer.warehouse.location, answer.warehouse.settings)
                write_files(answer, rows, objects, part, columns, copy_tables=copy_tables, head=head)
            made = open_manifest(part)  # what cannot be opened is not handed out
            _log_release(answer, made, folder)
            refusal = held.enter_context(register.hold_record(made, answer.warehouse.location, target=folder))
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror or error}.") from None
    manifest = replace(made, folder=folder, home=frozenset(made.contents.sources))
    if refusal:
        warn(
            "The manifest was not recorded in the lake, which you may only read: maintenance may remove the snapshot "
            f"that reproduces it. {refusal}"
        )
    return manifest


def _log_release(answer: CohortAnswer, made: Manifest, folder: Path) -> None:
    """Log a manifest under an agreement before it appears: what cannot be logged does not leave."""
    if answer.warehouse.cover:
        patients = made.polars().get_column("patient_id").unique().to_list()
        counts = {name: made.about["counts"][name] for name in ("objects", "images")}
        answer.warehouse.log_release("manifest", patients, digest=made.digest, seal=made.seal, to=str(folder), **counts)


def write_files(
    answer: CohortAnswer,
    rows: Rows,
    objects: tuple[str, ...],
    folder: Path,
    columns: tuple[str, ...] = (),
    *,
    copy_tables: bool = False,
    head: log.Head | None = None,
) -> None:
    """Write the files of a manifest into a folder that is there: the one that the rows were collected for.

    `head` is that of the log of access, if the lake has one.
    """
    folder = folder.resolve()
    _settle_types(rows)
    _copy_table(rows.con, "manifest_rows", folder / "manifest.csv", _CSV)
    origin = render_metadata(describe_origin(answer.warehouse, rows.digest))
    parquet = sql_files.fill(_PARQUET, origin=origin)
    _copy_table(rows.con, "manifest_rows", folder / "manifest.parquet", parquet)
    _copy_table(rows.con, "manifest_records", folder / "records.parquet", parquet)
    files = {name: _describe_file(folder / name) for name in ("manifest.csv", "manifest.parquet", "records.parquet")}
    copies = write_copies(answer.tables, folder, answer.warehouse.settings) if copy_tables else []
    described = describe_manifest(answer, rows, objects, files, columns, head)
    for source in described["sources"]:
        if _CONTROL.search(source):
            raise UsageError(
                f"The bucket {source} has control characters in its address, which no manifest can name. Move it, "
                "make a lake of it at its new place, and export again."
            )
    (folder / SCHEMA).write_text(read_schema(), encoding="utf-8")
    conditions = parse_conditions(answer.warehouse.settings.data_use)
    _write_json(folder / "croissant.json", croissant.describe(described, rows.con, conditions))
    with (folder / "download.s5cmd").open("wb") as file:
        if any(source.startswith("s3://") for source in described["sources"]):
            file.write(_S5CMD_HEAD.encode())
            write_s5cmd(rows.con, "manifest_rows", file)
        else:
            file.write(b"# The objects lie in a folder, where s5cmd has nothing to do: chest manifest download\n")
    files |= {name: _describe_file(folder / name) for name in (SCHEMA, "croissant.json", "download.s5cmd", *copies)}
    _write_json(folder / DOCUMENT, described)
    (folder / SUMS).write_text(render_sums((folder / DOCUMENT).read_bytes(), files), encoding="utf-8")


def _settle_types(rows: Rows) -> None:
    """Give labels whose type Parquet does not keep one that has the same text: a sum is BIGINT where it fits."""
    import duckdb

    sql = sql_files.read_statements("manifests/rows.sql")
    given = rows.con.sql("from manifest_rows limit 0")
    for name, kind in zip(given.columns, given.types, strict=True):
        if LABEL_TYPES.fullmatch(str(kind)) and "INTERVAL" not in str(kind):  # which Polars does not read
            continue
        quoted = sql_files.identifier(name)
        try:
            wanted = "bigint" if str(kind) in ("HUGEINT", "UHUGEINT") else "varchar"
            rows.con.execute(sql_files.fill(sql["retype"], column=quoted, type=wanted))
        except duckdb.ConversionException:
            rows.con.execute(sql_files.fill(sql["retype"], column=quoted, type="varchar"))


#: What the schema of a manifest refuses in the address of a source.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_S5CMD_HEAD = """\
# Run in the folder that the objects should go to:  s5cmd run download.s5cmd
# s5cmd checks nothing but that an object could be read; `chest manifest download` checks what it has fetched.
"""


def _copy_table(con: duckdb.DuckDBPyConnection, table: str, path: Path, options: str) -> None:
    import duckdb

    try:
        con.execute(f"copy {sql_files.identifier(table)} to {sql_files.literal(str(path))} {options}")
    except duckdb.IOException as error:
        raise OSError(str(error).split("\n", maxsplit=1)[0]) from None


def _describe_file(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def describe_manifest(
    answer: CohortAnswer,
    rows: Rows,
    objects: tuple[str, ...],
    files: dict[str, dict[str, Any]],
    columns: tuple[str, ...] = (),
    head: log.Head | None = None,
) -> dict[str, Any]:
    """The content of manifest.json (warehouse/manifests/manifest.schema.json)."""
    import duckdb

    wh, cohort = answer.warehouse, answer.definition
    columns = check_columns(columns)
    meanings = {column.name: column.meaning for column in load_relations()["images"].columns if column.name in columns}
    sources = rows.con.sql("select distinct left(uri, length(uri) - length(key) - 1) from manifest_rows order by 1")
    return {
        "$schema": SCHEMA,
        "format": FORMAT if head else FORMAT_WITHOUT_ACCESS,
        "digest": rows.digest,
        "cohort": {
            "name": cohort.name,
            "title": cohort.title,
            "question": cohort.question,
            "grain": cohort.grain,
            "sql": cohort.sql,
            "sql_sha256": hashlib.sha256(cohort.sql.encode()).hexdigest(),
            "parameters": {name: _to_json_value(value) for name, value in answer.values.items()},
            "labels": {name: meanings.get(name, cohort.labels.get(name, "")) for name in rows.labels},
        },
        "as_of": str(wh.day) if wh.day else None,
        "group": wh.group_name,
        "snapshot": wh.snapshot.number,
        "snapshot_time": to_utc(wh.snapshot.time),
        "sources": [source for (source,) in sources.fetchall()],
        "objects": list(objects),
        **({"columns": list(columns)} if columns else {}),
        "counts": rows.counts,
        **({"split": answer.rule.to_json()} if answer.rule else {}),
        "without_images": list(rows.without_images),
        "attrition": _describe_attrition(answer),
        "files": files,
        "citation": " ".join(wh.settings.citation.split()),
        **({"agreement": wh.cover.agreement} if wh.cover else {}),
        **({"tables": describe_tables(answer.tables)} if answer.tables else {}),
        **({"access": {"event": head.number, "head": head.hash}} if head else {}),
        "created_at": to_utc(datetime.now(UTC)),
        "created_by": store.get_author(),
        "tool": {"name": "chest", "version": __version__, "duckdb": duckdb.__version__},
    }


def _describe_attrition(answer: CohortAnswer) -> list[dict[str, Any]]:
    return [
        {"step": step.step, "meaning": step.meaning, "after": step.after, **step.counts} for step in count_steps(answer)
    ]


def _to_json_value(value: object) -> Any:
    """A value as JSON has it; a day as its ISO text."""
    if isinstance(value, list):
        return [_to_json_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # which JSON has no number for
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
