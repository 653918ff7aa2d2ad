"""Assembles the values that were read: merges aliases, joins columns, and collects a row for every issue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.catalog import columns
from warehouse.cleaning import tables

if TYPE_CHECKING:
    import polars as pl

_TEXTS = ("field", "column_name", "raw_value", "raw_unit", "clean_value", "unit", "rule", "effect")


def merge_column(
    base: pl.DataFrame, column: columns.Column, read: dict[object, pl.DataFrame]
) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """Return a column, with its unit if any, for every row of `base`: from the field's own key, else from an alias; and
    the values of aliases that differ from it."""
    import polars as pl

    fields = [field for field in tables.list_fields() if field.column is column and field.place in read]
    names = {
        "value": column.name,
        **({"unit": f"{column.name}_unit"} if column.name in tables.list_measured_columns() else {}),
    }
    if not fields:
        types = {"value": _TYPES[column.type], "unit": "String"}
        nulls = (pl.lit(None, getattr(pl, types[name])).alias(alias) for name, alias in names.items())
        return base.with_columns(nulls).drop("row"), []
    found, *others = (read[field.place].select("row", "place", "raw_value", *names) for field in fields)
    conflicts = []
    for other in others:
        found, filled = (part.filter(pl.col("value").is_not_null()) for part in (found, other))
        conflicts.append(_find_conflicts(filled, found))
        found = pl.concat([found, filled.join(found, on="row", how="anti")])
    joined = base.join(found, on="row", how="left", maintain_order="left")
    return joined.select(pl.col(name).alias(alias) for name, alias in names.items()), conflicts


#: The types of the lake as polars has them.
_TYPES = {"DATE": "Date", "INTEGER": "Int32", "DOUBLE": "Float64", "BOOLEAN": "Boolean", "VARCHAR": "String"}


def _find_conflicts(part: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    kept = found.select("row", pl.col("value").alias("kept"))
    return (
        part.join(kept, on="row")
        .filter(pl.col("value") != pl.col("kept"))
        .select(
            "row",
            "place",
            "raw_value",
            pl.col("kept").cast(pl.String).alias("clean_value"),
            pl.lit(True).alias("alias_conflict"),
        )
    )


def collect_swab_lists(
    base: pl.DataFrame, lists: pl.DataFrame, swabs: pl.DataFrame, read: list[pl.DataFrame]
) -> pl.DataFrame:
    """Build the column swabdates for every row of `base`: null without a list, else an item for each of `swabs`."""
    import polars as pl

    items = swabs.select("row", "item").unique()
    for key, dtype in (("SwabDate", pl.Date), ("SwabStatus", pl.String)):
        place, name = tables.map_swab_keys()[key], tables.SWAB_PARTS[key]
        found = [pl.DataFrame(schema={"row": pl.UInt32, "item": pl.Int64, name: dtype})]
        for frame in read:
            part = frame.filter(pl.col("place") == place)
            if part.height:
                found.append(part.select("row", "item", pl.col("value").alias(name)))
        items = items.join(pl.concat(found), on=["row", "item"], how="left")
    gathered = (
        items.sort("row", "item")
        .group_by("row", maintain_order=True)
        .agg(pl.struct(*tables.SWAB_PARTS.values()).alias("swabdates"))
    )
    empty = pl.lit([], dtype=gathered.schema["swabdates"])
    return (
        base.join(gathered, on="row", how="left", maintain_order="left")
        .join(lists.select("row", pl.lit(True).alias("is_list")), on="row", how="left", maintain_order="left")
        .select(pl.when("is_list").then(pl.col("swabdates").fill_null(empty)))
    )


def collect_issues(read: pl.DataFrame) -> pl.DataFrame:
    """Collect a row for every value and rule that it met: the columns with a rule's name that are true."""
    import polars as pl

    effects = tables.map_effects()
    rules = [name for name in read.columns if name in effects]
    met = read.filter(pl.any_horizontal(rules)) if rules else read.clear()
    none = pl.DataFrame(schema={"row": pl.UInt32, **dict.fromkeys(_TEXTS, pl.String)})
    if not met.height:
        return none
    if "field" not in met.columns:
        names = tables.build_field_frame().select("place", "field", "column_name")
        met = met.drop("column_name", strict=False).join(names, on="place")
    texts = [pl.col(name) if name in met.columns else pl.lit(None, pl.String).alias(name) for name in _TEXTS[:-2]]
    kept = met.select("row", *texts, *rules).unpivot(on=rules, index=["row", *_TEXTS[:-2]], variable_name="rule")
    effect = pl.col("rule").replace_strict({rule: effects[rule] for rule in rules}, return_dtype=pl.String)
    return pl.concat([none, kept.filter("value").drop("value").with_columns(effect.alias("effect"))])
