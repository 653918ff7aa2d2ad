"""The questions that run SQL of somebody else, or a cohort: what each of them returns. They run in `workers`.

A question is plain data that can be sent to a process; so is its answer. Counts are rounded by `suppress` as they are
made, and `patients` names nobody: it has digests of the patients who were counted, for `differencing`.
"""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.cohorts.parameters import FIXING
from warehouse.engine.faults import require_lake
from warehouse.engine.json_values import to_json_value
from warehouse.engine.names import fold_name
from warehouse.errors import CountFailedError, NotFoundError, UntrustedSqlError, UsageError
from warehouse.service import counted_patients
from warehouse.service.encoding import Form, encode_relation, encode_table
from warehouse.service.scope import Scope

if TYPE_CHECKING:
    import duckdb
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
    """The answer: rows (an Arrow IPC stream, or the form that was asked for), a document for JSON, or a file.

    `truncated` says that rows were left off; `is_repeatable` that the same question gives the same answer of the same
    snapshot. `patients` are those who were counted, by the name of what was counted (differencing.py).
    """

    rows: bytes | None = None
    n_rows: int = 0
    columns: tuple[tuple[str, str], ...] = ()
    document: Any = None
    file: bytes | None = None
    truncated: bool = False
    is_repeatable: bool = True
    patients: Mapping[str, frozenset[int]] = field(default_factory=dict)

    def to_table(self) -> pa.Table:
        """The rows as an Arrow table, if they were asked for in that form, which is the default."""
        import pyarrow as pa

        return pa.ipc.open_stream(self.rows or b"").read_all()


def answer_question(warehouse: Warehouse, question: Question) -> Answer:
    """Answer a question from a session of its scope; a WarehouseError if it cannot be answered."""
    return KINDS[question.kind](warehouse, question.arguments)


def _run_sql(warehouse: Warehouse, given: Mapping[str, Any]) -> Answer:
    """Untrusted SQL: at most `most_rows` rows."""
    import duckdb

    from warehouse.engine.messages import clean_message

    held = warehouse.sandboxed()
    with held.limited():
        relation = held.ask(given["sql"], given.get("parameters") or {})
        try:
            found = _encode(relation, given)
        except duckdb.Error as error:
            require_lake(error)
            raise UsageError(f"The query failed. {clean_message(error)}") from None
        return replace(found, is_repeatable=_is_repeatable(held, given["sql"]))


def _is_repeatable(held: Warehouse, sql: str) -> bool:
    from warehouse.query.sandbox import check_tree

    try:
        check_tree(held.con, sql, repeatable=True)
    except UntrustedSqlError:
        return False
    return True


def _run_cohort(warehouse: Warehouse, given: Mapping[str, Any]) -> Answer:
    """The rows of a cohort: at most `most_rows`."""
    with warehouse.limited():
        return _encode(_prepare(warehouse, given).relation(), given)


def _list_members(warehouse: Warehouse, given: Mapping[str, Any]) -> Answer:
    """Whom or what a cohort chose, all of it: the distinct values of the column of its grain."""
    with warehouse.limited():
        cohort = _prepare(warehouse, given)
        column = cohort.definition.grain_column
        chosen = cohort.rows.column(column).unique().drop_null().to_pylist()
        return Answer(document={"column": column, "members": chosen})


def _count_cohort(warehouse: Warehouse, given: Mapping[str, Any]) -> Answer:
    """The number of patients of a cohort, rounded."""
    from warehouse.cohorts.attrition import count_patients

    with _prepare_count(warehouse, given) as cohort:
        counted = count_patients(cohort, given["suppress"])
        document = _describe(cohort, given, patients=counted)
        return Answer(document=document, patients=_digest(cohort, given, answer_only=True))


def _follow_attrition(warehouse: Warehouse, given: Mapping[str, Any]) -> Answer:
    """What remains after each step of a cohort, rounded."""
    from warehouse.cohorts.attrition import count_steps, to_table

    with _prepare_count(warehouse, given) as cohort:
        counted = count_steps(cohort, given["suppress"])
        steps = [
            {"step": c.step, "meaning": c.meaning, "after": c.after, "line": c.line, "counts": c.counts, "lost": c.lost}
            for c in counted
        ]
        answer = _encode_table(to_table(counted), given, _describe(cohort, given, steps=steps))
        return replace(answer, patients=_digest(cohort, given))


