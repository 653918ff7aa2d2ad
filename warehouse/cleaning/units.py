"""Units, limits and rounding of numbers that have been read.

A unit in the entry itself takes precedence over that of its centre. If neither is known, or if it is implausible, the
value is kept as submitted with an issue: no guess is silent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.cleaning import tables

if TYPE_CHECKING:
    import polars as pl

#: The widest INTEGER of the lake.
_WIDEST = 2**31 - 1

#: Text after a number that looks like a unit: of a concentration, a share, a pressure.
_UNIT = (
    r"^\s*((?:[x×*]?\s*10\s*\^?\s*[0-9]+\s*/\s*l)|(?:[a-zµμ]+\s*/\s*[mdµμu]?l)|%|(?:k\s?pa)|(?:mm\s?hg))(?:[^a-z]|$)"
)

_SPAN = r"^\s*(h|hrs?|hours?|w|wks?|weeks?|m|mths?|months?|y|yrs?|years?)\b"
#: Intermediate columns between a value and its unit.
_ASIDE = (
    "centre_unit",
    "spelt_unit",
    "stated",
    "factor",
    "plausible_maximum",
    "is_implausible",
    "converted",
    "is_converted",
)


def convert_units(values: pl.DataFrame) -> pl.DataFrame:
    """Convert `value` to the unit of its column, if the entry's words in `rest`, or the centre, show its unit.

    Adds unit (of the converted value; null if unknown), raw_unit (as submitted) and the rules met.
    """
    import polars as pl

    value = pl.col("value")
    is_read = value.is_not_null()
    return (
        _join_factors(values)
        .with_columns(
            pl.when(pl.col("factor") == 1)
            .then(value)
            .otherwise((value * pl.col("factor")).round_sig_figs(12))
            .alias("converted")
        )
        .with_columns(
            (
                is_read
                & (pl.col("is_implausible") | (pl.col("converted") > pl.col("plausible_maximum"))).fill_null(False)
            ).alias("unit_implausible"),
            (is_read & pl.col("unit").is_null()).alias("unit_unknown"),
            pl.coalesce("unit", "stated", "centre_unit").alias("raw_unit"),
        )
        .with_columns(
            (is_read & pl.col("factor").is_not_null() & ~pl.col("unit_implausible")).alias("is_converted"),
        )
        .with_columns(
            (pl.col("is_converted") & (pl.col("converted") != value)).alias("unit_converted"),
            (is_read & pl.col("unit").is_not_null() & pl.col("factor").is_null() & ~pl.col("unit_implausible")).alias(
                "unit_not_convertible"
            ),
            pl.when("is_converted")
            .then("canonical")
            .when(is_read & pl.col("factor").is_null())  # none that a factor could bring in: as it was stated
            .then("unit")
            .alias("unit"),
            pl.when("is_converted").then("converted").otherwise(value).alias("value"),
        )
        .drop(*_ASIDE)
    )


def _join_factors(values: pl.DataFrame) -> pl.DataFrame:
    """Add the unit that the entry states, or that its centre uses, and the conversion factor."""
    import polars as pl

    def spell(unit: pl.Expr) -> pl.Expr:
        return unit.str.to_lowercase().str.replace_all(r"\s", "").str.replace_all("[µμ]", "u")

    stated = pl.col("rest").str.to_lowercase().str.extract(_UNIT)
    return (
        values.join(tables.build_centre_units(), on=["centre", "column_name"], how="left")
        .with_columns(
            pl.coalesce(spell(stated), spell(pl.col("centre_unit"))).alias("spelt_unit"), stated.alias("stated")
        )
        .join(tables.build_unit_factors(), on=["column_name", "spelt_unit"], how="left")
    )


def flag_spans(values: pl.DataFrame) -> pl.DataFrame:
    """Flag numbers of days that another unit of time follows: 2 weeks is not 2 days, and is kept as it is."""
    import polars as pl

    span = pl.when(pl.col("canonical") == "d").then(pl.col("rest").str.to_lowercase().str.extract(_SPAN))
    return values.with_columns(
        span.alias("raw_unit"), (pl.col("value").is_not_null() & span.is_not_null()).alias("unit_unknown")
    )


def apply_limits(values: pl.DataFrame) -> pl.DataFrame:
    """Null values outside the field's limits, and flag those outside the range printed in its schema sheet."""
    import polars as pl

    value = pl.col("value")
    kept = ("value", "unit") if "unit" in values.columns else ("value",)
    return values.with_columns(
        (
            (value < pl.col("minimum")).fill_null(False)
            | (value > pl.col("maximum")).fill_null(False)
            | ~value.is_finite().fill_null(True)
        ).alias("out_of_range")
    ).with_columns(pl.when(~pl.col("out_of_range")).then(name).alias(name) for name in kept)


def round_to_whole(values: pl.DataFrame) -> pl.DataFrame:
    """Round to the nearest whole number, halves up; numbers that do not fit INTEGER are out of range."""
    import polars as pl

    value = pl.col("value")
    return (
        values.with_columns((value + 0.5).floor().alias("nearest"))
        .with_columns(
            (pl.col("out_of_range") | (pl.col("nearest").abs() > _WIDEST).fill_null(False)).alias("out_of_range"),
        )
        .with_columns(
            (~pl.col("out_of_range") & (pl.col("nearest") != value).fill_null(False)).alias("rounded"),
            pl.when(~pl.col("out_of_range")).then("nearest").cast(pl.Int32, strict=False).alias("value"),
        )
        .drop("nearest")
    )


def flag_unusual(values: pl.DataFrame) -> pl.DataFrame:
    """Flag values outside the range that the schema sheet prints."""
    import polars as pl

    value = pl.col("value")
    return values.with_columns(
        ((value < pl.col("usual_minimum")).fill_null(False) | (value > pl.col("usual_maximum")).fill_null(False)).alias(
            "outside_printed_range"
        )
    )
