"""Runs the examples beside a cohort, and compares its answers with those expected."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.cohorts.answer import CohortAnswer
from warehouse.cohorts.examples.lake import open_example
from warehouse.cohorts.examples.parsing import Example, ExampleTable, load_examples
from warehouse.cohorts.parsing import list_shipped, load
from warehouse.engine import limits, sql_files
from warehouse.engine.names import suggest_nearest
from warehouse.errors import UsageError
from warehouse.settings import load_settings

if TYPE_CHECKING:
    import pyarrow as pa

    from warehouse.query.session import Session


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an example: the expected rows that the answer lacks, and the rows that are not expected."""

    name: str
    line: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether the answer is the expected one."""
        return not self.missing and not self.unexpected


def find_examples(name_or_path: str) -> Path:
    """Find the file of examples beside a cohort: NAME.test.txt. UsageError if there is none."""
    shipped = name_or_path in list_shipped()
    path = sql_files.find_root() / f"cohorts/{name_or_path}.sql" if shipped else Path(name_or_path)
    found = path.with_suffix(".test.txt")
    if not found.is_file():  # reading a pipe that somebody else put there would block
        raise UsageError(f"There are no examples in {found}. Write them there, or name a file with --examples.")
    return found


def run_examples(name_or_path: str, examples: Path | str | None = None) -> list[Outcome]:
    """Run the examples of a cohort on the real views; UsageError for a mistake in either file.

    Both are untrusted: all examples together have the time and memory of one query (`CHEST_SQL_SECONDS`).
    """
    found = []
    with limits.limit_resources(load_settings()):
        load(name_or_path)
        path = Path(examples or find_examples(name_or_path))
        # Examples with the same rows share a session: opening one takes longest.
        for _, alike in itertools.groupby(load_examples(path), lambda example: example.views):
            examples_alike = list(alike)
            with open_example(examples_alike[0], str(path)) as warehouse:
                found += [_run(warehouse, name_or_path, example, str(path)) for example in examples_alike]
    return found


def _run(opened: Session, cohort: str, example: Example, path: str) -> Outcome:
    assert example.answer is not None
    warehouse = opened.group(example.group)
    warehouse = warehouse.as_of(example.as_of) if example.as_of else warehouse
    with warehouse.limited():
        tables = {name: _to_frame(table) for name, table in example.tables.items()}
        answer = CohortAnswer.prepare(warehouse, cohort, example.parameters, tables)
        rows = answer.rows
        for column in example.answer.columns:
            if column not in rows.column_names:
                near = suggest_nearest(column, rows.column_names)
                raise UsageError(f"{path}:{example.answer.line + 1}: The answer has no column {column}.{near}")
        names = example.answer.columns
        found = Counter(tuple(map(_to_text, row.values())) for row in rows.select(names).to_pylist())
    meant = Counter(tuple(None if c == "null" else c for c in cells) for _, cells in example.answer.rows)
    return Outcome(
        example.name,
        example.line,
        tuple(_render(names, row) for row in sorted((meant - found).elements(), key=str)),
        tuple(_render(names, row) for row in sorted((found - meant).elements(), key=str)),
    )


def _to_frame(table: ExampleTable) -> pa.Table:
    import pyarrow as pa

    cells = [[None if cell == "null" else cell for cell in row] for _, row in table.rows]
    return pa.table(
        {name: pa.array([row[place] for row in cells], pa.string()) for place, name in enumerate(table.columns)}
    )


def _to_text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat(" ") if isinstance(value, datetime) else str(value)


def _render(names: list[str], row: tuple[str | None, ...]) -> str:
    return ", ".join(f"{name} = {'null' if value is None else value}" for name, value in zip(names, row, strict=True))
