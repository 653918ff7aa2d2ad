"""What a loading step has before it: what is wanted, put in order and cut into units, stretch by stretch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from warehouse.engine import sql_files
from warehouse.ingest import memory
from warehouse.ingest.context import Run

#: Objects planned at a time: bounds the memory of a plan, at the price of one more look at raw.objects for each.
_PLAN_SIZE = 200_000
#: Columns of a plan that are no business of the extraction.
PLAN_ONLY = ["was_rejected", "old_reason", "is_loaded", "kept_etag"]

_SQL = "ingest/loading.sql"


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of a plan: the places of its first and last object, and their bytes together."""

    first: int
    last: int
    size: int

    @property
    def places(self) -> dict[str, int]:
        """As parameters of a statement."""
        return {"first": self.first, "last": self.last}

    @property
    def count(self) -> int:
        """How many objects it has."""
        return self.last - self.first + 1


def count_pending(run: Run, wanted: str) -> int:
    """How many objects the query `wanted` gives."""
    query = sql_files.fill(sql_files.read_statements(_SQL)["count"], wanted=wanted)
    with run.all_cores():
        row = run.con.execute(query, {"source": run.source, "prefixes": list(run.scope.prefixes)}).fetchone()
    return int(row[0]) if row else 0


def make_plans(run: Run, wanted: str, paired: bool = True) -> Iterator[tuple[int, list[Unit]]]:
    """Plan what is wanted, stretch by stretch; each stands in the temporary table `pending` while it is worked on.

    With each comes how many objects are wanted in all. Headers are `paired` with their .dcm. A stretch begins after the
    last object of the one before, so what could not be read is not tried twice.
    """
    query = sql_files.fill(sql_files.read_statements(_SQL)["waiting"], wanted=wanted)
    after, found, total = ("", "", ""), _PLAN_SIZE, 0
    while found == _PLAN_SIZE:
        places = dict(zip(("after_group", "after_patient", "after_key"), after, strict=True))
        limits = {"source": run.source, "prefixes": list(run.scope.prefixes), "most": _PLAN_SIZE}
        with run.all_cores():
            run.con.execute(query, {**limits, **places})
            row = run.con.execute(sql_files.read_statements(_SQL)["stretch"]).fetchone()
            assert row is not None
            found, after = row
            total = total or (count_pending(run, wanted) if found == _PLAN_SIZE else found)
            spans = _plan(run, paired) if found else []
        memory.release()
        if found:
            yield total, spans


def _plan(run: Run, paired: bool) -> list[Unit]:
    """Put what waits in order, as temporary table `pending`, and cut it into units of bounded number and bytes."""
    sql = sql_files.read_statements(_SQL)
    # The plan's order is that of its sort; only the inserts of a writer need none.
    run.con.execute("set preserve_insertion_order = true")
    limit = {"limit": run.settings.max_object_mb * 1_000_000}
    if paired:
        query = sql_files.fill(sql["pending"], pairing=sql_files.read("ingest/pairing.sql"))
        run.con.execute(query, {**limit, "source": run.source})
    else:
        run.con.execute(sql["pending_alone"], limit)
    run.con.execute("set preserve_insertion_order = false")
    most, room = max(1, run.settings.unit_objects), run.settings.unit_mb * 1_000_000
    spans: list[Unit] = []
    for place, size in run.con.execute(sql["sizes"]).fetchall():
        now = spans[-1] if spans else None
        if now and now.count < most and now.size + size <= room:
            spans[-1] = Unit(now.first, place, now.size + size)
        else:
            spans.append(Unit(place, place, size))
    return spans
