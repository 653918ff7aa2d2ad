"""The layout of a download folder: the path of each object, by its key, in one folder, or by a template.

    {patient_id}/{Modality}/{SeriesInstanceUID}/{InstanceNumber:04}.dcm

A template has columns of the manifest in braces, and nothing else: no expression, attribute or index. An integer may be
padded with zeros (`:04`). The ending is that of the object: .dcm, or .json for its header. Clinical files, which have
no study, go to a folder `clinical` below the leading folders that have the columns of a patient only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse.engine import sql_files
from warehouse.engine.names import suggest_nearest
from warehouse.errors import UsageError
from warehouse.manifests import paths
from warehouse.manifests.document import escape_for_message

if TYPE_CHECKING:
    import duckdb

#: Each object under its key, and all in one folder: the layouts that are no templates.
KEYS, FLAT = "keys", "flat"

_FIELD = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")
_PADDING = re.compile(r"0([1-9]|1[0-9])")
_INTEGER = re.compile(r"U?(TINYINT|SMALLINT|INTEGER)|BIGINT")
_MOST_CHARACTERS = 500
#: The columns that a clinical file has, and that are the same for all files of a patient.
_OF_PATIENTS = {"patient_id", "group_name"}
_EXAMPLE = "Example:  --layout '{patient_id}/{SeriesInstanceUID}/{SOPInstanceUID}.dcm'"
_SQL = "manifests/layouts.sql"
_EXPRESSIONS = "expressions/paths.sql"


@dataclass(frozen=True, slots=True)
class Field:
    """A column of the manifest in a template; `width` is that of a number padded with zeros, 0 for none."""

    column: str
    width: int = 0


#: A part of a path between two slashes: texts and fields.
Segment = tuple[str | Field, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout as it was given; `segments` are those of a template, without its ending."""

    text: str
    segments: tuple[Segment, ...] = ()

    @property
    def is_by_key(self) -> bool:
        """Whether each object is under its key."""
        return self.text == KEYS

    def describe_path(self, types: dict[str, str], rows: str) -> str:
        """The query for the objects with their paths in column `laid`; UsageError for a column that there is not.

        `types` has the columns of `rows`, which is SQL for FROM.
        """
        sql = sql_files.read_statements(_SQL)
        ending = sql_files.read_expression(_EXPRESSIONS, "ending")
        patient = _render_field(Field("patient_id"))
        if self.text == FLAT:
            stem = _render_field(Field("SOPInstanceUID"))
            return sql_files.fill(
                sql["laid_flat"],
                rows=rows,
                stem=stem,
                patient=patient,
                ending=ending,
                flat_clinical=sql_files.read_expression(_EXPRESSIONS, "flat_clinical"),
                flat_doubled=sql_files.fill(sql_files.read_expression(_EXPRESSIONS, "flat_doubled"), ending=ending),
            )
        resolved = [tuple(self._resolve(part, types) for part in segment) for segment in self.segments]
        of_patient: list[Segment] = []
        for segment in resolved[:-1]:
            if any(isinstance(part, Field) and part.column not in _OF_PATIENTS for part in segment):
                break
            of_patient.append(segment)
        name = sql_files.fill(sql_files.read_expression(_EXPRESSIONS, "name_of_clinical"), patient=patient)
        clinical = "".join(f"{_render_segment(segment)} || '/' || " for segment in of_patient) + name
        image = " || '/' || ".join(_render_segment(segment) for segment in resolved)
        path = sql_files.fill(
            sql_files.read_expression(_EXPRESSIONS, "by_template"), clinical=clinical, image=image, ending=ending
        )
        return sql_files.fill(sql["laid"], rows=rows, path=path)

    def _resolve(self, part: str | Field, types: dict[str, str]) -> str | Field:
        """The field with its column as the manifest spells it."""
        if isinstance(part, str):
            return part
        spelt = {name.lower(): name for name in types}.get(part.column.lower())
        if spelt is None:
            near = suggest_nearest(part.column, types)
            raise UsageError(
                f"--layout: the manifest has no column {escape_for_message(part.column)}.{near} It has "
                f"{', '.join(types)}. Another column of view images comes in with  chest manifest export --columns NAME"
            )
        if part.width and not _INTEGER.fullmatch(types[spelt]):
            raise UsageError(
                f"--layout: {spelt} is {types[spelt]}, and only whole numbers are padded. Write {{{spelt}}}."
            )
        return Field(spelt, part.width)


