"""Names that come from outside: what a label, a step, a parameter or a table may be called, and when two are the same.

A name goes into SQL as `sql_files.identifier()` quotes it; that it has nothing in it to be quoted is a second lock.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

#: As PostgreSQL cuts names, and more than a reader takes in.
MOST_CHARACTERS = 63
#: Among more than these no nearest name is looked for: it would take seconds.
_MOST_KNOWN = 1_000

_NAME = re.compile(rf"[A-Za-z_][A-Za-z0-9_]{{0,{MOST_CHARACTERS - 1}}}")
_CAPITALS = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")

#: Words that no name can be without quotes: the category `reserved` of duckdb_keywords() (a test compares the two).
RESERVED = frozenset(
    """
    all analyse analyze and any array as asc asymmetric both case cast check collate column constraint create default
    deferrable desc describe distinct do else end except false fetch for foreign from group having in initially
    intersect into lambda lateral leading limit not null offset on only or order pivot pivot_longer pivot_wider placing
    primary qualify references returning select show some summarize symmetric table then to trailing true union unique
    unpivot using variadic when where window with
    """.split()  # noqa: SIM905 - a hundred quotes add nothing
)


def fold_name(name: str) -> str:
    """A name as DuckDB compares it: two names are one where their folds are equal.

    DuckDB folds A to Z and nothing else, where Python's `lower` makes a `k` of the KELVIN SIGN as well.
    """
    return name.translate(_CAPITALS)


def check_names(names: Iterable[str], what: str) -> list[str]:
    """What is wrong with names of one kind (`what`: label, step …), a sentence each; none where all may be used.

    A name has ASCII letters, digits and `_`, no digit first, at most 63 characters, is not a reserved word of DuckDB's,
    and differs from the others in more than letter case.
    """
    return [problem for _, problem in find_wrong_names(names, what)]


def find_wrong_names(names: Iterable[str], what: str) -> list[tuple[str, str]]:
    """The same, each with the name that it is about."""
    found = []
    seen: dict[str, str] = {}
    for name in names:
        if problem := explain_name(name):
            found.append((name, f"The {what} {quote_name(name)} {problem}"))
        elif (before := seen.get(fold_name(name))) is not None:
            same = "is there twice." if before == name else f"differs from {before} in letter case alone."
            found.append((name, f"The {what} {name} {same}"))
        else:
            seen[fold_name(name)] = name
    return found


def explain_name(name: str) -> str:
    """Why a text cannot be a name, as a sentence after it; "" where it can."""
    if not name:
        return "has no letter: a name begins with a letter or _."
    if len(name) > MOST_CHARACTERS:
        return f"has {len(name):,} characters: a name has at most {MOST_CHARACTERS}."
    if not _NAME.fullmatch(name):
        return "is not a valid name: names have letters (A to Z, a to z), digits and _, and do not begin with a digit."
    if fold_name(name) in RESERVED:
        return "is a reserved word of SQL: choose another name."
    return ""


def quote_name(name: str, most: int = 40) -> str:
    """A text that may be anything, to be shown in a message: quoted, escaped, cut."""
    return ascii(name) if len(name) <= most else f"{name[:most]!a}…"


def suggest_nearest(name: str, known: Iterable[str]) -> str:
    """Return `Did you mean x?` for the nearest known name, ignoring case, or an empty string."""
    known = list(known)
    if len(name) > MOST_CHARACTERS or len(known) > _MOST_KNOWN:
        return ""
    lower = {k.lower(): k for k in known}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
    return f" Did you mean {lower[near[0]]}?" if near else ""
