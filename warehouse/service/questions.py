"""The questions that run SQL of somebody else, or a cohort: what each of them returns. They run in `workers`.

A question is plain data that can be sent to a process; so is its answer. Counts are rounded by `suppress` as they are
made, and `patients` names nobody: it has a digest of each patient that was counted, for `differencing`.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.errors import UsageError
from warehouse.service.scope import Scope

if TYPE_CHECKING:
    import pyarrow as pa

    from warehouse.api import Cohort, Warehouse


@dataclass(frozen=True, slots=True)
class Question:
    """A question: its kind (a key of `KINDS`), what it is asked of, and its arguments."""

    kind: str
    scope: Scope
    snapshot: int
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer: rows as an Arrow IPC stream, a document for JSON, or a file; and whether rows were left off."""

    rows: bytes | None = None
    document: Any = None
    file: bytes | None = None
    truncated: bool = False
    patients: frozenset[int] = frozenset()

    def to_table(self) -> pa.Table:
        """The rows as an Arrow table."""
        import pyarrow as pa

        return pa.ipc.open_stream(self.rows or b"").read_all()


def answer_question(warehouse: Warehouse, question: Question) -> Answer:
    """Answer a question from a session of its scope; a WarehouseError if it cannot be answered."""
    return KINDS[question.kind](warehouse, question.arguments)


def _run_sql(warehouse: Warehouse, given: Mapping[str, Any]) -> Answer:
    """Untrusted SQL: at most `most_rows` rows."""
    held, most = warehouse.sandboxed(), int(given["most_rows"])
    with held.limited():
        relation = held.ask(given["sql"], given.get("parameters") or {})
        return _to_answer(relation.limit(most + 1).to_arrow_table(), most)


def _run_cohort(warehouse: Warehouse, given: Mapping[str, Any]) -> Answer:
    """The rows of a cohort: at most `most_rows`."""
    with warehouse.limited():
        return _to_answer(_prepare(warehouse, given).rows, int(given["most_rows"]))


def _list_members(warehouse: Warehouse, given: Mapping[str, Any]) -> Answer:
    """Whom or what a cohort chose, all of it: the distinct values of the column of its grain."""
    with warehouse.limited():
        cohort = _prepare(warehouse, given)
        column = cohort.definition.grain_column
        chosen = warehouse.con.from_arrow(cohort.rows.select([column])).distinct().to_arrow_table()
        return replace(_to_answer(chosen, chosen.num_rows), document={"column": column})


def _count_cohort(warehouse: Warehouse, given: Mapping[str, Any]) -> Answer:
    """The number of patients of a cohort, rounded."""
    from warehouse.cohorts.attrition import count_patients

    with warehouse.limited():
        cohort = _prepare(warehouse, given)
        counted = count_patients(cohort, given["suppress"])
        return Answer(document=_describe(cohort, given, patients=counted), patients=_digest_patients(cohort))


def _follow_attrition(warehouse: Warehouse, given: Mapping[str, Any]) -> Answer:
    """What remains after each step of a cohort, rounded."""
    from warehouse.cohorts.attrition import count_steps

    with warehouse.limited():
        cohort = _prepare(warehouse, given)
        steps = [
            {"step": c.step, "meaning": c.meaning, "after": c.after, "line": c.line, "counts": c.counts, "lost": c.lost}
            for c in count_steps(cohort, given["suppress"])
        ]
        return Answer(document=_describe(cohort, given, steps=steps), patients=_digest_patients(cohort))


def _tabulate(warehouse: Warehouse, given: Mapping[str, Any]) -> Answer:
    """Table 1 of a cohort, rounded."""
    from warehouse.cohorts import table1_data
    from warehouse.cohorts.table1 import tabulate_characteristics

    with warehouse.limited():
        cohort = _prepare(warehouse, given)
        table = tabulate_characteristics(cohort, given.get("by"), suppress=given["suppress"])
        return Answer(document=table1_data.to_json(table), patients=_digest_patients(cohort))


def _export_manifest(warehouse: Warehouse, given: Mapping[str, Any]) -> Answer:
    """The folder of a cohort's manifest, as a zip file. It is not recorded in the lake, which is only read here."""
    import contextlib

    from warehouse.cohorts.leaks import require_no_leaks
    from warehouse.filesystem.files import open_temporary_folder
    from warehouse.manifests.export import write_files
    from warehouse.manifests.rows import DEFAULT_OBJECTS, OBJECTS, collect_rows
    from warehouse.manifests.sides import find_leaks

    objects = tuple(given.get("objects") or DEFAULT_OBJECTS)
    if unknown := [name for name in objects if name not in OBJECTS]:
        raise UsageError(f"There are no objects {unknown[0]!r}. Choose from {', '.join(OBJECTS)}.")
    with warehouse.limited(), open_temporary_folder() as folder:
        cohort = _prepare(warehouse, given)
        with contextlib.closing(collect_rows(cohort, objects, folder)) as rows:
            require_no_leaks(cohort.definition.name, find_leaks(rows.con, "manifest_rows", rows.labels))
            write_files(cohort, rows, objects, folder)
        return Answer(file=_zip_folder(folder))


#: The kinds of questions.
KINDS: dict[str, Callable[[Warehouse, Mapping[str, Any]], Answer]] = {
    "sql": _run_sql,
    "rows": _run_cohort,
    "members": _list_members,
    "counts": _count_cohort,
    "attrition": _follow_attrition,
    "table1": _tabulate,
    "manifest": _export_manifest,
}


def _prepare(warehouse: Warehouse, given: Mapping[str, Any]) -> Cohort:
    """Prepare the cohort of the arguments: a shipped one by `name`, or the text of one in `sql`."""
    from warehouse.api import Cohort
    from warehouse.cohorts.parsing import list_shipped, parse

    parameters = given.get("parameters") or {}
    if text := given.get("sql"):
        return Cohort.ask(warehouse, parse(text, given.get("name") or "cohort.sql"), parameters)
    if given["name"] not in list_shipped():  # a name from outside is never a path
        raise UsageError(f"There is no cohort {given['name']!r}. The cohorts are {', '.join(list_shipped())}.")
    return warehouse.cohort(given["name"], **parameters)


def _describe(cohort: Cohort, given: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    values = {
        name: value if isinstance(value, bool | int | float) else str(value) for name, value in cohort.values.items()
    }
    return {"cohort": cohort.definition.name, "parameters": values, "suppress": given["suppress"], **more}


def _digest_patients(cohort: Cohort) -> frozenset[int]:
    """A number for each patient of the answer, by which two answers can be compared."""
    import pyarrow as pa

    counted = cohort.warehouse.con.from_arrow(cohort.rows)
    if "patient_id" in cohort.rows.column_names:
        found = counted.select("hash(patient_id)").distinct().to_arrow_table()
    else:
        grain = cohort.definition.grain_column
        images = cohort.warehouse.images()
        found = (
            images.join(counted.select(grain), grain, how="semi").select("hash(patient_id)").distinct().to_arrow_table()
        )
    return frozenset(found.column(0).cast(pa.uint64()).to_pylist())


def _to_answer(table: pa.Table, most_rows: int) -> Answer:
    import pyarrow as pa

    kept = table.slice(0, most_rows)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, kept.schema) as writer:
        writer.write_table(kept)
    return Answer(rows=sink.getvalue(), truncated=table.num_rows > most_rows)


def _zip_folder(folder: Path) -> bytes:
    """The files of a folder in a zip file that is the same whenever it is made: without times."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(folder.iterdir()):
            archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return sink.getvalue()
