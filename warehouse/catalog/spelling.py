"""One spelling for the names of centres and vendors, in SQL and in Python: sql/expressions/spelling.sql."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache

from warehouse.engine import sql_files
from warehouse.engine.connections import open_connection

_FILE = "expressions/spelling.sql"
#: What the statement `text` of that file replaces: apostrophes and dashes, and white space.
_PLAIN_SIGNS = {**dict.fromkeys(map(ord, "‘’ʼ′`"), "'"), **dict.fromkeys(map(ord, "‐‑‒–—−"), "-")}
_WHITE = re.compile(r"[\s\x00\x0b\x1c-\x1f\x85]+")
_GOES_ON = re.compile("[a-z0-9]")


@cache
def template_values() -> dict[str, str]:
    """What templates ask for: `spelt_Manufacturer`, `vendor_of_spelt_maker`, `centre_of_centre_name`."""
    vendors = sql_files.read_mapping("vendor_starts")
    of_centre = _normalize_spelling("centre_name")
    return {
        "spelt_Manufacturer": _normalize_spelling("Manufacturer"),
        "vendor_of_spelt_maker": sql_files.fill(
            sql_files.read_expression(_FILE, "vendor"),
            spelt="spelt_maker",
            vendor_starts="|".join(sorted(vendors, key=lambda start: (-len(start), start))),
            vendor_names=", ".join(f"{sql_files.literal(a)}: {sql_files.literal(b)}" for a, b in vendors.items()),
        ),
        "centre_of_centre_name": sql_files.fill(
            sql_files.read_expression(_FILE, "centre"),
            text=of_centre,
            centre_aliases=_render_cases(sql_files.read_mapping("centre")),
        ),
    }


def _normalize_spelling(name: str) -> str:
    return sql_files.fill(sql_files.read_expression(_FILE, "text"), name=name)


def _render_cases(spellings: dict[str, str]) -> str:
    return " ".join(f"when {sql_files.literal(a)} then {sql_files.literal(b)}" for a, b in spellings.items())


@lru_cache(10_000)
def fold_origin(name: str) -> str:
    """The name of a centre or vendor as in the columns `centre` and `vendor`, to put it in order; others in lower case.

    In Python, because it is asked for each level of each table. A test compares it with DuckDB.
    """
    text = unicodedata.normalize("NFC", name).lower()
    text = "".join(sign for sign in text if unicodedata.category(sign) != "Cf").translate(_PLAIN_SIGNS)
    text = _WHITE.sub(" ", text).strip(" ")
    text = sql_files.read_mapping("centre").get(text, text)
    vendors = sql_files.read_mapping("vendor_starts")
    known = sorted(vendors, key=lambda start: (-len(start), start))
    found = (start for start in known if text.startswith(start) and not _GOES_ON.match(text, len(start)))
    return vendors.get(next(found, ""), text)


def fold_centres(names: Iterable[str]) -> dict[str, str | None]:
    """Each name of a centre and its spelling in the column `centre`; None where a name has no letter.

    Asked of DuckDB, so that Python and SQL cannot differ. A NUL, which SQL texts cannot hold, is white space.
    """

    given = sorted(set(names))
    listed = ", ".join(sql_files.literal(name.replace("\0", " ")) for name in given)
    with open_connection({"threads": 1, "memory_limit": "100MB"}) as con:
        con.execute(sql_files.fill(sql_files.read("macros/fold_centre.sql"), **template_values()))
        spelt = con.execute(f"select fold_centre(unnest([{listed}]::varchar[]))").fetchall()
    return dict(zip(given, (name for (name,) in spelt), strict=True))
