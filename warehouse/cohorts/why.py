"""Explains why a patient is not in a cohort: the step that excluded them, and its conditions that do not hold.

The conditions of the step's SELECT (joins, WHERE, QUALIFY; split at AND) are evaluated on the patient's rows of the
step before it. What is evaluated is SQL of the cohort, so it is admitted like the cohort itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from warehouse.cohorts import exclusion
from warehouse.cohorts.definition import Definition, Step
from warehouse.cohorts.header import GRAINS, DefinitionError
from warehouse.engine.names import fold_name
from warehouse.engine.rows import fetch_first
from warehouse.engine.sql_files import identifier
from warehouse.errors import NotFoundError, UsageError
from warehouse.query.session import ALL_GROUPS

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlglot import exp

    from warehouse.cohorts.answer import CohortAnswer

#: The most rows of a patient that are explained, each with all of its conditions.
MOST_ROWS = 500
_IDS = tuple(GRAINS.values())
_TYPED = re.compile(r"CAST\((\$\w+) AS [A-Z0-9_\[\]]+\)")


@dataclass(frozen=True, slots=True)
class Failure:
    """A row of the preceding step, a condition that does not hold for it (`false` or `null`), and the values."""

    ids: dict[str, str]
    condition: str
    outcome: str
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Why:
    """Why a patient is in or out. Of a patient who is out: the step, the relation before it, how many rows the patient
    has there, and what does not hold for them."""

    patient_id: str
    is_in: bool
    step: str = ""
    after: str = ""
    meaning: str = ""
    line: int = 0
    n_rows: int = 0
    failures: tuple[Failure, ...] = field(default=())

    def __str__(self) -> str:
        """One line for people."""
        if self.is_in:
            return f"{self.patient_id} is in the answer."
        meaning = f": {self.meaning}" if self.meaning else ""
        excluded = f"{self.patient_id} is excluded by step {self.step} (line {self.line}){meaning}"
        if not self.after:
            return excluded
        if not self.n_rows:
            return f"{excluded.rstrip('.')}. {self.after} has no row of this patient."
        rows = "1 row" if self.n_rows == 1 else f"{self.n_rows:,} rows"
        more = "" if self.failures else " No condition on a single row fails: the step compares rows with each other."
        return f"{excluded.rstrip('.')}. {self.after} has {rows} of this patient.{more}"


def explain_patient(cohort: CohortAnswer, patient_id: str) -> Why:
    """Explain why a patient is in or out; NotFoundError if the views do not show the patient."""
    from sqlglot.errors import SqlglotError

    _require_patient(cohort, patient_id)
    step = exclusion.find_excluding_step(cohort, patient_id)
    if step is None:
        return Why(patient_id, is_in=True)
    base = Why(patient_id, False, step.name, step.after, step.meaning, step.line)
    select = _find_select(cohort.definition, step)
    source = select.args["from_"].this if select is not None and select.args.get("from_") else None
    name = str(getattr(source, "name", "") or "")
    if select is None or not name:
        return base
    try:
        n_rows, failures = _evaluate(cohort, select, source, patient_id)
    except (DefinitionError, UsageError, RecursionError, SqlglotError):
        # A condition that has no value outside of its place, such as one on a GROUP BY, or that nests too deeply.
        return Why(patient_id, False, step.name, "", step.meaning, step.line)
    return Why(patient_id, False, step.name, step.after or name, step.meaning, step.line, n_rows, failures)


def to_table(why: Why) -> pa.Table:
    """Tabulate what does not hold: a row for each row of the patient and condition."""
    import pyarrow as pa

    ids = [name for name in _IDS if any(name in failure.ids for failure in why.failures)] or ["patient_id"]
    rows = why.failures or (() if why.is_in else (Failure({}, "", "", {}),))
    made: dict[str, list[Any]] = {name: [row.ids.get(name) for row in rows] for name in ids}
    made["patient_id"] = [why.patient_id] * len(rows)
    made["step"] = [why.step] * len(rows)
    made["after"] = [why.after or None] * len(rows)
    made["condition"] = [_TYPED.sub(r"\1", row.condition) or None for row in rows]
    made["is"] = [row.outcome or None for row in rows]
    made["values"] = [_format_values(row.values) or None for row in rows]
    return pa.table({name: pa.array(values, pa.string()) for name, values in made.items()})


def _format_values(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {'null' if value is None else value}" for name, value in values.items())


def _require_patient(cohort: CohortAnswer, patient_id: str) -> None:
    """NotFoundError unless the views show the patient; it distinguishes another group and a later day."""
    from warehouse.query.patient import find_patient

    wh = cohort.warehouse
    try:
        find_patient(wh, patient_id)
    except NotFoundError:
        with wh.without_limits() as everybody:
            known = fetch_first(
                everybody.con.execute(
                    "select group_name from patients where patient_id = $patient", {"patient": patient_id}
                )
            )
        if known is None:
            raise NotFoundError(
                f"There is no patient {patient_id!r} in this lake. Pseudonyms are case-sensitive."
            ) from None
        if wh.group_name not in (known[0], ALL_GROUPS):
            raise NotFoundError(
                f"Patient {patient_id!r} is not in group {wh.group_name}. Choose another with --group."
            ) from None
        raise NotFoundError(
            f"No data of patient {patient_id!r} were available as of {wh.day}. Choose a later day with --as-of."
        ) from None


def _find_select(definition: Definition, step: Step) -> exp.Select | None:
    """The SELECT of a step, with typed parameters; None for a union."""
    import sqlglot
    from sqlglot import exp

    tree: Any = sqlglot.parse_one(definition.bound_sql, dialect="duckdb")
    if step.name == "answer":
        query: Any = tree.copy()
        query.set("with_", None)
    else:
        query = next((cte.this for cte in tree.ctes if cte.alias == step.name), None)
    return query if isinstance(query, exp.Select) else None


def _split(condition: Any) -> Iterator[Any]:
    """The parts of a condition that AND joins."""
    from sqlglot import exp

    ahead = [condition]  # a list of thousands of conditions nests as deeply
    while ahead:
        part = ahead.pop()
        while isinstance(part, exp.Paren):
            part = part.this
        if isinstance(part, exp.And):
            ahead += [part.right, part.left]
        elif part is not None:
            yield part


def _evaluate(
    cohort: CohortAnswer, select: exp.Select, source: Any, patient_id: str
) -> tuple[int, tuple[Failure, ...]]:
    """Evaluate joins and WHERE on the patient's rows; QUALIFY only if they hold for one of them."""
    from sqlglot import exp

    joins = list(select.args.get("joins") or ())
    where = [*_split(select.args["where"].this)] if select.args.get("where") else []
    matched = [
        (join.sql("duckdb"), exp.Exists(this=exp.select("1").from_(join.this.copy()).where(join.args["on"].copy())))
        for join in joins
        if join.args.get("on") is not None and not join.side and isinstance(join.this, exp.Table | exp.Subquery)
    ]
    tests = [*matched, *((part.sql("duckdb"), part) for part in where)]
    loose = select.copy()
    for join in loose.args.get("joins") or ():
        if not join.side and (join.args.get("on") is not None or join.args.get("using")):
            join.set("kind", None)
            join.set("side", "LEFT")
    columns = _find_columns([*where, *(join.args["on"] for join in joins if join.args.get("on") is not None)])
    rows = _fetch(cohort, loose, source, [test for _, test in tests], columns, patient_id)
    failures = _collect(rows, [text for text, _ in tests], columns)
    qualify = select.args.get("qualify")
    if qualify is not None and any(all(row[f"test {n}"] for n in range(len(tests))) for row in rows):
        parts = [*_split(qualify.this)]
        kept = select.copy()
        kept.set("qualify", None)
        columns = _find_columns(parts)
        failures = _collect(
            _fetch(cohort, kept, source, parts, columns, patient_id, keep=True),
            [part.sql("duckdb") for part in parts],
            columns,
        )
    return len({tuple(row.get(f"id {name}") for name in (*_IDS, "row")) for row in rows}), failures


