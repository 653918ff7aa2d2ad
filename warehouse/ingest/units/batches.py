"""Batches of units, and what becomes of one whose worker has died: single units, then halves, then a reject."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from warehouse.ingest.rejects import build_rejects
from warehouse.ingest.units.unit import Receipt, UnitTask
from warehouse.object_store.base import ReadFailure

#: How often a unit may end its worker before it is halved: once may be chance, such as somebody's kill.
CHANCES = 2
_DEADLY = ReadFailure("ended the process that read it, again and again; another version tries again", retry=False)


@dataclass(frozen=True, slots=True)
class Batch:
    """Units of a step that a worker does in order, and how often they have ended one."""

    step: str
    units: tuple[UnitTask, ...]
    deaths: int = 0


def group_units(step: str, units: Iterable[UnitTask], size: int) -> Iterator[Batch]:
    """Group units of a step to batches of a size."""
    group: list[UnitTask] = []
    for unit in units:
        group.append(unit)
        if len(group) == size:
            yield Batch(step, tuple(group))
            group = []
    if group:
        yield Batch(step, tuple(group))


def split(batch: Batch) -> tuple[list[tuple[UnitTask, Receipt]], list[Batch]]:
    """What becomes of a batch whose worker has died: its units one at a time, then halves, then a reject."""
    deaths = batch.deaths + 1
    if len(batch.units) > 1:
        return [], [Batch(batch.step, (unit,), deaths) for unit in batch.units]
    (unit,) = batch.units
    if deaths < CHANCES:
        return [], [Batch(batch.step, (unit,), deaths)]
    if unit.objects.num_rows > 1:
        return [], [Batch(batch.step, (half,), deaths) for half in unit.halve()]
    keys = unit.objects.column("key").to_pylist()
    rejects = build_rejects(unit.objects, dict.fromkeys(keys, _DEADLY))
    return [(unit, Receipt(unit.id, rejects=rejects, missed=frozenset(keys)))], []
