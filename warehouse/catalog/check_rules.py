"""The rules of the checks, as sql/checks declares them: one file, one rule, whose rows are faults.

A file begins with `-- title:`, `-- meaning:` (which may go on over lines that are indented), `-- severity:` and
`-- table:`; one SELECT follows. Holes in it are filled from the column tables.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import PurePath

from warehouse.catalog import columns, dicom_dictionary, public_views
from warehouse.engine import sql_files
from warehouse.errors import UsageError

_HEADER = re.compile(r"^-- (title|meaning|severity|table): *(.*(?:\n--   .*)*)$", re.MULTILINE)

#: The postcode areas of two letters (Royal Mail, Postcode Address File); those of one are B E G L M N S W.
_POSTCODE_AREAS = """
AB AL BA BB BD BH BL BN BR BS BT CA CB CF CH CM CO CR CT CV CW DA DD DE DG DH DL DN DT DY EC EH EN EX FK FY GL GU GY HA
HD HG HP HR HS HU HX IG IM IP IV JE KA KT KW KY LA LD LE LL LN LS LU ME MK ML NE NG NN NP NR NW OL OX PA PE PH PL PO PR
RG RH RM SA SE SG SK SL SM SN SO SP SR SS ST SW SY TA TD TF TN TQ TR TS TW UB WA WC WD WF WN WR WS WV YO ZE
"""

_IDENTIFYING = "expressions/identifying.sql"


class Severity(StrEnum):
    """How severe the rows of a check are, most severe first."""

    BLOCKING = "blocking"  # the snapshot is wrong
    ERROR = "error"  # a fact is wrong and would go into an answer
    WARNING = "warning"  # to be looked at


@dataclass(frozen=True, slots=True)
class Check:
    """One rule: what it finds, why that is a fault, and of which table or view."""

    name: str
    title: str
    meaning: str
    severity: Severity
    table: str
    sql: str

    def __repr__(self) -> str:
        """Its name, severity and title."""
        return f"<Check {self.name} ({self.severity}): {self.title}>"


@cache
def load_definitions() -> dict[str, Check]:
    """Every check by its name, most severe first."""
    found = [_parse(name) for name in sql_files.list_files("checks")]
    return {check.name: check for check in sorted(found, key=lambda c: (list(Severity).index(c.severity), c.name))}


def find_definition(name: str) -> Check:
    """The check of that name; UsageError suggests the nearest if it does not exist."""
    import difflib

    known = load_definitions()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(f"There is no check {name!r}.{hint} List them:  chest check --list")
    return known[name]


def _parse(name: str) -> Check:
    text = sql_files.read(name)
    header = {key: " ".join(line.strip("- ") for line in value.splitlines()) for key, value in _HEADER.findall(text)}
    return Check(
        name=PurePath(name).stem,
        title=header["title"],
        meaning=header["meaning"],
        severity=Severity(header["severity"]),
        table=header["table"],
        sql=sql_files.fill(text, **_template_values()),
    )


@cache
def load_shared() -> dict[str, str]:
    """Queries that several checks contain, each in parentheses, by name: who runs several may run them once."""
    identifying = columns.list_identifying_attributes()
    tags = [row["tag"] for row in identifying]
    parts = sql_files.fill(
        sql_files.read_expression(_IDENTIFYING, "parts"),
        identifying_shapes=sql_files.read_expression(_IDENTIFYING, "shapes"),
        identifying_tags="|".join(tags),
        pseudonym_tags="|".join(row["tag"] for row in identifying if row["allowed"] == "the pseudonym"),
        birth_date_tags="|".join(row["tag"] for row in identifying if row["allowed"] == "1 January"),
        # A path with a wildcard must be a constant; of a CASE only the branch that is asked for is run.
        identifying_elements="\n".join(
            f"when '{tag}' then cast(json_extract(header, '$..{tag}') as varchar[])" for tag in tags
        ),
    )
    return {"identifying_parts": f"({parts}\n)"}


@cache
def _template_values() -> dict[str, str]:
    """What the holes in sql/checks are filled with."""
    identifying = columns.list_identifying_attributes()
    tags = [row["tag"] for row in identifying]
    fields = [key for field in columns.list_record_columns() for key in (field.source, *field.other_keys)]
    return {
        "as_of": public_views.AS_OF,
        "in_group": public_views.IN_GROUP,
        "identifying": ", ".join(f"({', '.join(map(sql_files.literal, row.values()))})" for row in identifying),
        "identifying_parts": load_shared()["identifying_parts"],
        "identifying_tag_list": ", ".join(map(sql_files.literal, tags)),
        "known_fields": ", ".join(map(sql_files.literal, fields)),
        "postcode_areas": "|".join(_POSTCODE_AREAS.split()),
        "values_with_form": ", ".join(
            f"{{attribute: {sql_files.literal(c.name)}, vr: '{vr}', value: {sql_files.identifier(c.name)}}}"
            for c in columns.list_dicom_columns()
            if (vr := dicom_dictionary.find_vr(c.source)) in ("UI", "AS")
        ),
        **_count_unread_values(),
    }


def _count_unread_values() -> dict[str, str]:
    """The parts of the check that counts, for each declared attribute, the values of header and row."""
    declared = columns.list_dicom_columns()
    lists = [column for column in declared if column.type.endswith("[]")]
    single = [column for column in declared if not column.type.endswith("[]")]
    null_cells = _pack([f'"{c.name}" is null' for c in single], 1)
    filled_values = _pack([f"({_is_encoded(c)} or {_count_values(c)} > 0)" for c in single], 1)
    # A sequence is kept with all its items.
    several_values = _pack(["false" if c.type == "JSON" else f"{_count_values(c)} > 1" for c in single], 1)
    cell_counts = _pack([_at_most_60(f'list_count("{c.name}")') for c in lists], 6)
    value_counts = _pack(
        [f"case when {_is_encoded(c)} then 60 else {_at_most_60(_count_values(c))} end" for c in lists], 6
    )
    bits = [
        f"(cells.is_null_{place} & filled.has_value_{place} | filled.has_several_{place})"
        for place in range(len(null_cells))
    ]
    places = range(len(cell_counts))
    return {
        "declared_structure": json.dumps(
            {c.source: {"Value": ["VARCHAR"], "InlineBinary": "VARCHAR", "BulkDataURI": "VARCHAR"} for c in declared}
        ),
        "null_cells": _name_places("is_null", null_cells),
        "filled_values": _name_places("has_value", filled_values),
        "several_values": _name_places("has_several", several_values),
        "cell_counts": _name_places("n_cells", cell_counts),
        "value_counts": _name_places("n_values", value_counts),
        "lost_bits": ", ".join(bits),
        "kept_counts": ", ".join(f"cells.n_cells_{place}" for place in places),
        "sent_counts": ", ".join(f"filled.n_values_{place}" for place in places),
        "is_lost": " or ".join(
            (
                *(f"{pair} <> 0" for pair in bits),
                *(f"cells.n_cells_{place} <> filled.n_values_{place}" for place in places),
            )
        ),
        "single_attributes": _value_count_column(single),
        "list_attributes": _value_count_column(lists),
    }


def _is_encoded(column: columns.Column) -> str:
    """Whether the header has bytes in the place of the column's values."""
    return f'(tags."{column.source}".InlineBinary is not null or tags."{column.source}".BulkDataURI is not null)'


def _count_values(column: columns.Column) -> str:
    """How many values the header has that are not empty; `in` would cost several times as much as two comparisons."""
    filled = "item <> '' and item <> '{\"Alphabetic\":\"\"}'"
    return f'coalesce(len(list_filter(tags."{column.source}".Value, lambda item: {filled})), 0)'


def _value_count_column(declared: list[columns.Column]) -> str:
    return ", ".join(f"({place}, '{c.source}', '{c.name}', '{c.type}')" for place, c in enumerate(declared))


def _pack(numbers: list[str], bits: int) -> list[str]:
    """Numbers of so many bits, or conditions, packed into as few numbers as it takes of 60 bits each."""
    per_place = 60 // bits
    return [
        " + ".join(
            f"cast({number} as ubigint) * {1 << (bits * place)}"
            for place, number in enumerate(numbers[start : start + per_place])
        )
        for start in range(0, len(numbers), per_place)
    ]


def _name_places(name: str, packed: list[str]) -> str:
    return ", ".join(f"{numbers} as {name}_{place}" for place, numbers in enumerate(packed))


def _at_most_60(count: str) -> str:
    """A number of values in six bits; 60 stands for more."""
    return f"least(coalesce({count}, 0), 60)"
