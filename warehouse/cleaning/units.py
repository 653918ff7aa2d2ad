"""Units, limits and rounding of numbers: what is done to a number once it is read.

A unit written in the entry itself wins over the one its centre reports in. Where neither is known, or it cannot
be true, the value stays as it was sent and says so: no guess is silent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.cleaning import tables

if TYPE_CHECKING:
    import polars as pl

#: The widest INTEGER of the lake.
_WIDEST = 2**31 - 1

#: What looks like a unit behind a number: of an amount in a volume, a share, a pressure.
_UNIT = (
    r"^\s*((?:[x×*]?\s*10\s*\^?\s*[0-9]+\s*/\s*l)|(?:[a-zµμ]+\s*/\s*[mdµμu]?l)|%|(?:k\s?pa)|(?:mm\s?hg))(?:[^a-z]|$)"
)

_SPAN = r"^\s*(h|hrs?|hours?|w|wks?|weeks?|m|mths?|months?|y|yrs?|years?)\b"
#: Columns of the way from a value to its unit.
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
    """Bring `value` into the unit of its column where the entry's words in `rest`, or the centre, tell its unit.

    Adds unit (that the value is in then; null: not known), raw_unit (that it was sent in) and the rules met.
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
    """The values with the unit that the entry states, or that its centre sends, and the factor that converts it."""
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
    """Flag numbers of days behind which another span of time is said: 2 weeks is no 2 days, and is kept as it is."""
    import polars as pl

    span = pl.when(pl.col("canonical") == "d").then(pl.col("rest").str.to_lowercase().str.extract(_SPAN))
    return values.with_columns(
        span.alias("raw_unit"), (pl.col("value").is_not_null() & span.is_not_null()).alias("unit_unknown")
    )


def apply_limits(values: pl.DataFrame) -> pl.DataFrame:
    """Null what is outside the field's limits, flag what is outside the span its sheet prints."""
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
    """Round to the nearest whole number, halves up; what no INTEGER can hold is out of range."""
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
    """Flag what is outside the span that the schema sheet prints."""
    import polars as pl

    value = pl.col("value")
    return values.with_columns(
        ((value < pl.col("usual_minimum")).fill_null(False) | (value > pl.col("usual_maximum")).fill_null(False)).alias(
            "outside_printed_range"
        )
    )
