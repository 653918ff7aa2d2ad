"""Forms: the fields of each step, read from what somebody filled in, and written as an empty form with explanations.

A form is a YAML file with the fields as keys. What is wrong is one line that names the field and what is allowed.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from warehouse.access.kinds import Read
from warehouse.engine.names import quote_name, suggest_nearest
from warehouse.errors import UsageError

_WIDTH = 78


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a form: how it is read (kinds.py), what it means, and what it is if it is left empty (None: required).

    `section` is a heading above it.
    """

    name: str
    read: Read
    meaning: str
    default: Any = None
    is_list: bool = False
    is_long: bool = False
    section: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """A form of a step: its name (`request`), a sentence for its reader, and its fields."""

    name: str
    about: str
    fields: tuple[Field, ...] = field(default=())

    def parse(self, given: Mapping[str, Any], *, partly: bool = False) -> dict[str, Any]:
        """Return the values of all fields, in their order; UsageError names the first that is wrong, and how many are.

        A field that is left empty has its default. `partly` returns only what was given.
        """
        problems = [*self._find_unknown(given)]
        values: dict[str, Any] = {}
        for one in self.fields:
            raw = given.get(one.name)
            if _is_empty(raw):
                if partly:
                    continue
                if one.default is None:
                    problems.append(f"{one.name} is empty: {one.meaning.split('. ')[0].rstrip('.')}.")
                values[one.name] = one.default
                continue
            try:
                if isinstance(raw, dict) or (isinstance(raw, list) and not one.is_list):
                    raise ValueError(f"is not a {'list' if one.is_list else 'single value'}.")
                values[one.name] = one.read(_drop_empty(raw))
            except ValueError as error:
                problems.append(f"{one.name} {error}")
        if problems:
            raise UsageError(f"The {self.name} is not valid: {problems[0]}{_count_rest(problems)}")
        return values

    def render(self, values: Mapping[str, Any] | None = None) -> str:
        """Render the form as YAML with explanations: empty, or filled in with values."""
        lines = [
            *_comment(self.about),
            *_comment("Text after # is explanation. Fields marked optional may stay empty."),
        ]
        for one in self.fields:
            if one.section:
                lines += ["", *_comment(f"--- {one.section} ---")]
            optional = "" if one.default is None else "Optional. "
            lines += ["", *_comment(f"{optional}{one.meaning}"), *_render_value(one, (values or {}).get(one.name))]
        return "\n".join(lines) + "\n"

    def _find_unknown(self, given: Mapping[str, Any]) -> Iterable[str]:
        known = [one.name for one in self.fields]
        for name in given:
            if name not in known:
                near = suggest_nearest(str(name), known)
                yield f"it has no field {quote_name(str(name))}.{near} The fields are {', '.join(known)}."


def _is_empty(raw: Any) -> bool:
    if isinstance(raw, list):
        return all(_is_empty(each) for each in raw)
    return raw is None or (isinstance(raw, str) and raw.strip() in ("", "~", "null"))


def _drop_empty(raw: Any) -> Any:
    """A list without the lines that were left empty."""
    return [each for each in raw if not _is_empty(each)] if isinstance(raw, list) else raw


def _count_rest(problems: list[str]) -> str:
    rest = len(problems) - 1
    return f" ({rest} more {'field is' if rest == 1 else 'fields are'} wrong or empty.)" if rest else ""


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH - 2, break_long_words=False, break_on_hyphens=False)]


def _render_value(one: Field, value: Any) -> list[str]:
    from warehouse.access.yaml_files import render_yaml

    if value not in (None, "", []):
        return render_yaml({one.name: value}).rstrip("\n").split("\n")
    if one.is_list:
        return [f"{one.name}:", "  -"]
    return [f"{one.name}: |", "  "] if one.is_long else [f"{one.name}:"]
