"""Prepares values for reading: lifts nested fields, and adds field definitions, the record's day and its centre."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.catalog import spelling
from warehouse.cleaning import tables

if TYPE_CHECKING:
    import polars as pl


def is_filled() -> pl.Expr:
    """Whether a value is neither null nor blank, which are not issues."""
    import polars as pl

    return pl.col("raw_value").str.strip_chars().str.len_bytes().fill_null(0) > 0


def classify_form() -> pl.Expr:
    """The form of a JSON value: string, number, boolean or container."""
    import polars as pl

    start = pl.col("start")
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


def lift_nested(values: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Replace top-level fields by the same nested fields; also returns the replaced values that differed."""
    import polars as pl

    top, nested = values.filter(~pl.col("is_nested")), values.filter("is_nested")
    if not nested.height:
        return top, values.clear()
    taken = nested.select("row", "place", pl.col("raw_value").alias("other"))
    replaced = (
        top.join(taken, on=["row", "place"])
        .filter(is_filled() & pl.col("raw_value").ne_missing(pl.col("other")))
        .with_columns(pl.lit(True).alias("overridden_by_segmentation"))
    )
    return pl.concat([top.join(taken, on=["row", "place"], how="anti"), nested]), replaced


def describe(values: pl.DataFrame) -> pl.DataFrame:
    """Select the filled values, with trimmed `text`, their form, and how their field is read."""
    import polars as pl

    how = tables.build_field_frame().select("place", "kind", "also_reads")
    return (
        values.filter(is_filled())
        .with_columns(classify_form(), pl.col("raw_value").str.strip_chars().alias("text"))
        .join(how, on="place")
    )


def fold_centres(described: pl.DataFrame) -> pl.DataFrame:
    """The normalised centre of each record: row, centre."""
    import polars as pl

    given = described.filter(
        (pl.col("place") == tables.find_field_position("submitting_centre")) & (pl.col("form") != "container")
    )
    folded = spelling.fold_centres(given["text"].unique().to_list())
    centre = pl.col("text").replace_strict(folded, default=None, return_dtype=pl.String)
    return given.select("row", centre.alias("centre"))


def list_swab_parts(swabs: pl.DataFrame) -> pl.DataFrame:
    """Select the filled parts of the items of SwabDates, to be read like SwabDate and SwabStatus."""
    import polars as pl

    keys = pl.col("place").replace_strict({place: key for key, place in tables.map_swab_keys().items()}, default=None)
    return describe(swabs.filter(pl.col("start").is_not_null())).with_columns(
        pl.format("SwabDates[{}].{}", "item", keys).alias("field"), pl.lit("swabdates").alias("column_name")
    )


def list_odd_items(swabs: pl.DataFrame) -> pl.DataFrame:
    """Select the items of SwabDates that are not objects, one row each."""
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
