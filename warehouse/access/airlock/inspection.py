"""Inspects a file that waits in the airlock: what it is, and what in it could disclose a patient.

Findings help reviewers, and replace none: a picture, an archive or a model can hold anything. They name no patient, no
value and no line of text, because they go into the log.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from lzma import LZMAError
from pathlib import Path
from typing import Any, Literal

from warehouse.access.airlock import kinds, parquet, patterns
from warehouse.access.airlock.holding import MOST_CELLS, MOST_MB
from warehouse.errors import UsageError
from warehouse.filesystem import files

Grade = Literal["fine", "look", "problem"]
_CHUNK = 1 << 20
#: What reading an archive raises where it is damaged, encrypted, or compressed by something that Python has not.
_UNREADABLE = (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, zlib.error, LZMAError)
#: From this many rows on, a table with a column of different values is probably one of rows, not of counts.
_ROWS = 25
#: Names of columns that rows have and tables of counts have not.
_KEYS = {
    "patient_id", "patientid", "pseudonym", "key", "uri", "etag", "sopinstanceuid", "seriesinstanceuid",
    "studyinstanceuid", "nhs_number", "accessionnumber",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found in a file: fine, something that a person must look at, or a problem."""

    check: str
    grade: Grade
    detail: str
    file: str = ""


@dataclass(frozen=True, slots=True)
class Inspected:
    """What was found in a file, and the pseudonyms that it names, which are shown to nobody."""

    kind: str
    findings: tuple[Finding, ...]
    patients: frozenset[str] = field(default_factory=frozenset, repr=False)


def inspect_file(path: Path, patients: Set[str], base: int) -> Inspected:
    """Inspect a file; `patients` are those of the lake. UsageError if it cannot be read, or is too large."""
    try:
        kind = kinds.find_kind(path)
        found = _read(path, kind)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from None
    texts = {found.text, found.seen}
    named = {name for text in texts for name in patterns.find_pseudonyms(text, patients)}
    findings = [
        _judge_kind(kind, is_whole=found.is_whole),
        *_judge_rows(texts, found.tables, len(named)),
        *_judge_words(texts, kind, is_whole=found.is_whole),
        *_judge_counts(found.tables, kind, base),
    ]
    return Inspected(kind, tuple(Finding(f.check, f.grade, f.detail, path.name) for f in findings), frozenset(named))


def _judge_kind(kind: str, *, is_whole: bool) -> Finding:
    if kind == "dicom":
        return Finding("file type", "problem", "A DICOM object: images leave by a manifest, not through here.")
    if kind in kinds.OPAQUE:
        return Finding("file type", "look", f"The content ({kind}) was not inspected: look at what is in it.")
    if kind in ("image", "pdf"):
        return Finding("file type", "look", f"A page or picture ({kind}), which was not read: look at it.")
    if not is_whole:
        return Finding("file type", "look", f"Not all of it could be read as {kind}: look at what is in it.")
    return Finding("file type", "fine", kind)


def _judge_rows(texts: Set[str], tables: Sequence[_Table], n_named: int) -> Iterator[Finding]:
    if n_named:
        people = "a patient" if n_named == 1 else f"{n_named:,} patients"
        yield Finding("rows of patients", "problem", f"Names {people} of the lake by pseudonym.")
    if n_uids := max(map(patterns.count_uids, texts)):
        yield Finding("rows of patients", "problem", f"Has {n_uids:,} UIDs, which name images, series or studies.")
    for table in tables:
        if keys := [name for name in table.columns if name.strip().lower() in _KEYS]:
            yield Finding("rows of patients", "problem", f"A table has the column {keys[0].strip()}.")
        elif len(table.rows) >= _ROWS and table.has_key:
            detail = f"A table has {len(table.rows):,} rows and a column in which no value occurs twice."
            yield Finding("rows of patients", "look", detail)


def _judge_words(texts: Set[str], kind: str, *, is_whole: bool) -> Iterator[Finding]:
    looks: dict[str, int] = {}
    for text in texts:
        looks |= {what: max(count, looks.get(what, 0)) for what, count in patterns.find_looks(text).items()}
    for what, count in looks.items():
        places = "one place looks" if count == 1 else f"{count:,} places look"
        yield Finding("identifying text", "problem" if what == "an NHS number" else "look", f"{places} like {what}.")
    if not looks and is_whole and kind not in kinds.OPAQUE | {"image", "pdf", "dicom"}:
        yield Finding("identifying text", "fine", "nothing looks like it")


def _judge_counts(tables: Sequence[_Table], kind: str, base: int) -> Iterator[Finding]:
    if not tables:
        if kind in ("text", "json"):
            yield Finding("small counts", "look", "It has no table that could be read: look for small numbers.")
        return
    small = [(row, name) for table in tables for row, name in table.find_small(base)]
    if not small:
        yield Finding("small counts", "fine", f"no cell of a table is from 1 to {base - 1}")
        return
    places = ", ".join(f"row {row} of {name or 'a column'}" for row, name in small[:3])
    more = f" and {len(small) - 3:,} more" if len(small) > 3 else ""
    cells = "a cell is" if len(small) == 1 else f"{len(small):,} cells are"
    yield Finding("small counts", "look", f"{cells} from 1 to {base - 1}: {places}{more}.")


