"""chest cohort split: the sides of a split, how alike they are, and the side of each patient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from warehouse.cli import options, split_options
from warehouse.cli.cohort_options import Name, Param, Tables, log_release, prepare, require_classes, require_plain_split
from warehouse.cli.output import Format, format_count, print_line, print_note, write_json, write_rows

if TYPE_CHECKING:
    import pyarrow as pa

    from warehouse.cohorts import CohortAnswer
    from warehouse.cohorts.balance import Balance, Sides
    from warehouse.cohorts.group_statistics import Summary
    from warehouse.cohorts.split import Split


def split(
    name: Name,
    train: split_options.Train = None,
    tune: split_options.Tune = None,
    test: split_options.Test = None,
    by: split_options.By = None,
    hold_out_centre: split_options.HoldOutCentre = None,
    hold_out_after: split_options.HoldOutAfter = None,
    seed: split_options.Seed = None,
    balance: Annotated[
        str,
        typer.Option(
            "--balance",
            metavar="COLUMNS",
            help="Compare the sides by these columns of the answer or of the view patients, separated by commas; "
            "centre is in its folded spelling.",
        ),
    ] = "",
    param: Param = None,
    table: Tables = None,
    suppress: options.Suppress = options.DEFAULT_SUPPRESS,
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
    agreement: options.Agreement = "",
    form: options.TableOrJson = Format.TABLE,
    output: options.Target = None,
) -> None:
    """Divide the patients of a cohort into the sides train, tune and test, for good, and compare the sides.

    A keyed digest of the pseudonym decides, so the side of a patient is the same in every cohort and on every day.
    -o writes patient_id and split. Exit code 1 if a patient, an image or equal bytes are on two sides. Printed counts
    are of patients, rounded to multiples of 5; --suppress 0 shows exact counts.

    \b
    Examples:
    $ chest cohort split covid_risk --train 70 --tune 15 --test 15 --seed 1 --balance covid_status,sex,age
    $ chest cohort split covid_risk --hold-out-centre "Leeds Teaching Hospitals NHS Trust" -o sides.csv
    """
    from warehouse.cohorts import balance as balancing
    from warehouse.cohorts import leaks
    from warehouse.cohorts.split import Split
    from warehouse.cohorts.table1 import AGE

    rule = split_options.parse_split(train, tune, test, by, hold_out_centre, hold_out_after, seed) or Split()
    columns = options.split_words(balance)
    with options.open_session(
        lake,
        as_of,
        snapshot,
        group,
        trusted=False,
        agreement=agreement,
        leaves=options.is_exact(suppress) or output is not None,
    ) as warehouse:
        require_plain_split(warehouse, rule)
        answer = prepare(warehouse, name, param, table).split(rule)
        others = [each for each, kind in balancing.list_attributes().items() if kind != "BOOLEAN"]
        require_classes(answer, [each for each in columns if each != AGE], others)  # ages are in decades
        found = balancing.describe_sides(answer, columns, suppress)
        leaks.require_no_leaks(answer.definition.name, leaks.find_leaks(answer), suppress)
        log_release(answer, counts_to=None if output else suppress, to=str(output) if output else None)
        if output:
            write_rows(warehouse.con.from_arrow(_tabulate_patients(answer)), None, output)
    if form is Format.JSON:
        write_json({"cohort": answer.definition.name, "split": rule.to_json(), **_to_json(found, rule)})
    else:
        _show_sides(found, rule)
        for compared in found.balance:
            print_line("")
            _show_balance(compared)
    note_left_out(found, suppress)
    options.note_rounding(suppress)


def _tabulate_patients(answer: CohortAnswer) -> pa.Table:
    """The side of each patient, null for none."""
    import pyarrow as pa

    persons = answer.division.persons if answer.division else {}
    return pa.table({"patient_id": pa.array(persons, pa.string()), "split": pa.array(persons.values(), pa.string())})


def note_left_out(found: Sides, suppress: int) -> None:
    """Print how many patients have rows on no side and why, and how many a record of a held-out centre moved."""
    from warehouse.disclosure_control import format_rounded

    for reason, persons in found.left_out.items():
        shown = format_rounded(persons, suppress)
        print_note(f"On no side: rows of {shown} patient{'' if shown == '1' else 's'}{_join(reason)}.")
    if found.moved:
        print_note(
            f"{format_count(found.moved, 'patient')} had data before the first record of a held-out centre: earlier "
            "splits have them on another side."
        )


def _join(reason: str) -> str:
    return f" {reason}" if reason.startswith("of ") else f": images {reason}"


def _find_share(found: Sides, rule: Split, side: str) -> float | None:
    """The share of a side: of the patients who are not held out, as the target is; of all for a side held out."""
    total = sum(n for name, n in found.patients.items() if side not in rule.shares or name in rule.shares)
    return found.patients[side] / total if total else None


def _to_json(found: Sides, rule: Split) -> dict[str, Any]:
    return {
        "sides": [
            {"side": side, "patients": n, "share": _find_share(found, rule, side), "target": rule.shares.get(side)}
            for side, n in found.patients.items()
        ],
        "left_out": found.left_out,
        "moved": found.moved,
        "balance": [_balance_to_json(compared) for compared in found.balance],
    }


def _balance_to_json(found: Balance) -> dict[str, Any]:
    cells = found.table
    return {
        "column": found.name,
        "values": [{"value": row, **{side: cells.cells[row, side] for side in cells.columns}} for row in cells.rows],
        "means": {side: {"mean": of.mean, "sd": of.sd} for side, of in found.means.items()},
        "differences": dict(found.differences),
    }


def _show_sides(found: Sides, rule: Split) -> None:
    from warehouse.cli.terminal import create_console, create_table

    rows_shown = create_table()
    for head in ("side", "patients", "share", "target"):
        rows_shown.add_column(head, justify="left" if head == "side" else "right")
    for side, n in found.patients.items():
        share = _find_share(found, rule, side)
        target = f"{rule.shares[side]:.0%}" if side in rule.shares else ""
        rows_shown.add_row(side, f"{n:,}", "" if share is None else f"{share:.0%}", target)
    rows_shown.add_row("all", f"{sum(found.patients.values()):,}", "", "", style="dim")
    create_console().print(rows_shown)


def _show_balance(found: Balance) -> None:
    from warehouse.cli.terminal import create_console, create_table

    cells = found.table
    rows_shown = create_table()
    rows_shown.add_column(found.name)
    for side in cells.columns:
        rows_shown.add_column(side, justify="right")
    for row in cells.rows:
        shown = [(cells.cells[row, side], cells.column_totals[side]) for side in cells.columns]
        rows_shown.add_row(row, *(f"{n:,} ({n / of:.0%})" if of else f"{n:,}" for n, of in shown))
    if found.means:
        shown_means = [found.means.get(side) for side in cells.columns]
        rows_shown.add_row("mean (SD)", *map(_format_mean, shown_means))
    first = next(iter(cells.columns), "train")
    differences = [found.differences.get(side) for side in cells.columns]
    rows_shown.add_row(f"SMD from {first}", *("" if smd is None else f"{smd:.2f}" for smd in differences), style="dim")
    create_console().print(rows_shown)


def _format_mean(found: Summary | None) -> str:
    if found is None or found.mean is None:
        return ""
    return f"{found.mean:.3g} ({'' if found.sd is None else f'{found.sd:.3g}'})"
