"""The centres that a split holds out: found by the names that a user gives, in any spelling."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from warehouse.engine import sql_files
from warehouse.errors import UsageError

if TYPE_CHECKING:
    import duckdb

#: The most centres that an error suggests, and what is not compared because it would take too long.
_MOST, _MOST_CHARACTERS, _MOST_CENTRES = 3, 200, 1000
#: How alike two words are at least, one of which may be a slip of the other (difflib's ratio).
_ALIKE = 0.8


def spell_centres(con: duckdb.DuckDBPyConnection, names: tuple[str, ...]) -> set[str]:
    """Spell the centres as the column `centre` does; UsageError, with the nearest ones, for one that no record has."""
    if not names:
        return set()
    sql = sql_files.read_statements("reports/split.sql")
    known = [centre for (centre,) in con.execute(sql["centres"]).fetchall()]
    found = con.execute(sql["spelt"], {"names": list(names)}).fetchall()
    for given, centre in found:
        if centre not in known:
            near = " or ".join(map(repr, find_nearest_centres(centre or "", known)))
            raise UsageError(
                f"The centre to hold out, {given!r}, has no clinical file.{f' Did you mean {near}?' if near else ''} "
                'List the centres:  chest sql "select distinct centre from clinical_history"'
            )
    return {centre for _, centre in found}


def find_nearest_centres(given: str, known: Sequence[str]) -> list[str]:
    """Find the centres whose names have all words of a partial or misspelt name, or else the most of them.

    None where that is true of more than a few, which have only words such as *hospitals* or *trust* in common.
    """
    asked = given.split()
    if not asked or len(given) > _MOST_CHARACTERS or len(known) > _MOST_CENTRES:
        return []
    shared = {centre: _count_words(asked, centre.split()) for centre in known}
    most = max(shared.values(), default=0)
    near = [centre for centre, n in shared.items() if n and n == most]
    return near if len(near) <= _MOST else []


def _count_words(asked: Sequence[str], words: Sequence[str]) -> int:
    return sum(
        any(word in other for other in words) or bool(difflib.get_close_matches(word, words, n=1, cutoff=_ALIKE))
        for word in asked
    )