def _tabulate(warehouse: Warehouse, given: Mapping[str, Any]) -> Answer:
    """Table 1 of a cohort, rounded."""
    from warehouse.cohorts import table1_data
    from warehouse.cohorts.table1 import tabulate_characteristics

    with _prepare_count(warehouse, given) as cohort:
        if given["digests"]:
            _require_classes(cohort, given.get("by"))
        table = tabulate_characteristics(cohort, given.get("by"), suppress=given["suppress"])
        answer = _encode_table(table1_data.to_arrow(table), given, table1_data.to_json(table))
        return replace(answer, patients=counted_patients.digest_characteristics(cohort) if given["digests"] else {})


def _export_manifest(warehouse: Warehouse, given: Mapping[str, Any]) -> Answer:
    """The folder of a cohort's manifest, as a zip file. It is not recorded in the lake, which is only read here."""
    from warehouse.access.log import read_head
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
            head = read_head(warehouse.location, warehouse.settings)
            write_files(cohort, rows, objects, folder, head=head)
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
        return Cohort.ask(warehouse, parse(text, f"{Path(given.get('name') or 'cohort').stem}.sql"), parameters)
    if given["name"] not in list_shipped():  # a name from outside is never a path
        raise NotFoundError(f"There is no cohort {given['name']!r}. The cohorts are {', '.join(list_shipped())}.")
    return warehouse.cohort(given["name"], **parameters)


@contextlib.contextmanager
def _prepare_count(warehouse: Warehouse, given: Mapping[str, Any]) -> Iterator[Cohort]:
    """A cohort that is counted, within the limits.

    CountFailedError if its query fails as it runs, where counts are remembered: whether it does may depend on a single
    patient, such as a date that a parameter is added to.
    """
    from warehouse.cohorts import DefinitionError

    with warehouse.limited():
        cohort = _prepare(warehouse, given)
        if given["digests"]:
            _require_plain(cohort, given.get("parameters") or {})
        try:
            yield cohort
        except DefinitionError:
            if not given["digests"]:
                raise
            raise CountFailedError(f"{cohort.definition.name} cannot be counted with these parameters.") from None


def _require_plain(cohort: Cohort, parameters: Mapping[str, Any]) -> None:
    """UsageError for parameters that put numbers or sums together: of enough of them the small number left is known.

    With 20 to 24 others of whom all are drawn, rounded numbers show how many the rest are; so do unions of centres.
    """
    chosen = {fold_name(name) for name in parameters}
    for name, value in cohort.values.items():
        if fold_name(name) in chosen and name in FIXING:
            raise UsageError(
                f"Those who may see counts alone cannot choose {name}: it fixes how many are drawn, or whom."
            )
        if fold_name(name) in chosen and isinstance(value, list) and len(value) > 1:
            raise UsageError(f"Those who may see counts alone choose one value of {name}, not {len(value)}.")


def _require_classes(cohort: Cohort, by: str | None) -> None:
    """UsageError for a column that names patients, images, days or numbers: a group would disclose whose it is."""
    from warehouse.cohorts.table1 import list_classes

    if by is not None and by not in (classes := list_classes(cohort)):
        raise UsageError(f"Those who may see counts alone are shown groups by {', '.join(classes)}.")


def _describe(cohort: Cohort, given: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    values = to_json_value(cohort.values)
    return {"cohort": cohort.definition.name, "parameters": values, "suppress": given["suppress"], **more}


def _digest(cohort: Cohort, given: Mapping[str, Any], *, answer_only: bool = False) -> Mapping[str, frozenset[int]]:
    """Digests of the patients, where somebody will compare them: they cost as much as the counts."""
    return counted_patients.digest_steps(cohort, answer_only=answer_only) if given["digests"] else {}


def _encode(relation: duckdb.DuckDBPyRelation, given: Mapping[str, Any], document: Any = None) -> Answer:
    form = Form(given.get("form") or Form.arrow)
    made = encode_relation(relation, form, int(given["most_rows"]), int(given["most_bytes"]))
    return Answer(made.data, made.n_rows, made.columns, document, truncated=made.truncated)


def _encode_table(table: pa.Table, given: Mapping[str, Any], document: Any) -> Answer:
    """A document that is a table too, for the forms that have rows alone."""
    if (given.get("form") or Form.json) == Form.json:
        return Answer(document=document)
    made = encode_table(table, Form(given["form"]), int(given["most_rows"]), int(given["most_bytes"]))
    return Answer(made.data, made.n_rows, made.columns, document, truncated=made.truncated)


def _zip_folder(folder: Path) -> bytes:
    """The files of a folder in a zip file that is the same whenever it is made: without times."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(folder.iterdir()):
            archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return sink.getvalue()
