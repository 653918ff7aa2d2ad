"""The layout of a source: how its keys name group, patient, study, series, image and date, and what is read of it.

    standard        both layouts of keys.py; the headers are the .json objects
    standard+dcm    the same, and the header of a .dcm without readable .json is read from the .dcm itself
    any             keys name nothing: every DICOM file is read, and its header names the patient
    {patient}/{date}/{study}/{*}/{image}.dcm
                    a template: each name in braces stands for one segment of the key or a part of one; {*} is anything
                    within a segment, {**} anything at all
    (?P<patient>[^_/]+)_(?P<study>[^/]+)/.*
                    the same as a regular expression that fits the whole key

A pattern is the only definition of its layout, as those of keys.py are: DuckDB's RE2 parses tens of millions of keys by
it (sql/ingest/layouts.sql), and `parse_key` does the same in Python, which a property test compares.

Groups: a key is in the group that its pattern names. If it names none, it is in `validation`, which is held back, if
one of its folders is named like a held-back set; otherwise in the group chosen for the source (`--group`); otherwise in
`validation` if the source's own address has such a folder, and in `training`, which is open, if not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from warehouse.engine.placeholders import refuse_placeholders
from warehouse.errors import UsageError

STANDARD, WITH_DCM, ANY = "standard", "standard+dcm", "any"
#: What a pattern may name.
NAMES = ("group", "patient", "date", "study", "series", "image")
#: Folders with these names hold data back, whatever their letter case.
HELD_BACK = "(?i)(?:validation|val|hold[-_ ]?out|held[-_ ]?(?:out|back))(?:[-_ ]?(?:set|data))?"

#: Files whose names say that they are DICOM, or that say nothing: the last part of a UID is a number.
_IS_CANDIDATE = r"(?is)(?:.*/)?(?:[^./]+|[^./][^/]*\.(?:dcm|dicom|dic|ima|[0-9]+))"
#: Extensions of archives, whose members are not objects.
_ARCHIVE = r"(?is).*\.(?:zip|tar|tgz|tbz2?|txz|gz|bz2|xz|zst|7z|rar|dmg|iso)"
#: Names that are no images, in a layout without extensions.
_NO_IMAGES = r"(?is)(?:.*/)?(?:DICOMDIR|\..*|[^/]*\.(?:json|jsonl))"

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8}"
_EXTENSION = r"(?i)\.(?:dcm|dicom|dic|ima)$"


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A parsed key of a layout with a pattern, or `any`; "" for what the key does not name. `is_image`: it is read."""

    is_image: bool
    is_archive: bool = False
    group_name: str = ""
    patient_id: str = ""
    available_date: date | None = None
    has_date: bool = False
    study_id: str = ""
    series_id: str = ""
    image_id: str = ""


@dataclass(frozen=True)
class Layout:
    """A layout as the user gave it, and the group of keys that name none ("" for the rule above)."""

    text: str = STANDARD
    group: str = ""

    @property
    def is_standard(self) -> bool:
        """Whether keys are those of keys.py."""
        return self.text in (STANDARD, WITH_DCM)

    @property
    def reads_dcm(self) -> bool:
        """Whether headers are read from .dcm objects."""
        return self.text != STANDARD

    @cached_property
    def pattern(self) -> str:
        """The regular expression of the layout, for a full match."""
        if self.text == ANY:
            return _IS_CANDIDATE
        return self.text if "(?P<" in self.text else _compile_template(self.text)

    @cached_property
    def groups(self) -> dict[str, int]:
        """The named groups of the pattern, with their numbers."""
        return dict(re.compile(self.pattern).groupindex)

    def describe(self) -> str:
        """The layout in words, for messages."""
        return f"{self.text!r}{f' in group {self.group!r}' if self.group else ''}"

    def find_group(self, source: str) -> str:
        """The group of keys of this source that name none and are in no folder of a held-back set."""
        held = any(re.fullmatch(HELD_BACK, segment) for segment in source.split("/"))
        return self.group or ("validation" if held else "training")

    def find_patient(self, key: str) -> str:
        """The patient that the pattern finds in a key; "" if it finds none."""
        match = re.fullmatch(self.pattern, key)
        return (match.groupdict().get("patient") or "").strip(" ") if match else ""

    def list_prefixes(self, patient: str) -> list[str]:
        """Prefixes of all keys that name a patient; of keys of other patients too, such as P10 beside P1.

        Only a template that begins with the patient, or with fixed text and the patient, needs less than all of the
        keys with that text. In a key there may be spaces before the patient.
        """
        if "(?P<" in self.text:
            return [""]
        first = _PLACEHOLDER.search(self.text)
        start = self.text[: first.start()] if first else self.text
        return [f"{start}{patient}", f"{start} "] if first and first[1] == "patient" else [start]

    def parse_key(self, key: str, source: str = "") -> FoundKey:
        """Parse a key; not for the standard layouts."""
        if re.fullmatch(_ARCHIVE, key):
            return FoundKey(is_image=False, is_archive=True)
        match = re.fullmatch(self.pattern, key)
        if not match or re.fullmatch(_NO_IMAGES, key) or key.endswith("/"):
            return FoundKey(is_image=False)
        found = {name: match.groupdict().get(name) or "" for name in NAMES}
        folders = key.split("/")[:-1]
        held = any(re.fullmatch(HELD_BACK, folder) for folder in folders)
        return FoundKey(
            is_image=True,
            group_name=found["group"] or ("validation" if held else self.find_group(source)),
            patient_id=found["patient"].strip(" "),
            available_date=_parse_date(found["date"]),
            has_date=bool(found["date"]),
            study_id=found["study"],
            series_id=found["series"],
            image_id=found["image"] or re.sub(_EXTENSION, "", key.rpartition("/")[2]),
        )