def parse_layout(text: str) -> Layout:
    """Parse `keys`, `flat` or a template; UsageError states what is wrong with it."""
    if text in (KEYS, FLAT):
        return Layout(text)
    if len(text) > _MOST_CHARACTERS:
        raise UsageError(f"--layout has more than {_MOST_CHARACTERS} characters. Shorten it.")
    shown = escape_for_message(text)
    if not _FIELD.search(text):
        raise UsageError(f"--layout {shown} is neither keys nor flat, nor does it have a column in braces. {_EXAMPLE}")
    if not text.isprintable() or not paths.is_safe(_FIELD.sub("x", text)) or _FIELD.sub("", text).count("\\"):
        raise UsageError(f"--layout {shown} would lead out of the folder, or has an empty part. {_EXAMPLE}")
    stem = re.sub(r"\.(dcm|json)$", "", text, flags=re.IGNORECASE)
    segments = tuple(_parse_segment(segment, shown) for segment in stem.split("/"))
    if not segments[-1]:
        raise UsageError(f"--layout {shown} has no name for the files. {_EXAMPLE}")
    return Layout(text, segments)


def _parse_segment(text: str, shown: str) -> Segment:
    parts: list[str | Field] = []
    end = 0
    for found in _FIELD.finditer(text):
        parts += [text[end : found.start()], _parse_field(found[1], found[2], shown)]
        end = found.end()
    parts.append(text[end:])
    if any("{" in part or "}" in part for part in parts if isinstance(part, str)):
        raise UsageError(f"--layout {shown} has a brace that does not belong to a column. {_EXAMPLE}")
    return tuple(part for part in parts if part)


def _parse_field(column: str, padding: str | None, shown: str) -> Field:
    if padding is None:
        return Field(column)
    if not _PADDING.fullmatch(padding):
        raise UsageError(
            f"--layout {shown}: {{{column}:{padding}}} is not understood. A whole number may be padded with zeros, up "
            f"to 19 digits: {{{column}:04}}. Nothing else may follow the colon."
        )
    return Field(column, int(padding))


def _render_segment(segment: Segment) -> str:
    return " || ".join(_render_field(part) if isinstance(part, Field) else sql_files.literal(part) for part in segment)


def _render_field(field: Field) -> str:
    column = sql_files.identifier(field.column)
    text = sql_files.read_expression(_EXPRESSIONS, "padded" if field.width else "whole")
    filled = sql_files.fill(text, column=column, width=str(field.width))
    return sql_files.fill(sql_files.read_expression(_EXPRESSIONS, "piece"), text=filled)


def read_types(con: duckdb.DuckDBPyConnection, rows: str) -> dict[str, str]:
    """The columns of a manifest's rows, with their types."""
    sql = sql_files.read_statements("manifests/check.sql")["columns"]
    return {str(name): str(kind) for name, kind in con.execute(sql_files.fill(sql, rows=rows)).fetchall()}


def require_paths(con: duckdb.DuckDBPyConnection, layout: Layout, refused: dict[str, str]) -> None:
    """UsageError with examples if a layout gives objects a path that they cannot have; table `targets` has them all."""
    if not refused:
        return
    sql = sql_files.read_statements(_SQL)
    shown = escape_for_message(layout.text)
    if any(reason == paths.SHARED for reason in refused.values()):
        found = con.execute(sql["examples"]).fetchall()
        examples = _join((path, f"{objects:,} objects, such as {' and '.join(keys)}") for path, objects, keys in found)
        raise UsageError(
            f"--layout {shown} gives several objects one path: {examples}. Add a column in which they differ, such as "
            "{SOPInstanceUID} or {key}. Nothing was fetched."
        )
    reason = next(iter(refused.values()))
    uris = [uri for uri, why in refused.items() if why == reason]
    found = con.execute(sql["paths"], {"uris": uris[:1000]}).fetchall()
    examples = _join((path, key) for key, path in found)
    raise UsageError(
        f"--layout {shown} gives a path to {len(uris):,} objects that {reason}: {examples}. Choose other columns. "
        "Nothing was fetched."
    )


def _join(examples: Iterable[tuple[str, str]]) -> str:
    shorten: Callable[[str], str] = escape_for_message
    return "; ".join(f"{shorten(path)} ({shorten(words)})" for path, words in examples)
