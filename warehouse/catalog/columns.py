"""The declared columns: reads sql/columns/*.csv and derives DDL, extraction and the data dictionary from them.

Adding a DICOM attribute is one line in sql/columns/images.csv (name = keyword, source = tag); everything
else follows from the line.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from functools import cache

from warehouse.catalog import spelling
from warehouse.engine import sql_files


@dataclass(frozen=True, slots=True)
class Column:
    """One line of a column table. `source` is a DICOM tag (eight hex digits), a key of the clinical record, or a
    word for where we have it from; `unit` is "" where the value has none.

    The rest applies to clinical fields. `kind` names how a value is read (warehouse/cleaning), `also_reads` what
    this field takes beyond that: a code within words (mixed), the word yes, the laboratory's phrase, a part of a
    pair. Outside `minimum` and `maximum` a value is null, outside the usual ones it is kept and flagged.
    `categories` are its codes; `aliases` a JSON list of other keys, in which white space counts. `event_date`
    names the column with the day the fact happened; `always` has none, "" is not known. A field without a type
    is retired: known, but not published.
    """

    name: str
    type: str
    unit: str
    source: str
    meaning: str
    section: str = ""
    kind: str = ""
    minimum: str = ""
    maximum: str = ""
    usual_minimum: str = ""
    usual_maximum: str = ""
    categories: str = ""
    also_reads: str = ""
    applies_to: str = ""
    aliases: str = ""
    event_date: str = ""

    @property
    def is_dicom(self) -> bool:
        """Whether the column is read from the DICOM tag in `source`."""
        return len(self.source) == 8 and self.source.isalnum() and self.source[0].isdigit()

    @property
    def is_field(self) -> bool:
        """Whether the column is a field of the clinical record."""
        return bool(self.kind) and self.kind != "unit"

    @property
    def limits(self) -> str:
        """The limits that its values are held to, in words; "" without any."""
        if self.minimum and self.maximum:
            return f"{self.minimum} to {self.maximum}"
        return f"from {self.minimum}" if self.minimum else f"up to {self.maximum}" if self.maximum else ""

    @property
    def comment(self) -> str:
        """The comment on the column in the lake: its meaning, unit, limits and codes."""
        more = (f"[{self.unit}]" if self.unit else "", self.limits, self.categories)
        return "; ".join([" ".join(filter(None, (self.meaning, more[0]))), *filter(None, more[1:])])

    @property
    def other_keys(self) -> tuple[str, ...]:
        """The other keys under which the clinical field is sent."""
        return tuple(json.loads(self.aliases)) if self.aliases else ()


@dataclass(frozen=True, slots=True)
class Relation:
    """A table of the lake or a view that users query."""

    name: str
    kind: str
    meaning: str
    columns: tuple[Column, ...]


def _read_rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(sql_files.read(f"columns/{name}.csv"))))


@cache
def load_relations() -> dict[str, Relation]:
    """Every table and view by name, tables with their schema (`core.images`), views bare (`images`).

    `columns` of sql/columns/tables.csv names the files of columns, joined by `+` where a view adds its own.
    """
    declared = _read_rows("tables")
    files = {name for row in declared for name in row["columns"].split("+")}
    columns = {name: tuple(Column(**row) for row in _read_rows(name) if row["type"]) for name in files}
    return {
        row["name"]: Relation(
            row["name"],
            row["object"],
            row["meaning"],
            tuple(column for name in row["columns"].split("+") for column in columns[name]),
        )
        for row in declared
    }


def list_tables() -> list[Relation]:
    """The tables of the lake, in the order they are declared."""
    return [relation for relation in load_relations().values() if relation.kind == "table"]


def list_views() -> list[Relation]:
    """The views that users query."""
    return [relation for relation in load_relations().values() if relation.kind == "view"]


def list_dicom_columns() -> list[Column]:
    """The columns of core.images that are read from the header."""
    return [column for column in load_relations()["core.images"].columns if column.is_dicom]


def render_columns(table: Relation) -> str:
    """The columns of a table as CREATE TABLE takes them: names and types."""
    return ", ".join(f"{sql_files.identifier(column.name)} {column.type}" for column in table.columns)


@cache
def template_values() -> dict[str, str]:
    """What the templates in sql/ ask for by `{{ define_TABLE }}` (names and types), `{{ names_TABLE }}`, and the
    expressions of views over all clinical fields, or all columns of a section."""
    filled: dict[str, str] = {**spelling.template_values()}
    for table in list_tables():
        name = table.name.replace(".", "_")
        filled[f"define_{name}"] = render_columns(table)
        filled[f"names_{name}"] = ", ".join(sql_files.identifier(c.name) for c in table.columns)
    clinical = load_relations()["core.clinical"].columns
    compared = [c.name for c in clinical if c.is_field or c.name == "kind" or c.kind == "unit"]
    fields = [c for c in clinical if c.is_field]
    known = {"ethnicity": "ethnicity <> 'Unknown'"}
    filled["compared_fields"] = ",\n            ".join(
        f"case when newer.{name} is distinct from older.{name} then struct_pack(field := {sql_files.literal(name)}, "
        f"old_value := cast(older.{name} as varchar), new_value := cast(newer.{name} as varchar)) end"
        for name in compared
    )
    filled["filled_counts"] = ",\n        ".join(
        f"count(*) filter ({known.get(c.name, f'{c.name} is not null')}) as n_{c.name}" for c in fields
    )
    composition = [c.name for c in load_relations()["series"].columns if c.section == "composition"]
    filled["values_of_composition"] = ",\n    ".join(
        f"case when count({name}) = count(*) and min({name}) = max({name}) then min({name}) end as {name}"
        for name in map(sql_files.identifier, composition)
    )
    filled["differences_of_composition"] = ",\n            ".join(
        f"case when count({name}) not in (0, count(*)) or min({name}) < max({name}) then {word} end"
        for name, word in zip(map(sql_files.identifier, composition), map(sql_files.literal, composition), strict=True)
    )
    divisors = sql_files.read_mapping("dicom_age_divisor").items()
    filled["header_age"] = sql_files.fill(
        sql_files.read_expression("expressions/header_age.sql", "header_age"),
        age_divisors=" ".join(f"when {sql_files.literal(unit.upper())} then {n}" for unit, n in divisors),
    )
    filled["filled_fields"] = ",\n            ".join(
        f"struct_pack(column_name := {sql_files.literal(c.name)}, applies_to := {sql_files.literal(c.applies_to)}, "
        f"n_filled := n_{c.name})"
        for c in fields
    )
    return filled


def statement_parts() -> dict[str, str]:
    """What the declared attributes give to the SELECTs of sql/extract/headers.sql."""
    columns = list_dicom_columns()
    objects = [c.name for c in load_relations()["core.images"].columns if not c.is_dicom and c.name != "rules"]
    return {
        "object_columns": ", ".join(map(sql_files.identifier, objects)),
        "dicom_columns": ", ".join(
            f"{_find_macro(c)}(v_{c.source}) as {sql_files.identifier(c.name)}" for c in columns
        ),
        "dicom_values": ", ".join(f"tags.{sql_files.identifier(c.source)}.Value as v_{c.source}" for c in columns),
        "dicom_vrs": ", ".join(
            f"tags.{sql_files.identifier(c.source)}.vr as r_{c.source}" for c in columns if _find_usual_vrs(c)
        ),
        "structure": json.dumps({c.source: _describe_structure(c) for c in columns}),
        "usual_vrs": " and ".join(
            # An IN of many would be planned as a join.
            f"coalesce(contains({sql_files.literal(' '.join(vrs))}, r_{c.source}), true)"
            for c in columns
            if (vrs := _find_usual_vrs(c))
        ),
    }


def _describe_structure(column: Column) -> dict[str, object]:
    # Numbers are read as such, which is cheaper than by way of a text; all else comes as text.
    value: dict[str, object] = {"Value": ["DOUBLE" if column.type in ("DOUBLE", "INTEGER") else "VARCHAR"]}
    return {**value, "vr": "VARCHAR"} if _find_usual_vrs(column) else value


def _find_usual_vrs(column: Column) -> tuple[str, ...]:
    """The VRs in which normal form makes sure that values are in the form of the column; () for texts: all do."""
    numbers = ("DS", "IS", "FL", "FD", "US", "SS", "UL", "SL", "UV", "SV")
    by_name = {"PatientName": ("PN",), "PatientAge": ("AS",)}
    if column.name in by_name:
        return by_name[column.name]
    kinds = {"DATE": ("DA",), "TIME": ("TM",), "JSON": ("SQ",), "DOUBLE": numbers, "INTEGER": numbers}
    return kinds.get(column.type.removesuffix("[]"), ())


def _find_macro(column: Column) -> str:
    if column.name == "PatientName":
        return "dicom_name"
    return f"dicom_{column.type.lower().replace('[]', '_list')}"


def list_identifying_attributes() -> list[dict[str, str]]:
    """The attributes that identify a person or an institution: keyword, tag, what it is, what is allowed in it."""
    return _read_rows("identifying")


@cache
def list_record_columns() -> tuple[Column, ...]:
    """The fields of the clinical record, the retired ones with them."""
    return tuple(column for column in (Column(**row) for row in _read_rows("clinical")) if column.is_field)