def _find_columns(conditions: list[Any]) -> list[Any]:
    """The columns that conditions read of the rows themselves, each once; not those of nested queries and lambdas."""
    from sqlglot import exp

    found: dict[str, Any] = {}
    for condition in conditions:
        for column in condition.find_all(exp.Column):
            around = column
            while around is not condition and not isinstance(around, exp.Query | exp.Lambda):
                around = around.parent
            if around is condition:
                found.setdefault(column.sql("duckdb"), column)
    return list(found.values())


def _fetch(
    cohort: CohortAnswer,
    select: exp.Select,
    source: Any,
    tests: list[Any],
    columns: list[Any],
    patient_id: str,
    *,
    keep: bool = False,
) -> list[dict[str, Any]]:
    """Fetch the patient's rows of the step's FROM with the outcome of each test and the value of each column."""
    from sqlglot import exp

    begins = fold_name(source.name)
    own = {name: table.columns for name, table in cohort.tables.items()}
    known = {fold_name(name): kinds for name, kinds in (own | cohort.step_columns).items()}
    has = [name for name in _IDS if name in known.get(begins, _columns_of_view(begins))]
    if not has:
        return []
    alias = source.alias_or_name
    asked = select.copy() if keep else exp.Select(**{k: v for k, v in select.args.items() if k in _FROM})
    items = [
        *(f"{identifier(alias)}.{name} as {identifier(f'id {name}')}" for name in has),
        # As texts, because Python does not have all days of DuckDB.
        *(f"cast({test.sql('duckdb')} as boolean) as {identifier(f'test {n}')}" for n, test in enumerate(tests)),
        *(f"cast({c.sql('duckdb')} as varchar) as {identifier(f'value {n}')}" for n, c in enumerate(columns)),
    ]
    asked.set("expressions", [exp.maybe_parse(item, dialect="duckdb") for item in items])
    finest = has[-1]
    whose = (
        '"id patient_id" = $the_patient'
        if "patient_id" in has
        else f"{identifier(f'id {finest}')} in (select {finest} from images where patient_id = $the_patient)"
    )
    query = f"select * from ({asked.sql('duckdb')}) where {whose} order by all limit {MOST_ROWS}"
    return list(cohort.fetch(cohort.definition.followed_by(query), the_patient=patient_id).to_pylist())


#: The parts of a SELECT that make its rows.
_FROM = ("from_", "joins", "laterals")


def _columns_of_view(view: str) -> set[str]:
    from warehouse.catalog import columns

    return (
        {column.name for column in columns.load_relations()[view].columns}
        if view in columns.load_relations()
        else set()
    )


def _collect(rows: list[dict[str, Any]], tests: list[str], columns: list[Any]) -> tuple[Failure, ...]:
    """The conditions that do not hold, each once for the same row and values."""
    found: dict[str, Failure] = {}
    for row in rows:
        ids = {name: row[f"id {name}"] for name in _IDS if f"id {name}" in row}
        values = {column.sql("duckdb"): row[f"value {n}"] for n, column in enumerate(columns)}
        for n, text in enumerate(tests):
            outcome = row[f"test {n}"]
            if outcome is None or outcome is False:
                named = {name: value for name, value in values.items() if name in text} or values
                failure = Failure(ids, text, "null" if outcome is None else "false", named)
                found.setdefault(repr(failure), failure)
    return tuple(found.values())
