"""Reads FiO2, the percentage of inspired oxygen, submitted as percent, litres, mask colour or fraction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.cleaning import tables
from warehouse.cleaning.numbers import GOES_ON, HEXADECIMAL, NUMBER, normalise_signs

if TYPE_CHECKING:
    import polars as pl

#: Intermediate columns between a text and its value.
_ASIDE = ("percentage", "several", "lead", "behind", "colour", "colours", "is_litres", "is_negative", "read_as")


def read_fio2(values: pl.DataFrame) -> pl.DataFrame:
    """Read `text` as a percentage of inspired oxygen: adds value and a column for every rule met."""
    percent = {key: float(value) for key, value in tables.read_mapping("fio2").items() if value}
    parts = _find_parts(normalise_signs(values), [key for key in percent if not key.isdigit()])
    read = _choose_reading(parts).with_columns(_compute_value(percent).alias("value"))
    return _flag_rules(read).drop(*_ASIDE)


def _find_parts(values: pl.DataFrame, colours: list[str]) -> pl.DataFrame:
    """Parse the text: a percentage, a leading number and the words after it, a colour, or several of them."""
    import polars as pl

    text = pl.col("text").str.to_lowercase()
    rest = pl.col("behind")
    names = "|".join(colours)
    return values.with_columns(
        text.str.extract(rf"({NUMBER})\s*%").alias("percentage"),
        (text.str.count_matches("%") > 1).alias("several")
        | text.str.contains(r"[0-9]\s*%?\s*(?:[-–—/]|\bto\b|\bor\b)\s*\.?[0-9]").alias("several"),
        text.str.extract(rf"(?s)^({NUMBER})(.*)$", 1).alias("lead"),
        text.str.extract(rf"(?s)^({NUMBER})(.*)$", 2).alias("behind"),
        pl.when(~text.str.contains("[0-9]")).then(text.str.extract(rf"\b({names})\b")).alias("colour"),
        (text.str.count_matches(rf"\b(?:{names})\b") > 1).alias("colours"),
    ).with_columns(
        (pl.col("several") | rest.str.contains(GOES_ON).fill_null(False) | text.str.contains(HEXADECIMAL)).alias(
            "several"
        ),
        # Negative, and so outside the limits; a dash between words and a number is not a minus.
        text.str.extract(rf"^-\s*({NUMBER})|[\s(\[:=]-({NUMBER})").is_not_null().alias("is_negative"),
        rest.str.contains(r"^\s*(?:l|lt|ltr|lit(?:er|re))s?(?:\b|/)|^\s*lpm\b").fill_null(False).alias("is_litres"),
    )


def _number() -> pl.Expr:
    """The leading number."""
    import polars as pl

    return pl.col("lead").cast(pl.Float64, strict=False)


def _choose_reading(parts: pl.DataFrame) -> pl.DataFrame:
    """Add `read_as`: the rule by which the text is read, or none."""
    import polars as pl

    lead, number = pl.col("lead"), _number()
    is_whole = number == number.floor()
    return parts.with_columns(
        pl.when("several")
        .then(pl.lit("none"))
        .when("is_negative")
        .then(pl.lit("negative"))
        .when(pl.col("percentage").is_not_null())
        .then(pl.lit("percent"))
        .when(pl.col("colour").is_not_null() & ~pl.col("colours"))
        .then(pl.lit("fio2_mask"))
        .when(lead.is_null())
        .then(pl.lit("none"))
        .when(lead.str.contains(".", literal=True) & (number <= 1) & ~pl.col("is_litres"))
        .then(pl.lit("fio2_fraction"))
        .when((number > 15) & ~pl.col("is_litres"))
        .then(pl.lit("percent"))
        .when(is_whole & number.is_between(1, 15))
        .then(pl.lit("fio2_litres"))
        .otherwise(pl.lit("none"))
        .alias("read_as")
    )


def _compute_value(percent: dict[str, float]) -> pl.Expr:
    """The percentage that the text gives; for litres and colours, that of the table."""
    import polars as pl

    number, read_as = _number(), pl.col("read_as")
    litres = {key: value for key, value in percent.items() if key.isdigit()}
    return (
        pl.when(read_as == "percent")
        .then(pl.coalesce(pl.col("percentage").cast(pl.Float64, strict=False), number))
        .when(read_as == "fio2_fraction")
        .then((number * 100).round_sig_figs(12))
        .when(read_as == "fio2_litres")
        .then(number.cast(pl.Int64, strict=False).cast(pl.String).replace_strict(litres, default=None))
        .when(read_as == "fio2_mask")
        .then(pl.col("colour").replace_strict(percent, default=None))
        .when(read_as == "negative")
        .then(-1.0)
        .cast(pl.Float64)
    )


def _flag_rules(read: pl.DataFrame) -> pl.DataFrame:
    """Add a column for every rule: how the value was read, or why it is null."""
    import polars as pl

    text, read_as, lead = pl.col("text").str.to_lowercase(), pl.col("read_as"), pl.col("lead")
    has_digits, is_none = text.str.contains("[0-9]"), read_as == "none"
    return read.with_columns(
        *((read_as == rule).alias(rule) for rule in ("fio2_fraction", "fio2_litres", "fio2_mask")),
        (
            (read_as == "percent") & text.str.contains(r"[^0-9.%\s]")
            | (read_as == "fio2_fraction") & pl.col("behind").str.contains(r"\S")
        ).alias("number_from_text"),
        (is_none & ~has_digits).alias("not_a_number"),
        (is_none & ~pl.col("several") & lead.is_not_null()).alias("fio2_not_listed"),
        (is_none & has_digits & (pl.col("several") | lead.is_null())).alias("single_value_missing"),
    )
