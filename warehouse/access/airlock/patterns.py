"""What in a text looks as if it identified a person; heuristics, as those of the check identifying_text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Set

_UID = re.compile(r"(?<![\d.])[0-2](?:\.(?:0|[1-9]\d*)){5,}(?![\d.])")
_TEN = re.compile(r"(?<![\d.])\d{3}[ -]?\d{3}[ -]?\d{4}(?!\.?\d)")  # a full stop may follow, a decimal may not
_WORD = re.compile(r"[\w.-]+")
#: Each kind with its expression.
_LOOKS = {
    "an e-mail address": re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+"),
    "a postcode": re.compile(r"\b[A-Z]{1,2}\d[\dA-Z]? \d[ABD-HJLNP-UW-Z]{2}\b"),
    "a telephone number": re.compile(
        r"(?<![\d.])(?:\+44|0044|\(?0)[ -]?[1-37]\d{1,4}\)?[ -]\d{3,4}[ -]?\d{2,4}(?![\d.])"
    ),
    "a date of birth": re.compile(r"(?i)\b(?:d\.?o\.?b|date of birth|birth ?date|born)\b[^0-9\n]{0,8}\d"),
    "a name": re.compile(
        r"\b(?:Mr|Mrs|Ms|Miss|Dr|Prof)\b\.? *[A-Z][a-z'’-]+|(?<![A-Za-z'’-])[A-Za-z'’-]{2,}\^[A-Za-z]"
    ),
}


class Patients(Set[str]):
    """Patients by pseudonym: those who are named, and any whom `recognises` says to be one, who cannot be listed."""

    def __init__(self, names: Set[str], recognises: Callable[[str], bool] | None = None) -> None:
        """Name those who can be named."""
        self._names, self._recognises = names, recognises

    def __contains__(self, name: object) -> bool:
        """Whether a text is the pseudonym of one."""
        return name in self._names or bool(self._recognises and isinstance(name, str) and self._recognises(name))

    def __iter__(self) -> Iterator[str]:
        """Those who are named."""
        return iter(self._names)

    def __len__(self) -> int:
        """How many are named."""
        return len(self._names)


def find_pseudonyms(text: str, patients: Set[str]) -> set[str]:
    """The pseudonyms of patients of the lake that a text names."""
    words = set(_WORD.findall(text))
    found = {word for word in words if word in patients}
    return found | {part for part in _take_apart(words - found) if part in patients}


def list_words(text: str) -> set[str]:
    """The words of a text that may be pseudonyms."""
    words = set(_WORD.findall(text))
    return words | _take_apart(words)


def _take_apart(words: Set[str]) -> set[str]:
    """The parts of words: a pseudonym inside of a key or a name of a file, training/Covid12/x.json, Covid12_frontal."""
    return {part for word in words for part in re.split(r"[_.-]", word)}


def count_uids(text: str) -> int:
    """How many different UIDs of DICOM a text has."""
    return len(set(_UID.findall(text)))


def find_looks(text: str) -> dict[str, int]:
    """How many places look like an NHS number, a name, a postcode …; kinds that are not there are left out."""
    found = {"an NHS number": sum(map(_is_nhs_number, _TEN.findall(text)))}
    found |= {kind: len(expression.findall(text)) for kind, expression in _LOOKS.items()}
    return {kind: count for kind, count in found.items() if count}


def _is_nhs_number(text: str) -> bool:
    """Whether the last of ten digits is the check digit of the others, modulus 11; ten equal digits are a filler."""
    digits = [int(character) for character in text if character.isdigit()]
    weighted = sum(digit * weight for digit, weight in zip(digits, range(10, 1, -1), strict=False))
    return len(set(digits)) > 1 and (11 - weighted % 11) % 11 == digits[9]
