"""Cleaning: converts the raw values of clinical records to typed columns, and records an issue for every exception.

Works on a whole batch at once, in long form: one row for each value. The values of one kind are read by one function
(dates, numbers, codes); then units are converted, limits applied, aliases merged and the columns joined. Total: every
JSON value in every field is accepted or gets an issue. The rules are in sql/columns/clinical.csv and sql/cleaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from warehouse.catalog import columns
from warehouse.cleaning import assembly, codes, dates, fio2, numbers, preparation, tables, units
from warehouse.cleaning.tables import compute_rules_digest

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Cleaned", "Parts", "clean", "compute_rules_digest"]


class Parts(NamedTuple):
    """A batch of records split into values (sql/extract/records.sql). `raw_value` is a value as text, `start` the first
    character of its JSON."""

    records: pl.DataFrame
    """row (0, 1, …), available_date"""
    values: pl.DataFrame
    """row, place (of the field in tables.fields()), is_nested, start, raw_value"""
    swabs: pl.DataFrame
    """The items of SwabDates: row, is_nested, item (from 0), item_value; place, start, raw_value of its two parts"""
    oddities: pl.DataFrame
    """Fields that are unknown to the column table or duplicated: row, field, raw_value, rule"""


class Cleaned(NamedTuple):
    """A cleaned batch: `columns` has a row for each record, in order; `issues` refer to these rows."""

    columns: pl.DataFrame
    issues: pl.DataFrame


def clean(parts: Parts) -> Cleaned:
    """Clean a batch of records; never raises for any value."""
    import polars as pl

    lifted, replaced = preparation.lift_nested(parts.values)
    given = preparation.describe(lifted)
    more = {
        "day": parts.records.select("row", pl.col("available_date").alias("day")),
        "centre": preparation.fold_centres(given),
    }
    is_container = pl.col("form") == "container"
    lists = given.filter((pl.col("kind") == "list") & (pl.col("start") == "["))
    single, aside = _set_aside(given)
    read = list(_read_by_kind(single, more))
    swabs = parts.swabs.join(lists.select("row", "is_nested"), on=["row", "is_nested"], how="semi")
    swab_parts = preparation.list_swab_parts(swabs)
    swabs_read = list(_read_by_kind(swab_parts.filter(~is_container), more))
    by_place = {place: part for frame in read for place, part in _group_by(frame, "place")}
    if replaced.height and read:
        now = pl.concat([frame.select("row", "place", "clean_value") for frame in read])
        replaced = replaced.join(now, on=["row", "place"], how="left")
    base = parts.records.select("row").sort("row")
    merged = [
        assembly.merge_column(base, column, by_place)
        for column in columns.list_record_columns()
        if column.type and column.kind != "list"
    ]
    centre = base.join(more["centre"], on="row", how="left", maintain_order="left").select("centre")
    typed = pl.concat(
        [base, centre, *(column for column, _ in merged), assembly.collect_swab_lists(base, lists, swabs, swabs_read)],
        how="horizontal",
    ).with_columns(pl.col("ethnicity").fill_null("Unknown"), pl.lit(compute_rules_digest()).alias("rules"))
    odd = parts.oddities.with_columns((pl.col("rule") == name).alias(name) for name in _ODDITIES).drop("rule")
    explained = [
        replaced,
        odd,
        aside,
        *read,
        *swabs_read,
        swab_parts.with_columns(is_container.alias("wrong_type")),
        preparation.list_odd_items(swabs),
        *(part for _, conflicts in merged for part in conflicts),
    ]
    return Cleaned(typed, pl.concat([assembly.collect_issues(frame) for frame in explained]))


def _set_aside(given: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Separate single values from lists, objects and retired fields; the latter with a column for every rule met."""
    import polars as pl

    is_container, is_list, is_retired, is_ethnicity = (
        pl.col("form") == "container",
        *(pl.col("kind") == kind for kind in ("list", "retired", "ethnicity")),
    )
    is_single = ~(is_container | is_list | is_retired)
    return given.filter(is_single), given.filter(~is_single).with_columns(
        is_retired.alias("retired_field"),
        (is_list & ~(pl.col("start") == "[")).alias("not_a_list"),
        (is_container & ~is_list & ~is_retired & ~is_ethnicity).alias("wrong_type"),
        is_ethnicity.alias("ethnicity_not_recognised"),
        pl.when(is_ethnicity).then(pl.lit("Unknown")).alias("clean_value"),
    )


#: Rules that sql/extract/records.sql applies itself.
_ODDITIES = ("unknown_field", "duplicate_field")


def _group_by(frame: pl.DataFrame, name: str) -> Iterator[tuple[object, pl.DataFrame]]:
    return ((key, part) for (key,), part in frame.partition_by(name, as_dict=True).items())


def _read_by_kind(values: pl.DataFrame, more: dict[str, pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Read the values of each kind: adds value, clean_value as text, and a column for every rule met.

    `more` has data of the record that some kinds need: the day of its file, its centre.
    """
    import polars as pl

    for kind, part in _group_by(values, "kind"):
        asked = more.get(_ASKS.get(kind, ""))
        whole = part.drop("start") if asked is None else part.drop("start").join(asked, on="row", how="left")
        read = _READERS[kind](whole).with_columns(pl.col("value").cast(pl.String).alias("clean_value"))
        # A value that was nulled was not repaired: only the rule that nulled it is reported.
        of_values = [name for name in read.columns if tables.map_effects().get(name, "nulled") != "nulled"]
        yield read.with_columns(pl.col(name) & pl.col("value").is_not_null() for name in of_values)


def _read_numbers(values: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Read numbers of all kinds: convert units that differ by centre, apply limits, and round integers."""
    import polars as pl

    limits = tables.build_field_frame().drop("field", "kind", "also_reads")
    values = values.join(limits, on="place")
    read = {"fio2": fio2.read_fio2, "blood_pressure": numbers.read_blood_pressure, "age": numbers.read_years}.get(
        kind, numbers.read_number
    )(values)
    if kind == "number":
        read = pl.concat(
            [units.convert_units(read.filter("has_unit")), read.filter(~pl.col("has_unit"))], how="diagonal"
        )
    limited = units.apply_limits(units.flag_spans(read) if kind == "integer" else read)
    return units.flag_unusual(units.round_to_whole(limited) if kind in ("integer", "age") else limited)


#: Data of the record that the readers of some kinds need.
_ASKS: dict[object, str] = {"date_us": "day", "date_uk": "day", "number": "centre"}

Reader = Callable[["pl.DataFrame"], "pl.DataFrame"]

_READERS: dict[object, Reader] = {
    "text": codes.read_text,
    "sex": codes.read_sex,
    "ethnicity": codes.read_ethnicity,
    "boolean": codes.read_boolean,
    "category": codes.read_category,
    "code": codes.read_report_code,
    "pcr_result": codes.read_pcr_result,
    "date_us": partial(dates.read_date, day_first=False),
    "date_uk": partial(dates.read_date, day_first=True),
    **{kind: partial(_read_numbers, kind=kind) for kind in ("integer", "age", "number", "fio2", "blood_pressure")},
}
