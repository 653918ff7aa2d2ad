"""Plans a loading step: sorts the wanted objects and divides them into units, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_first
from warehouse.ingest import memory
from warehouse.ingest.context import Run
from warehouse.lake import connection

#: Objects planned at a time: bounds the memory of a plan, at the cost of another scan of raw.objects for each.
_PLAN_SIZE = 200_000
#: Columns of a plan that the extraction does not need.
PLAN_ONLY = ["was_rejected", "old_reason", "is_loaded", "kept_etag"]

#: More than any object has.
_ANY_SIZE = 1 << 62

_SQL = "ingest/loading.sql"


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of a plan: the positions of its first and last object, and their total size."""

    first: int
    last: int
    size: int

    @property
    def places(self) -> dict[str, int]:
        """As parameters of a statement."""
        return {"first": self.first, "last": self.last}

    @property
    def count(self) -> int:
        """The number of its objects."""
        return self.last - self.first + 1


def count_pending(run: Run, wanted: str) -> int:
    """Count the objects of the query `wanted`."""
    query = sql_files.fill(sql_files.read_statements(_SQL)["count"], wanted=wanted)
    with run.all_cores():
        row = fetch_first(run.con.execute(query, {"source": run.source, **run.scope.parameters}))
    return int(row[0]) if row else 0


def make_plans(run: Run, wanted: str, paired: bool = True, most_bytes: int = 0) -> Iterator[tuple[int, list[Unit]]]:
    """Plan the wanted objects batch by batch; each is in the temporary table `pending` while it is processed.

    Each is yielded with the total number of wanted objects. Headers are `paired` with their .dcm. With `most_bytes`,
    objects of any size are wanted, and count as no more than that, because only their beginning is read. A batch begins
    after the last object of the previous one, so failed objects are not tried twice.
    """
    query = sql_files.fill(sql_files.read_statements(_SQL)["waiting"], wanted=wanted)
    after, found, total = ("", "", ""), _PLAN_SIZE, 0
    while found == _PLAN_SIZE:
        places = dict(zip(("after_group", "after_patient", "after_key"), after, strict=True))
        limits = {"source": run.source, **run.scope.parameters, "most": _PLAN_SIZE}
        with run.all_cores():
            with connection.plan_as_written(run.con):
                run.con.execute(query, {**limits, **places})
            row = fetch_first(run.con.execute(sql_files.read_statements(_SQL)["stretch"]))
            assert row is not None
            found, after = row
            total = total or (count_pending(run, wanted) if found == _PLAN_SIZE else found)
            spans = _plan(run, paired, most_bytes) if found else []
        memory.release()
        if found:
            yield total, spans


def _plan(run: Run, paired: bool, most_bytes: int) -> list[Unit]:
    """Sort the batch into the temporary table `pending`, and divide it into units of bounded number and size."""
    sql = sql_files.read_statements(_SQL)
    # The plan needs its sort order; only the inserts of a writer do not.
    run.con.execute("set preserve_insertion_order = true")
    limit = {"limit": _ANY_SIZE if most_bytes else run.settings.max_object_mb * 1_000_000}
    if paired:
        query = sql_files.fill(sql["pending"], pairing=sql_files.read("ingest/pairing.sql"))
        run.con.execute(query, {**limit, "source": run.source})
    else:
        run.con.execute(sql["pending_alone"], limit)
    run.con.execute("set preserve_insertion_order = false")
    most, room = max(1, run.settings.unit_objects), run.settings.unit_mb * 1_000_000
    return divide(run.con.execute(sql["sizes"], {"most": most_bytes or _ANY_SIZE}).fetchall(), most, room)


def divide(sizes: Iterable[tuple[int, int]], most: int, room: int) -> list[Unit]:
    """Divide consecutive objects, given by position and size, into units of at most so many and so many bytes.

    An object that is larger than that is a unit of its own.
    """
    units: list[Unit] = []
    first = last = count = total = 0
    for place, size in sizes:
        if count and (count == most or total + size > room):
            units.append(Unit(first, last, total))
            count = 0
        if not count:
            first, total = place, 0
        last, count, total = place, count + 1, total + size
    if count:
        units.append(Unit(first, last, total))
    return units
