"""Writes the data of a session as a MEDS 0.4 dataset (Medical Event Data Standard), with the labels of a cohort.

data/N.parquet   the events, sorted by subject and time      metadata/codes.parquet            what the codes mean
labels/COHORT/LABEL.parquet   a file for each label          metadata/subject_splits.parquet   if the cohort has splits
metadata/dataset.json         where it is all from           metadata/subjects.parquet         subject_id, patient_id

docs/meds.md states the clocks.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.engine import sql_files
from warehouse.engine.faults import explain_faults
from warehouse.errors import LakeError, UsageError
from warehouse.exports import meds_codes, meds_labels
from warehouse.filesystem import checksums
from warehouse.filesystem.files import make_folder, write_folder_atomically
from warehouse.query.origin import describe_origin
from warehouse.version import __version__

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from warehouse.cohorts import CohortAnswer
    from warehouse.query.session import Session

MEDS_VERSION = "0.4.1"
#: The most subjects of one file of data.
_SUBJECTS = 5_000
_BATCH = 50_000


@explain_faults()
def export_meds(session: Session, folder: Path | str, cohort: CohortAnswer | None = None) -> dict[str, int]:
    """Write a new folder, whole or not at all; returns the numbers of subjects, events, codes and labels.

    UsageError when the folder is in the way or cannot be written, or the cohort has no labels or no day.
    """
    folder = Path(folder)
    try:
        with contextlib.closing(session.fork()) as forked, write_folder_atomically(folder) as part:
            return _write(forked, part, cohort)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror or error}.") from None


def _write(session: Session, folder: Path, cohort: CohortAnswer | None) -> dict[str, int]:
    con, sql, origin = session.con, sql_files.read_statements("exports/meds.sql"), describe_origin(session)
    for below in ("data", "metadata"):
        make_folder(folder / below)
    con.execute(sql["subjects"])
    if con.execute(sql["collisions"]).fetchall() != [(0,)]:
        raise LakeError("Two patients would have the same subject_id in MEDS. Report this: their pseudonyms collide.")
    con.execute(sql_files.fill(sql["events"], clinical_events=meds_codes.render_clinical_events()))
    events = con.sql(sql["data"], params={"subjects": _SUBJECTS})
    counts = {"events": _write_shards(events, folder / "data", origin)}
    counts["codes"] = _write_codes(con, folder / "metadata/codes.parquet", origin)
    subjects = write_table(con.sql(sql["all subjects"]), folder / "metadata/subjects.parquet", origin)
    counts["labels"] = meds_labels.write_labels(con, folder, cohort, origin) if cohort else 0
    _write_description(session, folder / "metadata/dataset.json")
    checksums.write_sums(folder)
    return {"subjects": subjects, **counts}


def _write_shards(events: duckdb.DuckDBPyRelation, folder: Path, origin: dict[str, str]) -> int:
    """Write the events, which come in the order of their shards; each shard to a file of its own."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    reader = events.to_arrow_reader(_BATCH)
    fields = [field for field in reader.schema if field.name != "shard"]
    schema = to_meds_types(pa.schema(fields)).with_metadata(origin)
    written, current, writer = 0, -1, None
    try:
        for batch in reader:
            for shard in pc.unique(batch["shard"]).to_pylist():
                if shard != current:
                    if writer:
                        writer.close()
                    writer = pq.ParquetWriter(folder / f"{shard}.parquet", schema, compression="zstd")
                    current = shard
                assert writer is not None
                rows = batch.filter(pc.equal(batch["shard"], shard)).drop_columns(["shard"])
                writer.write_table(pa.Table.from_batches([rows]).cast(schema))
                written += rows.num_rows
    finally:
        if writer:
            writer.close()
    if current < 0:
        pq.write_table(schema.empty_table(), folder / "0.parquet")
    return written


def to_meds_types(schema: pa.Schema) -> pa.Schema:
    """The schema with the types that MEDS has: times in microseconds, free text with 64-bit offsets."""
    import pyarrow as pa

    for at, field in enumerate(schema):
        if field.name == "text_value":
            schema = schema.set(at, pa.field("text_value", pa.large_string()))
    return schema


def write_table(relation: duckdb.DuckDBPyRelation, path: Path, origin: dict[str, str]) -> int:
    """Write a relation to a Parquet file of a folder that is being filled; returns the number of rows."""
    import pyarrow.parquet as pq

    table = relation.to_arrow_table()
    pq.write_table(table.replace_schema_metadata(origin), path, compression="zstd")
    return int(table.num_rows)


def _write_codes(con: duckdb.DuckDBPyConnection, path: Path, origin: dict[str, str]) -> int:
    import pyarrow as pa

    known = meds_codes.list_codes()
    table = pa.table(
        {
            "code": [code.code for code in known],
            "description": [code.description for code in known],
            "unit": pa.array([code.unit or None for code in known], pa.string()),
        }
    )
    con.register("meds_codes", table)
    try:
        return write_table(con.sql(sql_files.read_statements("exports/meds.sql")["codes"]), path, origin)
    finally:
        con.unregister("meds_codes")


def _write_description(session: Session, path: Path) -> None:
    origin = describe_origin(session)
    day = f", as of {session.day}" if session.day else ""
    about = {
        "dataset_name": f"Chest Data Warehouse, group {session.group_name}",
        "dataset_version": f"snapshot {session.snapshot.number} of {origin['chest.snapshot_time']}{day}",
        "etl_name": "chest export --format meds",
        "etl_version": __version__,
        "meds_version": MEDS_VERSION,
        "raw_source_id_columns": ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "source_key"],
        "code_modifier_columns": ["unit"],
        "additional_value_modality_columns": ["dcm_key"],
        "other_extension_columns": ["clock", "known_time"],
    }
    path.write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