#: The patterns that every layout shares, as parameters of sql/ingest/layouts.sql.
PATTERNS = {"archive": _ARCHIVE, "no_images": _NO_IMAGES, "held_back": HELD_BACK, "extension": _EXTENSION}


def parse_layout(text: str, group: str = "") -> Layout:
    """Check a layout that a user gave ("" is standard); UsageError if it is none, or if its pattern is not valid."""
    refuse_placeholders("The layout", text)
    refuse_placeholders("The group of a layout", group)
    if group and ("/" in group or not group.isprintable() or group.strip() != group):
        raise UsageError("The group of a layout is a name, such as training or validation, without slashes.")
    layout = Layout(text.strip() or STANDARD, group)
    if layout.is_standard or layout.text == ANY:
        if layout.is_standard and group:
            raise UsageError("A group may be given only where keys name none: with --layout any or a pattern.")
        return layout
    if "{" not in text and "(?P<" not in text:
        raise UsageError(
            f"{text!r} is not a layout. Give standard, standard+dcm, any, or a pattern with names, such as "
            "'{patient}/{study}/{image}.dcm'."
        )
    _check_pattern(layout)
    return layout


def _check_pattern(layout: Layout) -> None:
    import duckdb

    try:
        names = [*layout.groups]
        duckdb.execute("select regexp_matches('', $1)", [layout.pattern]).fetchall()
    except (re.error, duckdb.Error) as error:
        words = " ".join(str(error).split())
        raise UsageError(f"The pattern {layout.text!r} is not valid: {words[:200]}") from None
    if unknown := [name for name in names if name not in NAMES]:
        raise UsageError(
            f"The pattern {layout.text!r} names {', '.join(unknown)}; it may name {', '.join(NAMES)}. "
            "For anything else there is {*}, and {**} across folders."
        )
    if not names:
        raise UsageError(f"The pattern {layout.text!r} names nothing. Name at least {{patient}}, or give --layout any.")


def _compile_template(text: str) -> str:
    """The regular expression of a template."""
    parts: list[str] = []
    end, seen = 0, set()
    for match in _PLACEHOLDER.finditer(text):
        parts.append(re.escape(text[end : match.start()]))
        end, name = match.end(), match[1]
        if name in ("*", "**"):
            parts.append("[^/]*" if name == "*" else "(?s:.*)")
        elif not re.fullmatch("[a-z_]+", name) or name in seen:
            raise UsageError(f"The pattern {text!r} has {{{name}}}, which is not a name, or is there twice.")
        else:
            seen.add(name)
            parts.append(f"(?P<{name}>{_DATE if name == 'date' else '[^/]+'})")
    return "".join([*parts, re.escape(text[end:])])


def _parse_date(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if re.fullmatch(_DATE, text) else None
    except ValueError:
        return None
