"""Reads numbers: plain, in brackets, at the start of an entry, or the only one in it; pairs of blood pressures."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

#: Minus signs and decimal points of Unicode. A middle dot in front of a power of ten multiplies.
_MINUS, _DASH, _POINT = (
    "[\u2212\ufe63\uff0d\u207b\u208b\u02d7\u2796]",
    "^[\u2010-\u2015\u2043]\\s*([0-9.])",
    "([0-9])[\u00b7\u2219\u22c5\u2027\u066b\uff0e\u3002\uff61\u30fb\uff65\u2024]([0-9])",
)
_TIMES = "\\s*[\u00b7\u2219\u22c5]\\s*(10\\s*(?:\\^|[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]))"

NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+\b)?"
_PLAIN = rf"^[+-]?{NUMBER}$"
_LIMIT = r"(?:<=|>=|[<>~≤≥≈])"
#: [value] at the start, or [value] - date anywhere.
_BRACKETS = r"^\[([^\[\]]*)\]", r"\[([^\[\]]*)\]\s*[-–—]\s*[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
_START = rf"(?s)^({_LIMIT})?\s*([+-]?\s*{NUMBER})(.*)$"
#: Text after a leading number that makes it the first of several (a range, a list, a fraction, a date, digit groups)
#: or a different number (a power, a hexadecimal, a trailing minus).
GOES_ON = (
    r"^\s*(?:[-–—/:;,|+\\~=]|\b(?:to|or|and|then)\b|&)\s*[<>~+-]?\.?[0-9]|^[.,'’‘ʼ`´_][0-9]|^\^|^\s*[½⅓⅔¼¾⅛⅜⅝⅞]"
    r"|^\s+[<>~≤≥≈]?[+-]?\.?[0-9]|^\s*/\s*(?:[-–—.?]|$)|^[⁰¹²³⁴-⁹]|^[xX×*]\s*[0-9]|^[bBoOdDeE][0-9]|^\s*[-–—]\s*$"
    # Any further sign between two numbers: an ellipsis, a thousands separator of another script, a wave dash.
    r"|^\s*[^\x00-\x7F\pL\pN\pZ×]\s*\.?[0-9]"
)
HEXADECIMAL = (
    r"(?:^|[^0-9.])0[xX][0-9A-Fa-f]|&[hH][0-9A-Fa-f]"
    r"|(?:^|[^0-9A-Za-z.])[0-9][0-9A-Fa-f]*[A-Fa-f][0-9A-Fa-f]*[hH](?:$|[^0-9A-Za-z])"
)
_YEARS = r"(?i)^\s*\+?\s*(?:y|yo|y/o|yrs?|years?)?\.?\s*(?:old)?\.?\s*$"
_POWER_OF_TEN = r"^\s*[x×*]?\s*10\s*[\^⁰¹²³⁴-⁹]|^\s*[x×*]\s*10(?:3|6|9|12)\b"
_ONLY = rf"(?:^|[^0-9A-Za-z.])(-?{NUMBER})"
_PAIR = rf"^({NUMBER})\s*/\s*({NUMBER})(.*)$"


def read_number(values: pl.DataFrame, *, only_at_start: bool = False) -> pl.DataFrame:
    """Read `text` as a number; adds value (not yet converted, checked or rounded), the words `rest` after the number,
    and a column for every rule met. With `only_at_start`, a number later in the text does not count."""
    import polars as pl

    values = normalise_signs(values)
    text = pl.col("text")
    plain = values.filter(text.str.contains(_PLAIN)).with_columns(text.cast(pl.Float64, strict=False).alias("value"))
    inner = pl.coalesce(text.str.extract(pattern) for pattern in _BRACKETS)
    only = pl.lit(None, pl.String) if only_at_start else pl.col("entry").str.extract(_ONLY)
    odd = (
        values.filter(~text.str.contains(_PLAIN))
        .with_columns(
            inner.is_not_null().alias("is_bracketed"), pl.coalesce(inner, text).str.strip_chars().alias("entry")
        )
        .with_columns(
            pl.col("entry").str.extract_groups(_START).alias("opening"),
            pl.col("entry").str.count_matches("[0-9]+(?:[.][0-9]+)?|[.][0-9]+").alias("numbers"),
        )
        .with_columns(pl.col("opening").struct.field("2").is_not_null().alias("starts"))
        .with_columns(
            pl.col("opening").struct.field("3").alias("rest"),
            (
                pl.col("opening").struct.field("3").str.contains(GOES_ON)
                & ~pl.col("opening").struct.field("3").str.contains(_POWER_OF_TEN)
                | pl.col("entry").str.contains(HEXADECIMAL)
            )
            .fill_null(False)
            .alias("goes_on"),
        )
        .with_columns(
            pl.when("goes_on")
            .then(None)
            .when("starts")
            .then(pl.col("opening").struct.field("2").str.replace_all(r"\s", ""))
            .when((pl.col("numbers") == 1) & ~pl.col("entry").str.contains("[½⅓⅔¼¾⅛⅜⅝⅞]"))
            .then(only)
            .cast(pl.Float64, strict=False)
            .alias("value")
        )
        .with_columns(_rules())
        .drop("entry", "opening", "starts", "goes_on", "numbers", "is_bracketed")
    )
    return pl.concat([odd, plain], how="diagonal")


def _rules() -> list[pl.Expr]:
    """Add the rules for entries whose text is more than a number."""
    import polars as pl

    is_read, rest = pl.col("value").is_not_null(), pl.col("rest")
    has_sign = pl.col("entry").str.contains(rf"{_LIMIT}\s*[+-]?\.?[0-9]")
    has_limit = has_sign | rest.str.contains(r"^\s*\+").fill_null(False)
    has_words = ~pl.col("starts") | rest.str.contains(r"[^\s+]").fill_null(False)
    return [
        (is_read & pl.col("is_bracketed")).alias("value_from_brackets"),
        (is_read & has_limit).alias("limit_reported"),
        (is_read & has_words).alias("number_from_text"),
        (~is_read & (pl.col("numbers") == 0)).alias("not_a_number"),
        (~is_read & (pl.col("numbers") > 0)).alias("single_value_missing"),
    ]


def normalise_signs(values: pl.DataFrame) -> pl.DataFrame:
    """Replace Unicode minus signs and decimal points, and the words minus and negative, by - and .; adds
    `number_spelling`."""
    import polars as pl

    text = pl.col("text").str.replace_all(_TIMES, "x$1").str.replace_all(_MINUS, "-").str.replace(_DASH, "-$1")
    text = text.str.replace_all(_POINT, "$1.$2").str.replace(r"(?i)^(?:minus|negative|neg\.?)\s*([0-9.])", "-$1")
    return values.with_columns(text.alias("text"), (text != pl.col("text")).alias("number_spelling"))


def read_years(values: pl.DataFrame) -> pl.DataFrame:
    """Read `text` as an age: a number that only years may follow (not 6 months)."""
    import polars as pl

    return _drop_doubtful(read_number(values, only_at_start=True), ~pl.col("rest").str.contains(_YEARS))


def _drop_doubtful(read: pl.DataFrame, doubt: pl.Expr) -> pl.DataFrame:
    """Null numbers that the words after them make doubtful."""
    import polars as pl

    doubtful = (pl.col("value").is_not_null() & doubt).fill_null(False)
    return read.with_columns(
        pl.when(~doubtful).then("value").alias("value"),
        (pl.col("single_value_missing").fill_null(False) | doubtful).alias("single_value_missing"),
    )


def read_blood_pressure(values: pl.DataFrame) -> pl.DataFrame:
    """Read `text` as a pressure: the part of a pair that `also_reads` names, else a number."""
    import polars as pl

    values = normalise_signs(values)
    inner = pl.coalesce(pl.col("text").str.extract(pattern) for pattern in _BRACKETS)
    marked = values.with_columns(
        inner.is_not_null().alias("is_bracketed"),
        pl.coalesce(inner, "text").str.strip_chars().str.extract_groups(_PAIR).alias("pair"),
    ).with_columns(
        (
            pl.col("pair").struct.field("1").is_not_null()
            & ~pl.col("pair").struct.field("3").str.contains(GOES_ON).fill_null(False)
        ).alias("is_pair")
    )
    pairs = marked.filter("is_pair").with_columns(
        pl.when(pl.col("also_reads") == "first of pair")
        .then(pl.col("pair").struct.field("1"))
        .otherwise(pl.col("pair").struct.field("2"))
        .cast(pl.Float64, strict=False)
        .alias("value"),
        pl.lit(True).alias("value_from_pair"),
        pl.col("is_bracketed").alias("value_from_brackets"),
    )
    spelling = pl.col("number_spelling")
    others = marked.filter(~pl.col("is_pair")).drop("is_bracketed").rename({"number_spelling": "was_spelt"})
    others = read_number(others, only_at_start=True).with_columns(
        (spelling | pl.col("was_spelt")).alias("number_spelling")
    )
    # Another number follows, as in 120 over 80: it is ambiguous which one is meant.
    others = _drop_doubtful(others, pl.col("rest").str.contains("[0-9]"))
    return pl.concat([pairs, others], how="diagonal").drop("pair", "is_pair", "is_bracketed", "was_spelt", strict=False)
