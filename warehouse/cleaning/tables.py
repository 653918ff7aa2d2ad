"""The tables behind cleaning, as polars frames: the fields of sql/columns/clinical.csv, and sql/cleaning."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import TYPE_CHECKING

from warehouse.catalog import columns, spelling
from warehouse.engine import sql_files

if TYPE_CHECKING:
    import polars as pl

#: Increase it whenever the code of this package reads a value differently, so that the next refresh cleans all
#: records again. The contents of the tables are part of the digest anyway.
VERSION = 3

#: The object in which some centres nest fields, which are lifted to the top level.
NESTED = "OtherDataSources"
SEGMENTATION = "SegmentationData"

#: The parts of an item of SwabDates, and the fields whose rules they follow.
SWAB_PARTS = {"SwabDate": "swabdate", "SwabStatus": "swab_status"}


@dataclass(frozen=True, slots=True)
class Field:
    """A key of the record: `place` numbers it, `rank` is 0 for a column's own key and more for its aliases."""

    place: int
    key: str
    rank: int
    column: columns.Column

    @property
    def is_retired(self) -> bool:
        """Whether the field is no longer published."""
        return not self.column.type


@cache
def list_fields() -> tuple[Field, ...]:
    """List every key of a record, aliases after their column's own key."""
    found = [
        (rank, key, column)
        for column in columns.list_record_columns()
        for rank, key in enumerate((column.source, *column.other_keys))
    ]
    return tuple(Field(place, key, rank, column) for place, (rank, key, column) in enumerate(found))


@cache
def compute_rules_digest() -> str:
    """Compute the digest of the rules: of the column table, the tables of sql/cleaning, and the version of the code."""
    tables_read = (f"cleaning/{name}.csv" for name in ("mappings", "rules", "site_units"))
    names = ["columns/clinical.csv", "expressions/spelling.sql", *tables_read]
    text = "\0".join((str(VERSION), *map(sql_files.read, names)))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def read_rows(name: str) -> list[dict[str, str]]:
    """Read the rows of a table in sql/cleaning."""
    return list(csv.DictReader(io.StringIO(sql_files.read(f"cleaning/{name}.csv"))))


@cache
def map_effects() -> dict[str, str]:
    """The effect of every rule: nulled, changed, repaired or flagged."""
    return {row["rule"]: row["effect"] for row in read_rows("rules")}


@cache
def read_mapping(name: str) -> dict[str, str | None]:
    """Read a lookup table of mappings.csv; None if the input has no clean value."""
    return {given: clean or None for given, clean in sql_files.read_mapping(name).items()}


@cache
def list_placeholder_days() -> list[date]:
    """The placeholder days that systems write for an unknown date."""
    return [date.fromisoformat(day) for day in read_mapping("placeholder_date")]


@cache
def build_field_frame() -> pl.DataFrame:
    """The fields with the properties that cleaning a value needs: column, kind, limits, other accepted forms."""
    import polars as pl

    def limit(text: str) -> float | None:
        return float(text) if text else None

    return pl.DataFrame(
        [
            {
                "place": f.place,
                "field": f.key,
                "column_name": f.column.name,
                "kind": "retired" if f.is_retired else f.column.kind,
                "also_reads": f.column.also_reads,
                "minimum": limit(f.column.minimum),
                "maximum": limit(f.column.maximum),
                "usual_minimum": limit(f.column.usual_minimum),
                "usual_maximum": limit(f.column.usual_maximum),
                "canonical": f.column.unit or None,
                "has_unit": f.column.name in list_measured_columns(),
            }
            for f in list_fields()
        ],
        schema={
            "place": pl.Int16,
            "field": pl.String,
            "column_name": pl.String,
            "kind": pl.String,
            "also_reads": pl.String,
            **dict.fromkeys(("minimum", "maximum", "usual_minimum", "usual_maximum"), pl.Float64),
            "canonical": pl.String,
            "has_unit": pl.Boolean,
        },
    )


@cache
def build_code_frame() -> pl.DataFrame:
    """The codes of each field: place, code, and whether it means unknown."""
    import polars as pl

    return pl.DataFrame(
        [
            {"place": f.place, "code": int(code), "says_unknown": label == "Unknown"}
            for f in list_fields()
            if f.column.kind in ("category", "code", "boolean")
            for code, label in (part.split("=", 1) for part in f.column.categories.split("; "))
        ],
        schema={"place": pl.Int16, "code": pl.Int64, "says_unknown": pl.Boolean},
    )


@cache
def list_measured_columns() -> frozenset[str]:
    """The columns whose unit depends on the centre; each has a further column NAME_unit."""
    return frozenset(row["column"] for row in read_rows("site_units"))


def normalize_unit(unit: str) -> str:
    """Normalize a unit for comparison: lower case, no white space, u for micro."""
    return re.sub(r"\s", "", unit).replace("µ", "u").replace("μ", "u").lower()


@cache
def build_centre_units() -> pl.DataFrame:
    """The unit in which each centre reports a column: centre (normalised), column_name, unit (null if not given)."""
    import polars as pl

    units = read_rows("site_units")
    folded = spelling.fold_centres(row["centre"] for row in units)
    return pl.DataFrame(
        [{"centre": folded[r["centre"]], "column_name": r["column"], "centre_unit": r["unit"] or None} for r in units],
        schema=dict.fromkeys(("centre", "column_name", "centre_unit"), pl.String),
    )


@cache
def build_unit_factors() -> pl.DataFrame:
    """Every known unit of a column: its factor to the column's own unit (null if none) and plausible maximum."""
    import polars as pl

    found: dict[tuple[str, str], dict[str, object]] = {}
    for row in read_rows("site_units"):
        if row["unit"]:
            maximum = row["plausible_maximum"]
            found[row["column"], normalize_unit(row["unit"])] = {
                "unit": row["unit"],
                "factor": float(row["factor_to_canonical"]) if row["factor_to_canonical"] else None,
                "plausible_maximum": float(maximum) if maximum else None,
                "is_implausible": row["is_plausible"] == "no",
            }
    for column in columns.list_record_columns():
        if column.name in list_measured_columns():
            found[column.name, normalize_unit(column.unit)] = {
                "unit": column.unit,
                "factor": 1.0,
                "plausible_maximum": None,
                "is_implausible": False,
            }
    return pl.DataFrame(
        [{"column_name": column, "spelt_unit": unit, **rest} for (column, unit), rest in sorted(found.items())],
        schema={
            **dict.fromkeys(("column_name", "spelt_unit", "unit"), pl.String),
            **dict.fromkeys(("factor", "plausible_maximum"), pl.Float64),
            "is_implausible": pl.Boolean,
        },
    )


@cache
def find_field_position(column: str) -> int:
    """The position of a column's own key."""
    return next(f.place for f in list_fields() if f.column.name == column and not f.rank)


@cache
def map_swab_keys() -> dict[str, int]:
    """The fields whose rules the parts of an item of SwabDates follow: key to position."""
    return {key: find_field_position(name) for key, name in SWAB_PARTS.items()}
