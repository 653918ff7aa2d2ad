"""Runs a cohort: types and binds its parameters, fetches the answer once and checks its grain."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from warehouse import notebook, settings
from warehouse.catalog import columns
from warehouse.cohorts import binding, division, parameters, validation
from warehouse.cohorts.definition import Definition
from warehouse.cohorts.header import DefinitionError
from warehouse.cohorts.parsing import load
from warehouse.cohorts.split import COLUMN, MEANING, Split
from warehouse.cohorts.tables import Given, Table, read_tables
from warehouse.engine import limits
from warehouse.engine.faults import require_lake
from warehouse.engine.messages import explain_shortage
from warehouse.engine.names import fold_name, suggest_nearest
from warehouse.engine.placeholders import refuse_placeholders
from warehouse.errors import LakeError, UntrustedSqlError, UsageError
from warehouse.query import macros, sandbox
from warehouse.query.views import list_columns

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb
    import pyarrow as pa

    from warehouse.query.session import Session


@dataclass(frozen=True)
class CohortAnswer:
    """A cohort with its parameters and the session that it runs in. `values` has every parameter, typed; `step_columns`
    has the columns of every step with their types, those of the answer under `answer`. With a `rule`, the rows are
    split by it: they have one more column, `split`."""

    warehouse: Session
    definition: Definition
    values: dict[str, Any]
    step_columns: dict[str, dict[str, str]]
    rule: Split | None = None
    #: Tables of the user's own that it reads, by name; they are on the connection of the session.
    tables: dict[str, Table] = field(default_factory=dict, kw_only=True)

    @classmethod
    def prepare(
        cls,
        warehouse: Session,
        name_or_path: str | Path,
        given: Mapping[str, object],
        tables: Given | None = None,
    ) -> Self:
        """Prepare a cohort to run; reports every error that can be found before it runs.

        `tables` has the tables of the user's own that it reads, by name: paths of .csv or .parquet, or frames.
        """
        definition = load(name_or_path)
        read = read_tables(tables or {}, definition.declared_tables, warehouse.settings, definition.tables_read)
        return cls.ask(warehouse, definition, given, read)

    @classmethod
    def ask(
        cls,
        warehouse: Session,
        definition: Definition,
        given: Mapping[str, object],
        tables: Mapping[str, Table] | None = None,
    ) -> Self:
        """Prepare a parsed definition, for example from a manifest; it will run on a sandboxed connection."""
        tables = dict(tables or {})
        if missing := [name for name in definition.declared_tables if name not in tables]:
            raise UsageError(
                f"Cohort {definition.name} reads the table {missing[0]}, which was not given: "
                f"--table {missing[0]}=FILE.csv or FILE.parquet. Its columns are "
                f"{', '.join(f'{c} {kind}' for c, kind in definition.declared_tables[missing[0]].items())}."
            )
        types = {name: table.columns for name, table in tables.items()}
        values, step_columns = check_definition(definition, given, types)
        refuse_placeholders("The cohort or a parameter", definition.sql, *values.values())
        held = warehouse.sandboxed(joins_as_written=definition.has_joins_as_written)
        held.require_covered(definition.sql, values)
        return cls(_attach_tables(held, tables), definition, values, step_columns, tables=tables)

    def on(self, warehouse: Session) -> Self:
        """The same question to another session, with the same tables."""
        held = warehouse.sandboxed(joins_as_written=self.definition.has_joins_as_written)
        return replace(self, warehouse=_attach_tables(held, self.tables))

    def __repr__(self) -> str:
        """The name, grain, parameters and warehouse; runs no query."""
        given = "".join(f", {name}={value!r}" for name, value in self.values.items())
        return f"<Cohort {self.definition.name} of {self.definition.grain}s{given}; {self.warehouse!r}>"

    def _repr_html_(self) -> str:
        """The same for a notebook, with the question."""
        given = ", ".join(f"{name} = {value}" for name, value in self.values.items())
        wh = self.warehouse
        facts = {
            "title": self.definition.title,
            "question": self.definition.question,
            "grain": self.definition.grain,
            "parameters": given,
            "group": wh.group_name,
            "as of": wh.day,
            "lake": f"{wh.location.name}, snapshot {wh.snapshot.number}",
        }
        return notebook.show_facts(f"Cohort {self.definition.name}", facts)

    @cached_property
    def rows(self) -> pa.Table:
        """The answer as an Arrow table, sorted by its grain column; fetched once. If it is split, `split` comes last.

        DefinitionError if the grain column has nulls or duplicates.
        """
        import pyarrow as pa

        if self.division is None:
            return self.unsplit_rows
        return self.unsplit_rows.append_column(COLUMN, pa.array(self.division.sides, pa.string()))

    @cached_property
    def unsplit_rows(self) -> pa.Table:
        """The answer without the column `split` that `split()` adds."""
        table = self.fetch(self.definition.bound_sql)
        validation.check_grain(table, self.definition)
        validation.check_days(table, self.definition)
        return table.sort_by(self.definition.grain_column)

    @cached_property
    def division(self) -> division.Division | None:
        """How the rows are divided into sides, if the answer is split; UsageError for an unknown held-out centre."""
        return division.divide(self, self.rule, self.unsplit_rows) if self.rule else None

    def split(self, rule: Split | None = None, /, **options: Any) -> Self:
        """The same cohort with one more label, `split`: the side of each row, as its patient's digest decides.

        `cohort.split(train=80, test=20, seed=1)`; the options are the fields of `Split`, or a Split is given. SQL,
        steps and attrition stay as they are. UsageError if the options are invalid, or if the answer has such a column
        already.
        """
        known = [each.name for each in fields(Split)]
        if unknown := sorted(options.keys() - {*known}):
            raise UsageError(f"A split has no option {unknown[0]}.{suggest_nearest(unknown[0], known)}")
        rule = rule or Split(**options)
        division.check_rule(self.definition, self.step_columns["answer"], rule)
        labels = {**self.definition.labels, COLUMN: MEANING}
        made = replace(self, definition=replace(self.definition, labels=labels), rule=rule)
        if "unsplit_rows" in self.__dict__:
            made.__dict__["unsplit_rows"] = self.unsplit_rows
        return made

    def fetch(self, sql: str, **more: object) -> pa.Table:
        """Run SQL derived from the definition, with its parameters and `more` bound.

        It is untrusted SQL (warehouse/query/sandbox): its text and its plan are checked, and its time is limited.
        """
        import duckdb

        con, values = self.warehouse.con, {**self.values, **more}
        try:
            macros.choose_tag_reading(con, sql)
            with self.warehouse.limited():
                sandbox.admit_query(con, sql, values, repeatable=True, relations=self.tables)
                return con.execute(sql, values).to_arrow_table()
        except UntrustedSqlError as error:
            raise self.definition.problem(error.line or self.definition.answer.line, error.reason) from None
        except UsageError:
            _check_snapshot(self.warehouse, self.definition)
            raise
        except duckdb.Error as error:
            require_lake(error)
            if shortage := explain_shortage(error):
                raise UsageError(f"Cohort {self.definition.name} could not run. {shortage}") from None
            raise binding.to_definition_error(error, self.definition) from None

    def relation(self) -> duckdb.DuckDBPyRelation:
        """The answer as a DuckDB relation, like those of the views."""
        return self.warehouse.con.from_arrow(self.rows)

    @property
    def result(self) -> duckdb.DuckDBPyRelation:
        """The same as `relation()`."""
        return self.relation()


def _attach_tables(held: Session, tables: Mapping[str, Table]) -> Session:
    """A session with the tables: a connection of its own, so that no other cohort sees them."""
    if not tables:
        return held
    own = held.fork()
    for table in tables.values():
        table.attach(own.con)
    return own


def _check_snapshot(warehouse: Session, definition: Definition) -> None:
    """LakeError if the snapshot lacks a view or column that the definition uses."""
    words = {fold_name(name) for name in re.findall(r"\w+", definition.sql)}
    for view in sorted(columns.list_views(), key=lambda one: one.name):
        there = list_columns(warehouse.con, view.name) if view.name in words else []
        for column in sorted(column.name for column in view.columns if view.name in words):
            if column not in there and (column.lower() in words or not there):
                needed = f"{column} in view {view.name}" if there else f"the view {view.name}"
                raise LakeError(
                    f"Cohort {definition.name} needs {needed}, which snapshot {warehouse.snapshot.number} lacks: "
                    "an older version published it. Refresh the lake, or choose a later snapshot."
                )


def check_definition(
    definition: Definition,
    given: Mapping[str, object] | None = None,
    tables: Mapping[str, Mapping[str, str]] | None = None,
) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """Return the values of the parameters and the columns of every step; no lake is needed.

    `tables` has the columns of the tables that were given; the others are as the header declares them.

    DefinitionError for errors in the file, UsageError for errors in the parameters given. If `given` is None, required
    parameters are null.
    """
    with contextlib.closing(binding.open_shell()) as con, limits.limit_resources(settings.load_settings(), con):
        needed = {p.name: None for p in definition.params if p.default is None} if given is None else {}
        values = parameters.parse_parameters(con, definition, given if given is not None else needed)
        known = {**definition.declared_tables, **(tables or {})}
        binding.create_tables(con, known)
        if refused := validation.find_refusals(con, definition, known):
            raise DefinitionError(definition.path, refused)
        return values, binding.bind(con, definition, values)
