"""What the endpoints of the API take from the address, beside the body."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from fastapi import Path, Query

from warehouse.errors import UsageError
from warehouse.service.encoding import Form

Format = Annotated[
    Form | None, Query(alias="format", description="json, csv or arrow (an IPC stream); else the Accept header.")
]
Param = Annotated[
    list[str],
    Query(description="NAME=VALUE; repeat a name for a list.", max_length=1_000, examples=["days_before=3"]),
]
MostRows = Annotated[int | None, Query(ge=0, description="Rows at most; the server has a limit too.")]
Suppress = Annotated[int | None, Query(ge=0, description="Counts are rounded to multiples of it.")]
Objects = Annotated[str, Query(description="What the manifest lists: dcm, json, clinical, with commas.")]
By = Annotated[str | None, Query(description="A column of the answer, or a characteristic such as centre.")]
CohortName = Annotated[str, Path(description="A cohort (GET /cohorts).", max_length=100)]
OwnName = Annotated[str, Path(description="A cohort, or a name for that in `sql`.", max_length=100)]
PatientId = Annotated[str, Path(description="The pseudonym of a patient, such as Covid12.", max_length=200)]

#: Numbers with a fraction, which DuckDB would round as text (cli/query.py).
_FRACTION = re.compile(r"[+-]?[0-9]*\.[0-9]*[1-9][0-9]*")


def declare_scope(
    as_of: Annotated[
        str | None, Query(description="Only what was available on or before this day, such as 2020-06-01.")
    ] = None,
    snapshot: Annotated[int | None, Query(ge=0, description="A published snapshot; the newest by default.")] = None,
    group: Annotated[str | None, Query(description="The group of patients: training by default.")] = None,
) -> None:
    """Declare for the OpenAPI document what the gate reads from every address of the API."""


def parse_lists(words: Sequence[str]) -> dict[str, object]:
    """Parse NAME=VALUE words for a cohort: a repeated name makes a list."""
    found: dict[str, object] = {}
    for name, value in map(_split, words):
        before = found.get(name)
        found[name] = value if before is None else [*(before if isinstance(before, list) else [before]), value]
    return found


def parse_scalars(words: Sequence[str]) -> dict[str, str | float]:
    """Parse NAME=VALUE words for a query; a value with a fraction is a number."""
    return {name: float(value) if _FRACTION.fullmatch(value) else value for name, value in map(_split, words)}


def _split(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals or not name.isidentifier():
        raise UsageError(f"param={word!r} is not NAME=VALUE. Example: ?param=centre=Leeds")
    return name, value
