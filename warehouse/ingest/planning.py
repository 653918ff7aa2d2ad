"""Plans a loading step: sorts the wanted objects and divides them into units, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from warehouse.engine import sql_files
from warehouse.ingest import memory
from warehouse.ingest.context import Run
from warehouse.lake import optimisers

#: Objects planned at a time: bounds the memory of a plan.
PLAN_SIZE = 200_000
#: Columns of a plan that the extraction does not need.
PLAN_ONLY = ["was_rejected", "old_reason", "is_loaded", "kept_etag"]

#: More than any object has.
_ANY_SIZE = 1 << 62

_SQL = "ingest/loading.sql"

#: A part of the wanted objects: group, patient and key of the last one, the lowest and the highest key, the number.
_Stretch = tuple[tuple[str | None, str | None, str], str, str, int]


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


def make_plans(
    run: Run, wanted: Sequence[str], paired: bool = True, most_bytes: int = 0
) -> Iterator[tuple[int, list[Unit]]]:
    """Plan the wanted objects batch by batch; each is in the temporary table `pending` while it is processed.

    `wanted` has a query for each range of keys, in their order. Each batch is yielded with the total number of wanted
    objects. Headers are `paired` with their .dcm. With `most_bytes`, objects of any size are wanted, and count as no
    more than that, because only their beginning is read. The batches are found before the first is processed, so
    failed objects are not tried twice.
    """
    searches = [_read_searches(one) for one in wanted]
    with run.all_cores():
        found = [_find_stretches(run, sql) for sql in searches]
    memory.release()
    total = sum(count for stretches in found for *_, count in stretches)
    for sql, stretches in zip(searches, found, strict=True):
        for place in range(len(stretches)):
            with run.all_cores():
                if place or len(searches) > 1:  # the first one of all is there still
                    _search(run, sql, stretches, place)
                _, *patients = _measure_extent(run)
                spans = _plan(run, patients if paired else None, most_bytes)
            memory.release()
            yield total, spans


def _find_stretches(run: Run, sql: dict[str, str]) -> list[_Stretch]:
    """Divide the wanted objects of a range into stretches of PLAN_SIZE; the first is in the table `waiting` then."""
    limits = {"source": run.source, **run.scope.parameters, "most": PLAN_SIZE}
    with optimisers.plan_as_written(run.con):
        run.con.execute(sql["waiting"], limits)
        count, *_ = _measure_extent(run)
        if count < PLAN_SIZE:
            return [((None, None, ""), "", "", count)] if count else []
        return run.con.execute(sql["stretches"], limits).fetchall()


def _search(run: Run, sql: dict[str, str], stretches: list[_Stretch], place: int) -> None:
    """Write the objects of a stretch into the table `waiting`."""
    limits = {"source": run.source, **run.scope.parameters, "most": PLAN_SIZE}
    with optimisers.plan_as_written(run.con):
        if not place:
            run.con.execute(sql["waiting"], limits)
            return
        after, *_ = stretches[place - 1]
        _, lowest, highest, _ = stretches[place]
        former = dict(zip(("after_group", "after_patient", "after_key"), after, strict=True))
        run.con.execute(sql["waiting_next"], {**limits, **former, "lowest_key": lowest, "highest_key": highest})


def _read_searches(wanted: str) -> dict[str, str]:
    sql = sql_files.read_statements(_SQL)
    return {name: sql_files.fill(sql[name], wanted=wanted) for name in ("waiting", "stretches", "waiting_next")}


def _measure_extent(run: Run) -> tuple[int, str | None, str | None]:
    """The number of waiting objects, and the first and last of their patients; what waits twice waits once then."""
    sql = sql_files.read_statements(_SQL)
    count, is_repeated, first, last = run.con.execute(sql["extent"]).fetchall()[0]
    if is_repeated:
        run.con.execute(sql["unrepeat"])
    return count, first, last


def _plan(run: Run, patients: list[str | None] | None, most_bytes: int) -> list[Unit]:
    """Sort the batch into the temporary table `pending`, and divide it into units of bounded number and size.

    With its first and last of `patients`, headers are paired with their .dcm.
    """
    sql = sql_files.read_statements(_SQL)
    run.con.execute("drop table if exists temp.pending")  # that of the batch before would need its memory meanwhile
    # The plan needs its sort order; only the inserts of a writer do not.
    run.con.execute("set preserve_insertion_order = true")
    limit = {"limit": _ANY_SIZE if most_bytes else run.settings.max_object_mb * 1_000_000}
    if patients:
        pairing = sql_files.fill(sql_files.read("ingest/pairing.sql"), near=sql["near"])
        first, last = patients
        named = {"source": run.source, "first_patient": first, "last_patient": last}
        run.con.execute(sql_files.fill(sql["paired"], pairing=pairing), {**limit, **named})
        run.con.execute(sql["pending"], limit)
        run.con.execute("drop table temp.paired")
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
