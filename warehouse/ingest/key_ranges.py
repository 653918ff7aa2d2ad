"""Divides objects into ranges of keys, so that joins, groups and sorts of any number fit into a refresh's memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from warehouse.engine import sql_files

if TYPE_CHECKING:
    import duckdb

#: Objects of a range. To join or sort a hundred million took more than the 320 MB of a refresh; ten million does not.
RANGE_SIZE = 10_000_000

_SQL = "ingest/key_ranges.sql"


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The keys from `low` on and before `high`, as DuckDB compares them; without a bound where it is None."""

    low: str | None = None
    high: str | None = None

    def render(self, key: str) -> str:
        """SQL that tests whether a key is in the range; raw.objects is sorted, so that it is read in part."""
        bounds = ((">=", self.low), ("<", self.high))
        tests = [f"{key} {sign} {sql_files.literal(bound)}" for sign, bound in bounds if bound is not None]
        return " and ".join(tests) or "true"


def find_ranges(con: duckdb.DuckDBPyConnection) -> list[KeyRange]:
    """Ranges that have all keys between them, with about RANGE_SIZE objects of the lake in each."""
    return _divide(con, "of_lake")


def find_changed_ranges(con: duckdb.DuckDBPyConnection) -> list[KeyRange]:
    """The same for the objects in the temporary table `changes`."""
    return _divide(con, "of_changes")


def find_patient_ranges(con: duckdb.DuckDBPyConnection) -> list[KeyRange]:
    """Ranges of patients instead of keys, by the .dcm objects that have changed."""
    return _divide(con, "of_patients")


def _divide(con: duckdb.DuckDBPyConnection, objects: str) -> list[KeyRange]:
    sql = sql_files.read_statements(_SQL)
    count, bounds = (sql_files.fill(sql[name], objects=sql[objects]) for name in ("count", "bounds"))
    parts = -(-con.execute(count).fetchall()[0][0] // RANGE_SIZE)
    found = con.execute(bounds, {"parts": parts}).fetchall() if parts > 1 else []
    return [KeyRange(low, high) for low, high in pairwise([None, *(bound for (bound,) in found), None])]


def render_number(ranges: Sequence[KeyRange], key: str) -> str:
    """SQL for the number of the range that a key is in, from 0."""
    above = [f"cast({key} >= {sql_files.literal(one.low)} as usmallint)" for one in ranges if one.low is not None]
    return f"cast({' + '.join(above) or '0'} as usmallint)"
