"""Options of the commands that run a cohort."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from warehouse.cli import options
from warehouse.cli.output import print_note
from warehouse.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from warehouse.cohorts import CohortAnswer
    from warehouse.cohorts.split import Split
    from warehouse.cohorts.tables import Table
    from warehouse.query.session import Session

Name = Annotated[str, typer.Argument(metavar="NAME|FILE.sql", help="A shipped cohort (chest cohort list) or a file.")]
Param = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        metavar="NAME=VALUE",
        help="A parameter; repeat it for a list, or give NAME=@FILE with one value per line.",
    ),
]

Tables = Annotated[
    list[str] | None,
    typer.Option(
        "--table",
        metavar="NAME=FILE",
        help="A table of your own that the cohort reads under this name: a .csv or .parquet file. May be repeated.",
    ),
]


def prepare(warehouse: Session, name: str, param: list[str] | None, table: list[str] | None) -> CohortAnswer:
    """Prepare a cohort with its parameters and tables; a note shows the types of each table."""
    from warehouse import cohorts

    given = parse_parameters(param)
    require_permit(warehouse, name, given)
    asked = cohorts.CohortAnswer.prepare(warehouse, name, given, parse_tables(table))
    note_tables(asked.tables)
    return asked


def needs_permit(warehouse: Session, name: str, given: Mapping[str, object]) -> bool:
    """Whether a cohort is one's own, on a lake that enforces agreements, without any: whoever writes a question decides
    what a count, a label or an error discloses. So does whoever names patients, or puts numbers or sums together."""
    from warehouse.cohorts import list_shipped
    from warehouse.cohorts.parameters import may_disclose

    is_free = name in list_shipped() and not any(may_disclose(*each) for each in given.items())
    return not is_free and options.find_base(warehouse) > 0


def require_permit(warehouse: Session, name: str, given: Mapping[str, object]) -> None:
    """AccessRefusedError, which is logged, for such a cohort."""
    if needs_permit(warehouse, name, given):
        options.permit(warehouse, "", leaves=True)


def require_classes(asked: CohortAnswer, columns: Sequence[str], others: Collection[str] = ()) -> None:
    """AccessRefusedError, which is logged, for groups by days or numbers, on a lake that enforces agreements, without
    any: such a group may be one patient's. `others` are columns beside those of the answer that are no classes."""
    from warehouse.cohorts.table1 import list_classes
    from warehouse.engine.names import fold_name

    known = {*map(fold_name, (*asked.rows.column_names, *others))} - {*map(fold_name, list_classes(asked))}
    if known & {*map(fold_name, columns)} and options.find_base(asked.warehouse) > 0:
        options.permit(asked.warehouse, "", leaves=True)


def require_plain_split(warehouse: Session, rule: Split) -> None:
    """AccessRefusedError, which is logged, for a split of one's own, on a lake that enforces agreements, without any.

    The side of a patient is known to whoever knows the pseudonym, so the share at which a rounded count changes names
    a patient who is in; other seeds name others. Centres that are held out put numbers together.
    """
    from warehouse.cohorts.split import UNITS, Split

    if rule not in {Split(by=unit) for unit in UNITS} and options.find_base(warehouse) > 0:
        options.permit(warehouse, "", leaves=True)


def log_release(answer: CohortAnswer, *, counts_to: int | None = None, **facts: Any) -> None:
    """Log that a cohort's answer is about to leave, if it is under an agreement, and whose it is.

    With `counts_to` only counts leave, rounded to that base: of the answer and of each of its steps.
    """
    from warehouse.cohorts.counted import list_patients

    if not answer.warehouse.cover:
        return
    parts = dict(list_patients(answer, with_steps=counts_to is not None))
    options.log_release(
        answer.warehouse,
        parts.pop("", None),
        parts=parts,
        counts_to=counts_to,
        cohort=answer.definition.name,
        rows=answer.rows.num_rows,
        **facts,
    )


def note_tables(tables: Mapping[str, Table]) -> None:
    """Print a note for each table: its rows, and its columns with their types."""
    for table in tables.values():
        print_note(str(table))


def parse_tables(words: list[str] | None) -> dict[str, str]:
    """Parse `name=file` words; the names and files are checked when they are read."""
    found: dict[str, str] = {}
    for word in words or []:
        name, equals, path = word.partition("=")
        if not equals or not name or not path:
            raise UsageError(f"--table {word!r} is not name=file. Example: --table reads=reads.csv")
        if name in found:
            raise UsageError(f"--table {name} is given twice.")
        found[name] = path
    return found


def parse_parameters(words: list[str] | None) -> dict[str, object]:
    """Parse `name=value` words: a repeated name makes a list, and `@FILE` reads a list, one value per line."""
    found: dict[str, object] = {}
    for word in words or []:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"--param {word!r} is not name=value. Example: --param centre=Leeds")
        values = _read_lines(value[1:]) if value.startswith("@") else [value]
        before = found.get(name)
        if before is None and not value.startswith("@"):
            found[name] = value
        else:
            found[name] = [*(before if isinstance(before, list) else [] if before is None else [before]), *values]
    return found


def _read_lines(file: str) -> list[str]:
    from warehouse.engine.query_text import read_text

    return [line.strip() for line in read_text(file).split("\n") if line.strip()]
