"""Before values are read: nested fields lifted, each value with its field's line, its record's day and its centre."""

from typing import TYPE_CHECKING

from warehouse.cleaning import tables

if TYPE_CHECKING:
    import polars as pl


def is_filled() -> "pl.Expr":
    """Whether a value is neither null nor blank; these two are no issue."""
    import polars as pl

    return pl.col("raw_value").str.strip_chars().str.len_bytes().fill_null(0) > 0


def form() -> "pl.Expr":
    """What a JSON value is: string, number, boolean or container."""
    import polars as pl

    start = pl.col("value").str.slice(0, 1)
    return (
        pl.when(start == '"')
        .then(pl.lit("string"))
        .when(start.is_in(["{", "["]))
        .then(pl.lit("container"))
        .when(start.is_in(["t", "f"]))
        .then(pl.lit("boolean"))
        .otherwise(pl.lit("number"))
        .alias("form")
    )


def lift(values: "pl.DataFrame") -> "tuple[pl.DataFrame, pl.DataFrame]":
    """The values with nested fields in the place of the same fields at the top; and the different ones replaced."""
    import polars as pl

    top, nested = values.filter(~pl.col("is_nested")), values.filter("is_nested")
    if not nested.height:
        return top, values.clear()
    taken = nested.select("row", "place", pl.col("value").alias("other"), pl.col("raw_value").alias("clean_value"))
    replaced = (
        top.join(taken, on=["row", "place"])
        .filter(is_filled() & (pl.col("value") != pl.col("other")))
        .join(tables.field_frame(), on="place")
        .with_columns(pl.lit(True).alias("overridden_by_segmentation"))
    )
    return pl.concat([top.join(taken, on=["row", "place"], how="anti"), nested]), replaced


def describe(values: "pl.DataFrame", records: "pl.DataFrame") -> "pl.DataFrame":
    """The filled values, `text` trimmed, with all that reading one asks."""
    import polars as pl

    filled = (
        values.filter(is_filled())
        .with_columns(form(), pl.col("raw_value").str.strip_chars().alias("text"))
        .join(tables.field_frame(), on="place")
        .join(records.select("row", pl.col("available_date").alias("day")), on="row")
    )
    centres = filled.filter((pl.col("column_name") == "submitting_centre") & (pl.col("form") != "container"))
    spelt = pl.col("text").str.to_lowercase().str.replace_all(r"\s+", " ").alias("spelt_centre")
    return filled.join(centres.select("row", spelt), on="row", how="left")


def swab_parts(swabs: "pl.DataFrame", records: "pl.DataFrame") -> "pl.DataFrame":
    """The filled parts of the items of SwabDates, to be read as SwabDate and SwabStatus are."""
    import polars as pl

    return describe(swabs.filter(pl.col("value").is_not_null()), records).with_columns(
        pl.format("SwabDates[{}].{}", "item", "field").alias("field"), pl.lit("swabdates").alias("column_name")
    )


def odd_items(swabs: "pl.DataFrame") -> "pl.DataFrame":
    """The items of SwabDates that are no objects, one row each."""
    import polars as pl

    return (
        swabs.filter(~pl.col("item_value").str.starts_with("{"))
        .unique(["row", "item"])
        .with_columns(
            pl.format("SwabDates[{}]", "item").alias("field"),
            pl.lit("swabdates").alias("column_name"),
            pl.col("item_value").alias("raw_value"),
            pl.lit(True).alias("wrong_type"),
        )
    )
