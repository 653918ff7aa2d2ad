"""Removes the rows of withdrawn patients from the newest state of a lake, and counts the objects that remain theirs.

Older snapshots keep the rows, which readers do not see, until maintenance expires them or a purge removes them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_dicts, fetch_first
from warehouse.lake import store
from warehouse.withdrawal import matching, rows, standing_list
from warehouse.withdrawal.digests import Key, open_key

if TYPE_CHECKING:
    import duckdb

    from warehouse.lake.location import Location

_SQL = "withdrawal/removal.sql"


@dataclass(frozen=True, slots=True)
class Withheld:
    """Objects of a withdrawn patient in a bucket: of a kind, or one that only its content gives away (`object`)."""

    source: str
    kind: str
    digest: str
    object: str | None
    n_objects: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Excluded:
    """Whose data must not be loaded: the digests, the key that recognises them, and the version of the list."""

    key: Key
    digests: set[str]
    version: int


def read_excluded(
    con: duckdb.DuckDBPyConnection, place: Location, history: Sequence[store.Snapshot] = ()
) -> Excluded | None:
    """Who is excluded now; None if there never was a list. `history` is that of the lake, if it was just read."""
    version = standing_list.find_version(history or store.list_snapshots(con))
    if not version:
        return None
    digests, checks = standing_list.list_excluded(con)
    return Excluded(open_key(con, place, checks), digests, version)


def remove_withdrawn(
    con: duckdb.DuckDBPyConnection,
    place: Location,
    commit: Callable[[Callable[[], None], int, int], object],
    *,
    has_new: bool = False,
    history: Sequence[store.Snapshot] = (),
) -> int:
    """Remove the rows of excluded patients by one commit, if there are any; returns how many objects were theirs.

    `commit` gets the work, the version of the list and the number of objects. Without `has_new`, nothing is searched
    if the rows were removed before and the list has not changed since. `history` as in `read_excluded`.
    """
    history = history or store.list_snapshots(con)
    if not has_new and standing_list.is_applied(history, history[-1].number):
        return 0
    if not (excluded := read_excluded(con, place, history)):
        return 0
    names = excluded.key.find_patients(matching.list_names(con), excluded.digests)
    if not names:
        return 0
    found = find_live(con, excluded.key, names)
    n_objects = sum(one.n_objects for one in found)

    def work() -> None:
        for table in rows.list_patient_tables():
            con.execute(sql_files.fill(_read("delete"), table=f"{store.ALIAS}.{table}"))
        add_withheld(con, found)

    commit(work, excluded.version, n_objects)
    return n_objects


def find_live(con: duckdb.DuckDBPyConnection, key: Key, names: dict[str, str]) -> list[Withheld]:
    """The live objects of patients (pseudonym to digest) in the newest state, counted; as tables for `delete` too."""
    import pyarrow as pa

    con.register("names_given", pa.table({"name": list(names), "digest": list(names.values())}))
    con.execute("create or replace temp table withdrawn_names as from names_given")
    con.unregister("names_given")
    con.execute(_read("objects"))
    con.execute(_read("doomed"))
    sums: Counter[tuple[str, str, str, str | None]] = Counter()
    counts: Counter[tuple[str, str, str, str | None]] = Counter()
    for source, name, kind, size, digest, is_by_content in con.execute(_read("live")).fetchall():
        place = (source, kind, digest, key.digest_object(source, name) if is_by_content else None)
        counts[place] += 1
        sums[place] += size
    return [Withheld(*place, n_objects=n, bytes=sums[place]) for place, n in counts.items()]


def find_strays(con: duckdb.DuckDBPyConnection, key: Key, digests: set[str]) -> set[str]:
    """The digests of objects of excluded patients that only their content gives away: those that are recorded, and
    those that the newest state of an attached lake still has."""
    found = {one.object for one in read_all_withheld(con) if one.object and one.digest in digests}
    history = store.list_snapshots(con)
    if not standing_list.is_applied(history, history[-1].number):
        names = key.find_patients(matching.list_names(con), digests)
        found |= {one.object for one in find_live(con, key, names) if one.object} if names else set()
    return found


def record_live(con: duckdb.DuckDBPyConnection, key: Key, digests: set[str]) -> None:
    """Record how many live objects these patients have, before their rows are purged; by a commit of the list."""
    names = key.find_patients(matching.list_names(con), digests)
    if names and (found := find_live(con, key, names)):
        version = standing_list.find_version(store.list_snapshots(con))
        store.transact(con, "objects of purged patients", lambda: add_withheld(con, found), withdrawals=version)


def read_all_withheld(con: duckdb.DuckDBPyConnection) -> list[Withheld]:
    """What is recorded of all sources, at the newest state."""
    return [Withheld(**row) for row in fetch_dicts(con.execute(_read("all")))]


def read_withheld(con: duckdb.DuckDBPyConnection, source: str) -> set[Withheld]:
    """What is recorded of a source."""
    return {Withheld(**row) for row in fetch_dicts(con.execute(_read("known"), {"source": source}))}


def add_withheld(con: duckdb.DuckDBPyConnection, found: Iterable[Withheld]) -> None:
    """Record objects that were loaded until now; within a transaction."""
    _register(con, found)
    con.execute(_read("add"))
    con.unregister("withheld_found")


def replace_withheld(con: duckdb.DuckDBPyConnection, source: str, found: Iterable[Withheld]) -> None:
    """Record the objects of a source as it was listed now; within a transaction."""
    _register(con, found)
    con.execute(_read("forget_others"), {"source": source})
    con.execute(_read("add"))
    con.unregister("withheld_found")


def count_withheld(con: duckdb.DuckDBPyConnection) -> int:
    """How many objects of withdrawn patients the buckets have, at the newest state whatever snapshot is pinned."""
    history = store.list_snapshots(con)
    if not standing_list.find_version(history):
        return 0
    query = sql_files.fill(_read("count"), version=str(history[-1].number))
    row = fetch_first(con.execute(query))
    return int(row[0]) if row else 0


def _register(con: duckdb.DuckDBPyConnection, found: Iterable[Withheld]) -> None:
    import pyarrow as pa

    schema = pa.schema(
        [(name, pa.string()) for name in ("source", "kind", "digest", "object")]
        + [(name, pa.int64()) for name in ("n_objects", "bytes")]
    )
    con.register("withheld_found", pa.Table.from_pylist([asdict(one) for one in found], schema))


def _read(name: str) -> str:
    return sql_files.read_statements(_SQL)[name]
