"""chest cohort: list, show and run the cohorts of sql/cohorts, or files of one's own."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from warehouse.cli import options
from warehouse.cli.output import Format, note, write, write_json
from warehouse.errors import UsageError

if TYPE_CHECKING:
    from warehouse.cohorts import Definition
    from warehouse.cohorts.compare import Difference
    from warehouse.reader import Warehouse

Name = Annotated[str, typer.Argument(metavar="NAME|FILE.sql", help="A shipped cohort (chest cohort list) or a file.")]
Param = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        metavar="NAME=VALUE",
        help="A parameter; a list takes several of them, or NAME=@FILE with a value a line.",
    ),
]
TableOrJson = Annotated[Format, typer.Option("--format", help="table or json")]

cohort = typer.Typer(
    name="cohort",
    help="Cohorts: named questions in SQL whose rows name patients, studies, series or images (docs/cohorts.md).",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def add_to(app: typer.Typer) -> None:
    """Add the family to the app."""
    app.add_typer(cohort)


def parameters(words: list[str] | None) -> dict[str, object]:
    """`name=value` words as parameters: a name said again makes a list, `@FILE` reads one, a value a line."""
    found: dict[str, object] = {}
    for word in words or []:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"--param {word!r}: say name=value, as in --param centre=Leeds.")
        values = _lines(Path(value[1:])) if value.startswith("@") else [value]
        before = found.get(name)
        if before is None and not value.startswith("@"):
            found[name] = value
        else:
            found[name] = [*(before if isinstance(before, list) else [] if before is None else [before]), *values]
    return found


def _lines(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}.") from None


def _table_or_json(form: Format, command: str) -> None:
    if form not in (Format.TABLE, Format.JSON):
        raise UsageError(f"chest cohort {command} writes table or json, not {form}.")


@cohort.command("list")
def list_(form: TableOrJson = Format.TABLE) -> None:
    """List the shipped cohorts: name, grain, title, question, parameters; no lake is needed.

    \b
    Example:
    $ chest cohort list
    """
    from warehouse.cohorts import load, shipped

    _table_or_json(form, "list")
    known = [load(name) for name in shipped()]
    if form is Format.JSON:
        write_json([_about(definition) for definition in known])
        return
    from rich.console import Console

    console = Console(markup=False, highlight=False)
    for definition in known:
        console.print(f"{definition.name}  ({definition.grain})", style="bold")
        console.print(f"  {definition.title}")
        console.print(f"  {definition.question}")
        if definition.params:
            console.print(f"  --param {', '.join(p.name for p in definition.params)}")
    note("What a cohort does, step by step:  chest cohort show NAME")


def _about(definition: "Definition") -> dict[str, Any]:
    return {
        "name": definition.name,
        "title": definition.title,
        "question": definition.question,
        "definition": definition.definition,
        "limits": definition.limits,
        "grain": definition.grain,
        "params": [
            {"name": p.name, "type": p.type, "default": p.default, "meaning": p.meaning} for p in definition.params
        ],
        "labels": definition.labels,
        "steps": [{"name": s.name, "line": s.line, "meaning": s.meaning, "reads": s.reads} for s in definition.steps],
    }


@cohort.command()
def show(name: Name, form: TableOrJson = Format.TABLE) -> None:
    """Show a cohort: what it asks, its limits, parameters, labels and steps, and its SQL; no lake is needed.

    \b
    Example:
    $ chest cohort show covid_risk
    """
    from warehouse.cohorts import load

    _table_or_json(form, "show")
    definition = load(name)
    if form is Format.JSON:
        write_json({**_about(definition), "sql": definition.sql})
        return
    from rich.console import Console

    console = Console(markup=False, highlight=False)
    console.print(f"{definition.title} ({definition.name})", style="bold")
    console.print(definition.question)
    for title, text in (("Definition", definition.definition), ("Limits", definition.limits)):
        if text:
            console.print(f"\n{title}. {text}")
    console.print(f"\nA row is: {definition.grain} ({definition.grain_column})")
    _section(console, "Parameters", [(f"{p.name} {p.type} = {p.default}", p.meaning) for p in definition.params])
    _section(console, "Labels", list(definition.labels.items()))
    _section(console, "Steps", [(f"{s.name} (line {s.line})", s.meaning) for s in definition.steps])
    console.print(f"\n{definition.path}:\n", style="bold")
    body = definition.sql.splitlines()
    first = next(at for at, line in enumerate(body) if line.strip() and not line.startswith("--"))
    for number, line in enumerate(body[first:], first + 1):
        console.print(f"{number:>4}  {line}", soft_wrap=True)


def _section(console: Any, title: str, rows: list[tuple[str, str]]) -> None:
    from rich.table import Table

    if not rows:
        return
    console.print(f"\n{title}", style="bold")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name, meaning in rows:
        table.add_row(f"  {name}", meaning)
    console.print(table)


@cohort.command()
def run(
    name: Name,
    param: Param = None,
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
    form: options.Answer = None,
    output: options.Target = None,
) -> None:
    """Run a cohort: its rows, in the order of what they name.

    \b
    Examples:
    $ chest cohort run covid_risk --as-of 2020-06-01
    $ chest cohort run mine.sql --param centres=Leeds --param centres=Oxford -o mine.csv
    """
    from warehouse import cohorts

    with options.opened(lake, as_of, snapshot, group) as warehouse:
        found = cohorts.prepare(warehouse, name, parameters(param))
        write(found.relation(), form, output)
        day = f" as of {warehouse.day}" if warehouse.day else ""
        note(f"{found.rows.num_rows:,} rows, one a {found.definition.grain}{day}, snapshot {warehouse.snapshot.number}")


@cohort.command()
def compare(
    name: Name,
    from_: Annotated[str | None, typer.Option("--from", metavar="DAY|SNAPSHOT", help="A day, or a snapshot.")] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="DAY|SNAPSHOT", help="Likewise; now by default.")] = None,
    with_: Annotated[str | None, typer.Option("--with", help="Another cohort or file, for the second answer.")] = None,
    param: Param = None,
    lake: options.Lake = options.DEFAULT_LAKE,
    group: options.Group = options.DEFAULT_GROUP,
    form: options.Answer = None,
    output: options.Target = None,
) -> None:
    """Compare a cohort's answers of two days or two snapshots: who came, who left, what changed, and why.

    \b
    Examples:
    $ chest cohort compare covid_risk --from 2020-06-01 --to 2020-07-01
    $ chest cohort compare covid_risk --from 12 --to 14
    $ chest cohort compare covid_risk --with mine.sql
    """
    import pyarrow as pa

    from warehouse import cohorts
    from warehouse.cohorts import compare as comparing

    if from_ is None and with_ is None:
        raise UsageError("Say --from a day or a snapshot, or --with another cohort.")
    given = parameters(param)
    with _side(lake, from_, group) as then, _side(lake, to, group) as now:
        old = cohorts.prepare(then, name, given)
        new = cohorts.prepare(now, with_ or name, given)
        found = comparing.compare(old, new)
        columns = {
            "change": [d.change for d in found],
            old.definition.grain_column: [d.id for d in found],
            "patient_id": [d.patient_id for d in found],
            "step": [d.step for d in found],
            "why": ["; ".join(r.text for r in d.reasons) for d in found],
            "values": ["; ".join(f"{n}: {a} → {b}" for n, (a, b) in d.values.items()) for d in found],
        }
        if old.definition.grain == "patient":
            del columns["patient_id"]
            columns = {"change": columns.pop("change"), "patient_id": [d.id for d in found], **columns}
        write(now.con.from_arrow(pa.table({k: pa.array(v, pa.string()) for k, v in columns.items()})), form, output)
        _sum_up(old.rows.num_rows, new.rows.num_rows, found)


def _side(lake: str, when: str | None, group: str) -> "contextlib.AbstractContextManager[Warehouse]":
    """The warehouse at a snapshot, where a number is given, else as of a day."""
    if when is not None and when.isdigit():
        return options.opened(lake, None, int(when), group)
    return options.opened(lake, when, None, group)


def _sum_up(before: int, after: int, found: "list[Difference]") -> None:
    from collections import Counter

    changes = Counter(d.change for d in found)
    told = ", ".join(f"{changes[word]:,} {word}" for word in ("came", "left", "changed"))
    note(f"{before:,} rows before, {after:,} after: {told}.")
    for kind, count in Counter(r.kind for d in found for r in d.reasons).most_common():
        note(f"  {count:>6,}  {kind}")
