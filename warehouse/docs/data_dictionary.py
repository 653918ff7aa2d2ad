"""The data dictionary: the columns of tables and views, for chest describe and docs/data_dictionary.md.

`make docs` writes the page; a test fails when it is not what this module writes.
"""

from __future__ import annotations

import sys

from warehouse.catalog import columns
from warehouse.cleaning import tables
from warehouse.docs.markdown import format_table

_HEAD = """\
# Data dictionary

Made by `make docs` from the tables in `sql/columns` and `sql/cleaning`; do not edit this page. `chest describe TABLE`
shows the same, and the lake carries it in the comments of its columns.

Users query the views; each obeys the as-of date and the group. The tables behind them are named `raw.…`, `core.…`
and `ops.…`.
"""

_CLINICAL = """\
Every field of the record is read by its kind (`warehouse/cleaning`). A value outside its limits is null, outside the
usual ones kept and flagged; what was not taken plainly has a row in `clinical_issues`. `NAME_unit` is the unit that a
value is in, where centres differ.
"""

_RULES = """\
## Rules of cleaning

The values of `clinical_issues.rule`. **nulled**: the value is null. **repaired**: it was read although it did not have
the form of its field. **changed**: it differs from what was sent. **flagged**: it was kept as it is.
"""

_UNITS = """\
## Units of the centres

Where a centre's unit is known a value is converted by the factor; a unit written in the entry itself comes first.
Without a factor the value stays in its own unit, without a unit it stays as it was sent; either is flagged.
"""


def list_rows(relation: columns.Relation) -> list[dict[str, str]]:
    """Describe the columns of a table or view; clinical fields have more attributes than others."""
    has_fields = any(column.is_field for column in relation.columns)
    return [
        {
            "column": c.name,
            "type": c.type,
            "unit": c.unit,
            "source": f"({c.source[:4]},{c.source[4:]})" if c.is_dicom else c.source,
            **(_describe_field(c) if has_fields else {}),
            "meaning": c.meaning,
        }
        for c in relation.columns
    ]


def _describe_field(column: columns.Column) -> dict[str, str]:
    usual = " to ".join(filter(None, (column.usual_minimum, column.usual_maximum)))
    return {
        "kind": column.kind,
        "limits": column.limits,
        "usual": usual,
        "codes": column.categories,
        "other keys": ", ".join(column.other_keys),
        "applies to": column.applies_to,
        "event date": column.event_date,
    }


def format_rows(relation: columns.Relation) -> list[dict[str, str]]:
    """The same for a terminal: what a field has beyond the columns of the others is added to its meaning."""
    if not any(column.is_field for column in relation.columns):
        return list_rows(relation)
    return [
        {
            "column": row["column"],
            "type": "list" if row["type"].endswith("[]") else row["type"],
            "unit": row["unit"],
            "meaning": " ".join(_join_sentences(row)),
        }
        for row in list_rows(relation)
    ]


def _join_sentences(row: dict[str, str]) -> list[str]:
    parts = [row["meaning"]]
    if row["kind"] and row["kind"] != "unit":
        parts.append(f"Key: {row['source']} ({row['kind']}).")
    for name, words in (("limits", "Limits"), ("usual", "Usual"), ("codes", "Codes"), ("other keys", "Also sent as")):
        if row[name]:
            parts.append(f"{words}: {row[name]}.")
    return parts


def render_page() -> str:
    """The text of docs/data_dictionary.md."""
    known = columns.load_relations().values()
    parts = [_HEAD]
    for kind in ("view", "table"):
        parts.append(f"## {kind.capitalize()}s\n")
        listed = [{"name": f"[{r.name}](#{_anchor(r.name)})", "meaning": r.meaning} for r in known if r.kind == kind]
        parts.append(_render_table(listed))
    described: set[tuple[columns.Column, ...]] = set()
    for relation in known:
        same = [f"`{r.name}`" for r in known if r.columns == relation.columns and r is not relation]
        parts.append(f"## {relation.name}\n\n{relation.meaning}\n")
        if relation.columns in described:
            parts.append(f"Its columns are those of {', '.join(same)}.\n")
            continue
        described.add(relation.columns)
        if any(column.is_field for column in relation.columns):
            parts.append(_CLINICAL)
        if like := next((r for r in known if r is not relation and _is_much_like(relation, r, described)), None):
            own = [row for row, c in zip(list_rows(relation), relation.columns, strict=True) if c not in like.columns]
            lacking = ", ".join(f"`{c.name}`" for c in like.columns if c not in relation.columns)
            parts.append(f"Its columns are those of `{like.name}`{f' without {lacking}' if lacking else ''}, and:\n")
            parts.append(_render_table(own))
            continue
        parts.append(_render_table([_fold_rare_columns(row) for row in list_rows(relation)]))
    retired = [column for column in columns.list_record_columns() if not column.type]
    parts.append("## Fields that are no longer used\n\nTheir values are in `raw.records` alone.\n")
    parts.append(_render_table([{"key": c.source, "meaning": c.meaning} for c in retired]))
    parts += [_RULES, _render_table(tables.read_rows("rules")), _UNITS, _render_table(tables.read_rows("site_units"))]
    return "\n".join(parts)


def _is_much_like(
    relation: columns.Relation, other: columns.Relation, described: set[tuple[columns.Column, ...]]
) -> bool:
    """Whether a relation has nearly all columns of another that is already on the page, and some of its own."""
    if other.columns not in described or other.columns == relation.columns:
        return False
    own = [column for column in relation.columns if column not in other.columns]
    return len(own) > 0 and 10 * len(own) < len(relation.columns)


def _fold_rare_columns(row: dict[str, str]) -> dict[str, str]:
    """A field's line for the page: rare columns are added to its meaning."""
    if "kind" not in row:
        return row
    parts = _join_sentences({**row, "kind": "", "limits": ""})
    if row["event date"] not in ("", "always", row["column"]):
        parts.append(f"Happened on: {row['event date']}.")
    names = ("column", "type", "unit", "source", "kind", "limits", "applies to")
    return {**{name: row[name] for name in names}, "meaning": " ".join(parts)}


def _anchor(name: str) -> str:
    return name.replace(".", "")


def _render_table(listed: list[dict[str, str]]) -> str:
    heads = [name.replace("_", " ") for name in listed[0]]
    return format_table(heads, (row.values() for row in listed)) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render_page())
