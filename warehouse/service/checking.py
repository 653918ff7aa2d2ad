"""The checks of the data as a question of the service: counts of patients only, rounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from warehouse.access.patient_sets import DifferenceError
from warehouse.api import Warehouse
from warehouse.disclosure_control import round_count
from warehouse.query.checks import Result, run_checks
from warehouse.service.differencing import Memory


@dataclass(frozen=True, slots=True)
class Checked:
    """The checks as a document for JSON, and how many numbers were withheld."""

    checks: list[dict[str, Any]]
    n_withheld: int


def check_data(warehouse: Warehouse, base: int, memory: Memory | None = None, caller: str = "") -> Checked:
    """Run the checks; numbers of patients are rounded to multiples of `base`.

    With a `memory`, a number is withheld if it differs from an earlier one of the same check by too few patients.
    """
    found = [_describe(result, base, memory, caller) for result in run_checks(warehouse, limit=0)]
    return Checked(found, sum(each["withheld"] for each in found))


def _describe(result: Result, base: int, memory: Memory | None, caller: str) -> dict[str, Any]:
    check, withheld = result.check, False
    if memory is not None and result.patients is not None:
        try:
            memory.admit(caller, {f"check {check.name}": frozenset(map(hash, result.patients))}, base)
        except DifferenceError:
            withheld = True
    n = result.n_patients
    return {
        "name": check.name,
        "severity": str(check.severity),
        "title": check.title,
        "meaning": check.meaning,
        "table": check.table,
        "failed": result.failed,
        "patients": None if n is None or withheld else round_count(n, base),
        "withheld": withheld,
    }