@dataclass(frozen=True, slots=True)
class _Table:
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def has_key(self) -> bool:
        """Whether a column has another value in each row."""
        return any(len(set(values)) == len(self.rows) for values in zip(*self.rows, strict=False))

    def find_small(self, base: int) -> Iterator[tuple[int, str]]:
        """The cells that are counts under the base, by row and column."""
        for number, row in enumerate(self.rows, 1):
            for name, cell in zip(self.columns, row, strict=False):
                if (text := cell.strip().removesuffix(".0")).isdecimal() and 0 < int(text[:9]) < base:
                    yield number, name.strip()


@dataclass(frozen=True, slots=True)
class _Content:
    """The text of a file, the same as `spell_out` has it, and the tables; not whole if a part could not be read."""

    text: str = ""
    seen: str = ""
    tables: Sequence[_Table] = ()
    is_whole: bool = True


def _read(path: Path, kind: str) -> _Content:
    """All the text of a file that can be read, and the tables in it."""
    if kind == "parquet":
        return _read_parquet(path)
    if kind in ("xlsx", "zip"):
        return _read_members(path)
    if kind not in ("csv", "json", "text"):
        return _Content()
    with files.open_to_read(path) as file:
        content = file.read()
    text = content.decode("utf-8", errors="replace")
    tables = _read_csv(text) if kind == "csv" else _read_json(text) if kind == "json" else []
    is_whole = b"\0" not in content and len(text.encode(errors="replace")) == len(content) and "\ufffd" not in text
    seen = _spell_out(text)
    return _Content(text, seen, tables, is_whole and not _ENCODED.search(seen))


#: From the end of a run of a cell (`<t>`) of a workbook to the text of the next: a cell of two fonts is one text.
_NEXT_RUN = re.compile(r"</t></r><r>(?:<[^<>]*>)+")
#: Bytes written as text, such as a picture within a page or a notebook: nobody has read what they are.
_ENCODED = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{256}")
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|[nrtbf])")


def _spell_out(text: str) -> str:
    """A text as whoever opens the file sees it, where the file has names or numbers of characters instead."""
    seen = html.unescape(_NEXT_RUN.sub("", text))
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)) if found[1] else " ", seen)


def _read_csv(text: str) -> list[_Table]:
    first = text.partition("\n")[0]
    separator = max(",\t;", key=first.count)
    try:
        head, *rows = list(csv.reader(io.StringIO(text), delimiter=separator)) or [[]]
    except csv.Error:
        return []
    return [_Table(tuple(head), tuple(map(tuple, rows)))]


def _read_json(text: str) -> list[_Table]:
    """The lists of objects in a JSON text, at whatever depth, each as a table; none if these have too many cells."""
    found, left = list[_Table](), MOST_CELLS
    try:
        for table in _find_tables(json.loads(text)):
            found.append(table)
            left -= len(table.columns) * len(table.rows)
            if left < 0:
                return []
    except (ValueError, RecursionError):
        return []
    return found


def _find_tables(value: Any) -> Iterator[_Table]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _find_tables(inner)
        numbers = {name: str(cell) for name, cell in value.items() if isinstance(cell, int | float | str)}
        yield _Table(tuple(numbers), (tuple(numbers.values()),))
    elif isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        columns = tuple(dict.fromkeys(name for row in value for name in row))
        if len(columns) * len(value) > MOST_CELLS:  # each row may have names of its own
            raise ValueError("too many cells")
        yield _Table(columns, tuple(tuple(str(row.get(name, "")) for name in columns) for row in value))
    elif isinstance(value, list):
        for inner in value:
            yield from _find_tables(inner)


def _read_parquet(path: Path) -> _Content:
    if (table := parquet.read_table(path)) is None:
        return _Content(is_whole=False)
    try:
        columns = [[*map(str, column.to_pylist())] for column in table.columns]
    except (ValueError, OverflowError):  # texts in no UTF-8, times of no year
        return _Content(is_whole=False)
    read = _Table(tuple(table.column_names), tuple(zip(*columns, strict=True)))
    return _Content("\n".join(["\t".join(read.columns), *("\t".join(row) for row in read.rows)]), tables=[read])


#: Zeros, of which large members often have many megabytes: none of the patterns looks past nine of them, so these are
#: searched in their place. Reading all would take a second for each three megabytes.
_FEW_ZEROS = "\0" * 9
_ZEROS = re.compile(f"{_FEW_ZEROS}\0+")


def _read_members(path: Path) -> _Content:
    """The texts in an archive or workbook, as far as they can be read and are not larger than a file may be."""
    parts, left, is_whole = list[str](), MOST_MB << 20, True
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                content, can_be_read = _read_member(archive, member, left)
                left -= len(content)
                is_wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
                text = content.decode("utf-16" if is_wide else "utf-8", errors="replace")
                # A picture or another file within, or a text in an encoding of its own, was not read.
                is_whole = is_whole and can_be_read and "\0" not in text and "\ufffd" not in text
                parts.append(f"{member.filename}\n{_ZEROS.sub(_FEW_ZEROS, text)}")
    except (*_UNREADABLE, OSError):
        is_whole = False
    text = "\n".join(parts)
    return _Content(text, _spell_out(text), is_whole=is_whole)


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> tuple[bytes, bool]:
    """What can be read of a member, at most so many bytes, and whether that is all of it."""
    parts, left = list[bytes](), most
    try:
        with archive.open(member) as file:
            while left > 0 and (part := file.read(min(left, _CHUNK))):
                parts.append(part)
                left -= len(part)
            return b"".join(parts), not file.read(1)
    except _UNREADABLE:
        return b"".join(parts), False
