"""What an item of a data set has besides its image: key, patient_id and labels, selected from a manifest's rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from warehouse.cohorts.split import order_sides
from warehouse.engine.names import suggest_nearest
from warehouse.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

#: The names of an item that are not labels.
IMAGE, OWN = "image", ("key", "patient_id")
#: The label that has the side of a split.
SPLIT = "split"


def select_rows(rows: pl.DataFrame, objects: str, split: str | None) -> pl.DataFrame:
    """The rows of one kind of object, and of one side of the split; UsageError if there is no such side."""
    import polars as pl

    found = rows.filter(pl.col("object") == objects)
    if not found.height:
        kinds = ", ".join(sorted(rows["object"].unique())) or "no objects"
        raise UsageError(f"The manifest has no {objects} objects; it has {kinds}. Choose another kind with objects=.")
    if split is None:
        return found
    if SPLIT not in rows.columns:
        raise UsageError(f"split={split!r}: the manifest has no column {SPLIT}. Split its cohort before the export.")
    sides = order_sides(str(side) for side in rows[SPLIT].drop_nulls().unique())
    if split not in sides:
        raise UsageError(f"split={split!r}: the manifest has the sides {', '.join(sides)}.")
    return found.filter(pl.col(SPLIT).cast(pl.String) == split)


def select_labels(known: Sequence[str], asked: Sequence[str] | None) -> list[str]:
    """The labels of an item: all, or those asked for; UsageError for an unknown one, or one named as the image is."""
    for name in asked or ():
        if name not in known:
            raise UsageError(
                f"The manifest has no label {name}.{suggest_nearest(name, known)} It has {', '.join(known) or 'none'}."
            )
    names = list(known if asked is None else asked)
    if IMAGE in names:
        raise UsageError("A label is called image, as the image of an item is. Choose others with labels=.")
    return names


def to_plain(record: dict[str, Any]) -> dict[str, Any]:
    """An item's values as batches take them: days and times as text, decimal numbers as floats."""
    return {name: _to_plain_value(value) for name, value in record.items()}


def _to_plain_value(value: Any) -> Any:
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else value
