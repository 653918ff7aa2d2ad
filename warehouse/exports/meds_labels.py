"""The labels of a cohort as MEDS has them: subject, prediction time and one value in the column of its type."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.engine import sql_files
from warehouse.engine.names import fold_name
from warehouse.engine.sql_files import identifier
from warehouse.errors import UsageError
from warehouse.filesystem.files import make_folder

if TYPE_CHECKING:
    import duckdb

    from warehouse.cohorts import CohortAnswer

#: The column of a label by its type in DuckDB; a label of another type, such as a day, is left out.
_VALUES = (
    (re.compile("BOOLEAN"), "boolean_value", "boolean"),
    (re.compile("U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)"), "integer_value", "bigint"),
    (re.compile(r"DOUBLE|FLOAT|DECIMAL\(.*"), "float_value", "float"),
    (re.compile(r"VARCHAR|ENUM\(.*"), "categorical_value", "varchar"),
)
#: The columns of an answer with the day of a prediction, the first that is there.
_DAYS = ("known_at", "StudyDate")
_SPLIT = "split"


def write_labels(con: duckdb.DuckDBPyConnection, folder: Path, cohort: CohortAnswer, origin: dict[str, str]) -> int:
    """Write a file for each label, and the splits if the answer has them; returns the number of labels.

    UsageError for a cohort without labels, or whose rows have no day.
    """
    from warehouse.exports.meds import write_table

    sql = sql_files.read_statements("exports/meds.sql")
    time = _prepare_answers(con, cohort)
    types = dict(zip(*_describe(con), strict=True))
    below = folder / "labels" / _to_file_name(cohort.definition.name)
    make_folder(below)
    written = set()
    for label in [name for name in types if fold_name(name) in map(fold_name, cohort.definition.labels)]:
        found = next(((value, kind) for form, value, kind in _VALUES if form.fullmatch(types[label])), None)
        if not found or fold_name(label) in (_SPLIT, *map(fold_name, _DAYS)):
            continue
        value, kind = found
        query = sql_files.fill(
            sql["labels"], label=identifier(label), time=time, type=identifier(kind), value=identifier(value)
        )
        path = below / f"{_to_file_name(label)}.parquet"
        if path.name.lower() in written:
            raise UsageError(f"Two labels of {cohort.definition.name} would be in {path.name}: rename {label}.")
        written.add(path.name.lower())
        write_table(con.sql(query), path, origin)
    if not written:
        raise UsageError(
            f"Cohort {cohort.definition.name} has no label that MEDS can hold (true or false, number, text). Declare "
            "one:  -- label NAME: meaning"
        )
    if split := next((name for name in types if fold_name(name) == _SPLIT), None):
        _write_splits(con, sql["splits"], split, folder, origin)
    return len(written)


def _prepare_answers(con: duckdb.DuckDBPyConnection, cohort: CohortAnswer) -> str:
    """Create `meds_answers`; returns the prediction time as SQL."""
    names = {fold_name(name): name for name in cohort.rows.column_names}
    grain = cohort.definition.grain_column
    patient = f"answer.{identifier(names['patient_id'])}" if "patient_id" in names else "found.patient_id"
    con.register("answer", cohort.rows)
    try:
        sql = sql_files.read_statements("exports/meds.sql")
        con.execute(sql_files.fill(sql["answers"], grain=identifier(grain), patient=patient))
    finally:
        con.unregister("answer")
    if stated := names.get("known_at"):
        if str(cohort.rows.schema.field(stated).type).startswith("timestamp"):
            return f"cast({identifier(stated)} as timestamp)"
        return f"cast({identifier(stated)} as date) + time '23:59:59.999999'"
    if grain == "patient_id" and "studydate" not in names:
        raise UsageError(
            f"Cohort {cohort.definition.name} does not state when a prediction is made: its rows are patients. Give it "
            "a column known_at with the day up to which data may be used."
        )
    day = names.get("studydate", "the day")
    return f"cast({identifier(day)} as date) + time '23:59:59'"


def _describe(con: duckdb.DuckDBPyConnection) -> tuple[list[str], list[str]]:
    found = con.sql("from meds_answers limit 0")
    return found.columns, [str(kind) for kind in found.types]


def _write_splits(con: duckdb.DuckDBPyConnection, query: str, split: str, folder: Path, origin: dict[str, str]) -> None:
    from warehouse.exports.meds import write_table

    rows = con.sql(sql_files.fill(query, split=identifier(split)))
    (doubled,) = rows.aggregate("count(*) - count(distinct subject_id)").fetchall()[0]
    if doubled:
        raise UsageError("Some patients are on two sides of the split, which MEDS forbids. Split by patient.")
    write_table(rows, folder / "metadata/subject_splits.parquet", origin)


def _to_file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)
