"""The numbers of a table 1 for programs: as JSON, and as a tidy Arrow table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from warehouse.cohorts.levels import NO_VALUE
from warehouse.cohorts.table1 import OVERALL, Characteristic, Table1
from warehouse.cohorts.table1_lines import list_notes

if TYPE_CHECKING:
    import pyarrow as pa

    from warehouse.cohorts.group_statistics import Summary

_NUMBERS = ("mean", "sd", "q1", "median", "q3")


def to_json(table: Table1) -> dict[str, Any]:
    """The table as a JSON object with every number that it is made of."""
    return {
        "title": table.title,
        "source": table.source,
        "by": table.by or None,
        "rounded_to": table.suppress,
        "patients": [{"group": column, "n": table.n[column]} for column in table.columns],
        "characteristics": [
            {
                "name": found.name,
                "title": found.title,
                "missing": found.count(NO_VALUE, OVERALL),
                "missing_counted": found.is_missing_counted,
                "groups": [_describe_group(found, column) for column in table.columns],
                "smd": [{"first": a, "second": b, "smd": value} for (a, b), value in found.smd.items()],
            }
            for found in table.characteristics
        ],
        "notes": list_notes(table),
    }


def _describe_group(found: Characteristic, column: str) -> dict[str, Any]:
    described: dict[str, Any] = {"group": column, "missing": found.count(NO_VALUE, column)}
    if not found.is_number:
        return {**described, "levels": [{"level": one, "n": found.count(one, column)} for one in found.levels]}
    summary = found.summaries.get(column)
    return {**described, **{name: getattr(summary, name, None) for name in _NUMBERS}}


def to_arrow(table: Table1) -> pa.Table:
    """Tabulate as Arrow: a row for each characteristic, level and group; missing values have a null level."""
    import pyarrow as pa

    rows = [_to_row("patients", None, column, table.n[column], None, None) for column in table.columns]
    for found in table.characteristics:
        for column in table.columns:
            known = found.count_known(column)
            n_missing = found.count(NO_VALUE, column)
            share = 100 * n_missing / known if known and found.is_missing_counted else None
            missing = _to_row(found.name, None, column, n_missing, share, None)
            if found.is_number:
                rows += [_to_row(found.name, "", column, known, None, found.summaries.get(column)), missing]
                continue
            shares = [(level, found.count(level, column)) for level in found.levels if level != NO_VALUE]
            rows += [
                _to_row(found.name, level, column, n, 100 * n / known if known else None, None) for level, n in shares
            ]
            rows.append(missing)
    texts = {name: pa.string() for name in ("characteristic", "level", "group")}
    types = {**texts, "n": pa.int64(), **dict.fromkeys(("percent", *_NUMBERS), pa.float64())}
    return pa.Table.from_pylist(rows, pa.schema(list(types.items())))


def _to_row(
    name: str, level: str | None, group: str, n: int, percent: float | None, summary: Summary | None
) -> dict[str, Any]:
    numbers = {number: getattr(summary, number, None) for number in _NUMBERS}
    return {"characteristic": name, "level": level, "group": group, "n": n, "percent": percent, **numbers}
