"""One spelling for the names of centres and vendors, in SQL and in Python: sql/expressions/spelling.sql."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from warehouse.engine import sql_files
from warehouse.engine.connections import open_connection

_FILE = "expressions/spelling.sql"


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
            vendor_names=_render_cases(vendors),
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
