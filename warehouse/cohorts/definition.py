"""The definition of a cohort: the parts of its file, and its SQL in the form that runs.

-- title: Films of positive patients
-- question: Which films were taken of patients who are positive?
-- grain: study
-- param since DATE = '2020-03-01': only studies from this day on
-- label covid_status: positive or negative
with
…
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from warehouse.cohorts.header import GRAINS, DefinitionError, Parameter, Problem
from warehouse.cohorts.sql_text import find_placeholders
from warehouse.cohorts.tables.declaration import Declaration
from warehouse.engine.names import fold_name

if TYPE_CHECKING:
    from sqlglot import exp

#: The name of the final SELECT when it becomes a step; no user's step can have it.
ANSWER = '"the answer"'


@dataclass(frozen=True, slots=True)
class Step:
    """A named step of the SQL: the position of its SELECT in the text, its line, the comment above it, and the steps
    that it reads; `after` is the one that its FROM begins with."""

    name: str
    start: int
    end: int
    line: int
    meaning: str
    reads: tuple[str, ...] = ()
    after: str = ""
    is_kept: bool = False


@dataclass(frozen=True)
class Definition:
    """A cohort as its file defines it."""

    name: str
    path: str
    title: str
    question: str
    grain: str
    definition: str
    limits: str
    params: tuple[Parameter, ...]
    labels: dict[str, str]
    steps: tuple[Step, ...]
    answer: Step
    sql: str
    warnings: tuple[Problem, ...]
    tree: exp.Query = field(repr=False, compare=False)
    tables: tuple[Declaration, ...] = ()
    #: The relations that the SQL reads and that are neither views nor steps.
    tables_read: tuple[str, ...] = ()
    #: Whether DuckDB holds the right side of each join in memory, whichever it takes for smaller.
    has_joins_as_written: bool = False

    @property
    def grain_column(self) -> str:
        """The column that identifies a row."""
        return GRAINS[self.grain]

    @cached_property
    def declared_tables(self) -> dict[str, dict[str, str]]:
        """The columns with their types of each table that the header declares."""
        return {table.name: table.columns for table in self.tables}

    @cached_property
    def bound_sql(self) -> str:
        """The SQL with every `$name` as `cast($name as TYPE)`, so that a null or an empty list has a type; line numbers
        stay the same. Values are bound, not inserted."""
        return _apply_edits(self.sql, self._casts())

    def followed_by(self, final: str) -> str:
        """Turn the final SELECT into a step, ANSWER, and append another SELECT over all steps.

        Steps are materialized, so that each is computed once; line numbers stay the same.
        """
        opening = f"{', ' if self.steps else 'with '}{ANSWER} as materialized ("
        edits = [(step.start - 1, step.start - 1, " materialized ") for step in self.steps if not step.is_kept]
        whole = [*self._casts(), *edits, (self.answer.start, self.answer.start, opening)]
        return f"{_apply_edits(self.sql[: self.answer.end], whole)}\n)\n{final}"

    def _casts(self) -> list[tuple[int, int, str]]:
        types = {fold_name(p.name): p.type for p in self.params}
        return [
            (at, until, f"cast(${name} as {types[fold_name(name)]})") for at, until, name in find_placeholders(self.sql)
        ]

    def problem(self, line: int, message: str) -> DefinitionError:
        """Create the error for a line of the file."""
        return DefinitionError(self.path, [Problem(line, message)])


def _apply_edits(text: str, edits: list[tuple[int, int, str]]) -> str:
    """Replace parts of a text; an edit is (start, end, replacement)."""
    parts, end = [], 0
    for start, until, instead in sorted(edits):
        parts += [text[end:start], instead]
        end = until
    return "".join([*parts, text[end:]])
