"""Leaves the objects of withdrawn patients out of a refresh: they are not loaded, and only counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_first
from warehouse.ingest.context import BucketRun, Run
from warehouse.withdrawal import removal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warehouse.lake import store
    from warehouse.object_store.base import Skipped
    from warehouse.withdrawal.removal import Excluded, Withheld

#: Keys looked at at a time.
_BATCH = 100_000

_SQL = "ingest/withholding.sql"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The objects of withdrawn patients in a listing: how many, what is to be recorded, and whether that is new."""

    n_objects: int = 0
    found: tuple[Withheld, ...] = ()
    is_new: bool = False


def remove_withdrawn(run: Run, *, has_loaded: bool = False, history: Sequence[store.Snapshot] = ()) -> int:
    """Remove the rows of patients who have withdrawn since the last refresh, of all sources; returns their objects.

    If the refresh `has_loaded` objects, those that name such a patient in their content are removed as well.
    `history` is that of the lake, if it was just read.
    """
    return removal.remove_withdrawn(
        run.con,
        run.place,
        lambda work, version, n_objects: run.commit("withdrawn", work, withheld=version, withdrawn=n_objects),
        has_new=has_loaded,
        history=history,
    )


def leave_out(run: BucketRun, excluded: Excluded | None) -> LeftOut:
    """Take the objects of excluded patients out of `listing` and `changes`; `parsed` has the keys that are new."""
    if not excluded:
        return LeftOut()
    known = removal.read_withheld(run.con, run.source)
    names = [name for (name,) in run.con.execute(_read("names")).fetchall()]
    single = {one.object: one.digest for one in known if one.object and one.digest in excluded.digests}
    keys = _find_keys(run, excluded, single) if single else {}
    _fill(run, "withheld_names", "name", excluded.key.find_patients(names, excluded.digests))
    _fill(run, "withheld_keys", "key", keys)
    run.con.execute(_read("withheld"))
    for table in ("listing", "changes"):
        run.con.execute(sql_files.fill(_read("drop"), table=table))
    found = tuple(
        removal.Withheld(run.source, kind, digest, None, n_objects, size)
        for kind, digest, n_objects, size in run.con.execute(_read("sums")).fetchall()
    )
    row = fetch_first(run.con.execute("select count(*) from withheld"))
    # A part of the bucket does not show how many there are.
    is_new = not run.scope.prefixes and set(found) != {one for one in known if not one.object}
    return LeftOut(int(row[0]) if row else 0, found, is_new)


def _find_keys(run: BucketRun, excluded: Excluded, single: dict[str, str]) -> dict[str, str]:
    """The new keys among `single` objects, by the digests of objects, with the digests of their patients."""
    found = {}
    for batch in run.con.execute(_read("keys")).to_arrow_reader(_BATCH):  # there may be any number
        for key in batch.column("key").to_pylist():
            if (digest := excluded.key.digest_object(run.source, key)) in single:
                found[key] = single[digest]
    return found


def drop_skipped(skipped: list[Skipped], excluded: Excluded | None) -> list[Skipped]:
    """The entries that a listing skipped, without those whose name names an excluded patient."""
    if not excluded:
        return skipped
    return [one for one in skipped if not excluded.key.find_patients(str(one.key).split("/"), excluded.digests)]


def _fill(run: Run, table: str, column: str, values: dict[str, str]) -> None:
    import pyarrow as pa

    given = pa.table({column: pa.array(values, pa.string()), "digest": pa.array(values.values(), pa.string())})
    run.con.register("withheld_given", given)
    run.con.execute(f"create or replace temp table {sql_files.identifier(table)} as from withheld_given")
    run.con.unregister("withheld_given")


def _read(name: str) -> str:
    return sql_files.read_statements(_SQL)[name]
