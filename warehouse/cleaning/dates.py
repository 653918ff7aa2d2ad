"""Reads dates: month first or day first depending on the field, ISO, after brackets, or a spreadsheet's day number.

Rules: "Dates" in the reference's conventions; the column table has the order of each field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.cleaning import tables

if TYPE_CHECKING:
    import polars as pl

#: Day numbers of 2017 to 2022; a spreadsheet counts the days since 1899-12-30.
_SERIALS = (42736, 44926)
#: No event is older than the disease, of December 2019: the first or last day of an earlier year stands for not known.
_FIRST_YEAR = 2019

_TIME = r"(?:[T\s]\s*[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]*)?)?\s*(?:[AaPp][Mm])?\s*(?:Z|[+-][0-9]{2}:?[0-9]{2})?)"
_ISO = rf"([0-9]{{4}})[-/]([0-9]{{1,2}})[-/]([0-9]{{1,2}})({_TIME})?$"
_PARTS = rf"^([0-9]{{1,2}})[-/.]([0-9]{{1,2}})[-/.]([0-9]{{4}}|[0-9]{{2}})({_TIME})?$"
_EMBEDDED = r"^\[[^\[\]]*\]\s*[-–—]?\s*" + _ISO
#: The same separator between the parts: 3/4-2020 is ambiguous.
_SAME_SIGNS = (
    r"^[0-9]{1,2}(?:/[0-9]{1,2}/|-[0-9]{1,2}-|\.[0-9]{1,2}\.)[0-9]|\b[0-9]{4}(?:/[0-9]{1,2}/|-[0-9]{1,2}-)[0-9]{1,2}"
)
_SERIAL = r"^([0-9]{5})(?:\.0+)?$"


def read_date(values: pl.DataFrame, *, day_first: bool) -> pl.DataFrame:
    """Read `text` as a date no later than the day after `day`; adds value and a column for every rule met.

    Placeholder days that systems write for an unknown date (1900-01-01, 1970-01-01, 31 December 1999 …) are nulled.
    """
    import polars as pl

    return (
        _read_forms(values, day_first=day_first)
        .with_columns(
            (
                (pl.col("read") < pl.date(1900, 1, 1))
                | (pl.col("read") > pl.col("day") + pl.duration(days=1)).fill_null(False)
            )
            .fill_null(False)
            .alias("date_outside_window"),
        )
        .with_columns(_is_placeholder().fill_null(False).alias("placeholder_date"))
        .with_columns(
            pl.when(~pl.col("date_outside_window") & ~pl.col("placeholder_date")).then("read").alias("value"),
            (pl.col("in_order").is_null() & pl.col("in_other_order").is_not_null()).alias("date_other_order"),
            pl.col("in_days").is_not_null().alias("date_serial"),
            (_is_matched("embedded") & pl.col("in_iso").is_not_null()).alias("date_embedded"),
            (
                pl.col("read").is_not_null()
                & pl.coalesce(pl.col(name).struct.field("4") for name in ("iso", "embedded", "parts")).is_not_null()
            ).alias("date_time_dropped"),
            (pl.col("read").is_null() & (_is_matched("iso") | _is_matched("embedded") | _is_matched("parts"))).alias(
                "impossible_date"
            ),
            (pl.col("read").is_null() & ~(_is_matched("iso") | _is_matched("embedded") | _is_matched("parts"))).alias(
                "not_a_date"
            ),
        )
    )


def _is_placeholder() -> pl.Expr:
    import polars as pl

    read = pl.col("read")
    first_or_last = read.dt.ordinal_day().eq(1) | (read.dt.month().eq(12) & read.dt.day().eq(31))
    return read.is_in(tables.list_placeholder_days()) | (
        first_or_last & read.dt.year().is_between(1900, _FIRST_YEAR - 1)
    )


def _read_forms(values: pl.DataFrame, *, day_first: bool) -> pl.DataFrame:
    """Read each form in which a date is written, and the first that is one as `read`."""
    import polars as pl

    text = pl.when(pl.col("text").str.contains(_SAME_SIGNS)).then("text")
    first, second = ("day", "month") if day_first else ("month", "day")
    return (
        values.with_columns(
            text.str.extract_groups(rf"^{_ISO}").alias("iso"),
            text.str.extract_groups(_PARTS).alias("parts"),
            text.str.extract_groups(_EMBEDDED).alias("embedded"),
            pl.col("text").str.extract(_SERIAL).cast(pl.Int32).alias("serial"),
        )
        .with_columns(
            pl.coalesce(_build_date("iso", "1", "2", "3"), _build_date("embedded", "1", "2", "3")).alias("in_iso"),
            _build_date("parts", "3", **{first: "1", second: "2"}).alias("in_order"),
            _build_date("parts", "3", **{first: "2", second: "1"}).alias("in_other_order"),
            pl.when(pl.col("serial").is_between(*_SERIALS))
            .then(pl.date(1899, 12, 30) + pl.duration(days=pl.col("serial")))
            .alias("in_days"),
        )
        .with_columns(pl.coalesce("in_iso", "in_order", "in_other_order", "in_days").alias("read"))
    )


def _is_matched(groups: str) -> pl.Expr:
    import polars as pl

    return pl.col(groups).struct.field("1").is_not_null()


def _build_date(groups: str, year: str, month: str, day: str) -> pl.Expr:
    """Build the date from a pattern's groups; null if it does not exist."""
    import polars as pl

    def part(name: str) -> pl.Expr:
        return pl.col(groups).struct.field(name)

    whole_year = pl.when(part(year).str.len_bytes() == 2).then("20" + part(year)).otherwise(part(year))
    return pl.concat_str(whole_year, part(month).str.zfill(2), part(day).str.zfill(2), separator="-").str.to_date(
        "%Y-%m-%d", strict=False
    )
