"""Texts that name a purged patient beside their own rows: how they are found, and what is put in their place."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from warehouse.access.naming import is_distinctive
from warehouse.access.vocabulary import REPLACEMENT


@dataclass(frozen=True, slots=True)
class Patterns:
    """Regular expressions (RE2) for the pseudonyms: as a word in any text if they are distinctive, else in quotes."""

    distinctive: tuple[str, ...]
    short: tuple[str, ...]

    @classmethod
    def of(cls, names: Iterable[str]) -> Patterns:
        """The patterns of pseudonyms."""
        found = sorted(names)
        distinct = tuple(name for name in found if is_distinctive(name))
        return cls(distinct, tuple(name for name in found if name not in distinct))

    @property
    def words(self) -> str:
        """A pseudonym as a word in a text; groups 1 and 2 are what surrounds it. "" without a distinctive one."""
        return f"(^|[^0-9A-Za-z])(?:{_join(self.distinctive)})([^0-9A-Za-z]|$)" if self.distinctive else ""

    @property
    def anywhere(self) -> str:
        """The same, and short pseudonyms as a whole value in quotes; for tables that are not of patients."""
        quoted = f"""(["'])(?:{_join(self.short)})(["'])""" if self.short else ""
        return "|".join(filter(None, (self.words, quoted)))

    def redact(self, text: str) -> str:
        """A text without the pseudonyms."""
        for name in (*self.distinctive, *self.short):
            edge = "[0-9A-Za-z]"
            exact = re.escape(name)
            pattern = f"(?<!{edge}){exact}(?!{edge})" if is_distinctive(name) else f"""(?<=["']){exact}(?=["'])"""
            text = re.sub(pattern, REPLACEMENT, text)
        return text

    def find(self, text: str) -> bool:
        """Whether a text names one of them."""
        return self.redact(text) != text


def _join(names: Iterable[str]) -> str:
    return "|".join(re.escape(name) for name in names)
