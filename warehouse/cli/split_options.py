"""Options of the commands that split a cohort."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from warehouse.cohorts.split import Split

_SHARES = (
    "of the patients who are not held out, in per cent or as any weight: 70, 15 and 15 if none of them is given, else "
    "0 for those left out."
)

Train = Annotated[float | None, typer.Option("--train", metavar="SHARE", help=f"Share of the side train, {_SHARES}")]
Tune = Annotated[float | None, typer.Option("--tune", metavar="SHARE", help="Share of the side tune (validation).")]
Test = Annotated[float | None, typer.Option("--test", metavar="SHARE", help="Share of the side test.")]
By = Annotated[
    str | None,
    typer.Option("--by", metavar="UNIT", help="What stays on one side: patient (default), or centre for all of one."),
]
HoldOutCentre = Annotated[
    list[str] | None,
    typer.Option(
        "--hold-out-centre",
        metavar="CENTRE",
        help="Patients with any record of this centre go to the side external. May be repeated.",
    ),
]
HoldOutAfter = Annotated[
    str | None,
    typer.Option(
        "--hold-out-after",
        metavar="DAY",
        help="Patients with no data available up to this day go to the side later; of the others, rows with "
        "images that became available after it are on no side.",
    ),
]
Seed = Annotated[
    int | None, typer.Option("--seed", help="Key of the digest that decides the side of a patient; 0 by default.")
]


def parse_split(
    train: float | None,
    tune: float | None,
    test: float | None,
    by: str | None,
    hold_out_centre: list[str] | None,
    hold_out_after: str | None,
    seed: int | None,
) -> Split | None:
    """The rule that the options give, or None without any of them."""
    from warehouse.cohorts.split import Split
    from warehouse.query.days import parse_day

    given = (train, tune, test, by, hold_out_after, seed)
    if not hold_out_centre and given == (None,) * len(given):
        return None
    return Split(
        train,
        tune,
        test,
        by or "patient",
        tuple(hold_out_centre or ()),
        parse_day(hold_out_after) if hold_out_after else None,
        seed or 0,
    )
