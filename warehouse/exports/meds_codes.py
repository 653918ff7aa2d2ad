"""The table of MEDS codes (sql/exports/meds_codes.csv): what it makes of the clinical fields, and its descriptions.

`value` of a line states what becomes of the field: `number` (numeric_value), `flag` (the code alone, where it is true),
`suffix` (the value is the end of the code), `category` (its label is), `boolean` (YES or NO is). `day` is the column
with the day it happened, `known` (the day the record was available) or `static` (no time).
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

from warehouse.catalog import columns
from warehouse.engine import sql_files
from warehouse.engine.sql_files import identifier, literal


@dataclass(frozen=True, slots=True)
class Code:
    """One line of the table."""

    code: str
    view: str
    field: str
    value: str
    day: str
    description: str

    @property
    def unit(self) -> str:
        """The unit of its numbers, as the columns declare it."""
        return _find_column(self.view, self.field).unit if self.value == "number" else ""


def list_codes() -> list[Code]:
    """All lines of the table."""
    return [Code(**row) for row in csv.DictReader(io.StringIO(sql_files.read("exports/meds_codes.csv")))]


def render_clinical_events() -> str:
    """Render the lines for fields of the record as structs of SQL; static ones are taken from view patients."""
    codes = [code for code in list_codes() if code.view == "clinical" and code.day != "static"]
    return ",\n            ".join(_render_event(code) for code in codes)


def _render_event(code: Code) -> str:
    field, day = identifier(code.field), "null" if code.day == "known" else identifier(code.day)
    is_number = code.value == "number"
    number = field if is_number else "null"
    return (
        f"struct_pack(code := {_render_code(code, field)}, numeric_value := cast({number} as double), "
        f"day := cast({day} as date), unit := {_render_unit(code) if is_number else 'cast(null as varchar)'})"
    )


def _render_code(code: Code, field: str) -> str:
    name, prefix = literal(code.code), literal(f"{code.code}//")
    match code.value:
        case "number":
            return f"case when {field} is not null then {name} end"
        case "boolean":
            return f"{prefix} || case {field} when true then 'YES' when false then 'NO' end"
        case "category":
            labels = (part.split("=", 1) for part in _find_column("clinical", code.field).categories.split("; "))
            cases = " ".join(f"when {int(number)} then {literal(label)}" for number, label in labels)
            return f"{prefix} || case {field} {cases} end"
        case _:
            return f"{prefix} || {field}"


def _render_unit(code: Code) -> str:
    """The unit of a value: its own column where centres differ (null where not known), else the declared one."""
    own = f"{code.field}_unit"
    if any(column.name == own for column in columns.load_relations()["clinical"].columns):
        return identifier(own)
    return f"cast({literal(code.unit)} as varchar)" if code.unit else "cast(null as varchar)"


def _find_column(view: str, name: str) -> columns.Column:
    return next(column for column in columns.load_relations()[view].columns if column.name == name)
