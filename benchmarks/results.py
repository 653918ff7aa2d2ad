"""Results of benchmarks as JSON files, one a part: all runs' values, beside the baseline's, and where they are from.

    {"part": "refresh", "runs": {"2026-11-29 16:50:00": {machine, versions, commit, load, note}},
     "rows": [{"run", "name", "unit", "at", "values", "baseline", "baseline_values", "target", "note"}]}

A row is saved as soon as it is measured, and replaces an earlier one of the same name and place (`at`).
"""

from __future__ import annotations

import json
import os
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine

#: Where they are; BENCHMARK_RESULTS names another folder, to try a benchmark without publishing what it measures.
FOLDER = Path(os.environ.get("BENCHMARK_RESULTS") or Path(__file__).with_name("results"))

_CONDITION = re.compile(r"(ratio|value) (<=|>=|<|>) ([0-9.]+)")
_COMPARE = {
    "<=": lambda one, other: one <= other,
    ">=": lambda one, other: one >= other,
    "<": lambda one, other: one < other,
    ">": lambda one, other: one > other,
}


@dataclass(slots=True)
class Row:
    """What was measured: all values in a unit, those of the baseline of the same run, and what is aimed at.

    `at` has the place in a table of several dimensions (the number of objects, …). A target is a comparison, or several
    with `and`: `ratio <= 1.5`, `value < 1024`. The ratio is that of the medians, ours by the baseline's.
    """

    name: str
    unit: str = ""
    values: Sequence[float] = ()
    baseline: str = ""
    baseline_values: Sequence[float] = ()
    target: str = ""
    at: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    run: str = ""

    @property
    def median(self) -> float:
        """The median of the values."""
        return statistics.median(self.values)

    @property
    def baseline_median(self) -> float | None:
        """The median of the baseline's values, if there are any."""
        return statistics.median(self.baseline_values) if self.baseline_values else None

    @property
    def ratio(self) -> float | None:
        """Ours by the baseline's."""
        return self.median / self.baseline_median if self.baseline_median else None

    def is_reached(self) -> bool | None:
        """Whether the target is reached; None if there is none, or no ratio to compare."""
        found = []
        for what, comparison, limit in _CONDITION.findall(self.target):
            one = self.ratio if what == "ratio" else self.median
            if one is None:
                return None
            found.append(_COMPARE[comparison](one, float(limit)))
        return all(found) if found else None


@dataclass(slots=True)
class Part:
    """The rows of a part and the runs that measured them."""

    name: str
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def find(self, name: str, **at: Any) -> Row | None:
        """The row of a name whose place has these values."""
        return next((row for row in self.rows if row.name == name and at.items() <= row.at.items()), None)


def list_parts(folder: Path = FOLDER) -> list[str]:
    """The names of the parts that have results."""
    return sorted(path.stem for path in folder.glob("*.json"))


def load_part(name: str, folder: Path = FOLDER) -> Part:
    """A part as it was saved; an empty one if it was not."""
    path = folder / f"{name}.json"
    if not path.exists():
        return Part(name)
    found = json.loads(path.read_text(encoding="utf-8"))
    return Part(name, found["runs"], [Row(**row) for row in found["rows"]])


class Recorder:
    """Saves the rows of one run of one part. What is known of the machine is found out once, at the start."""

    def __init__(self, part: str, note: str = "", folder: Path = FOLDER) -> None:
        self._part, self._folder = part, folder
        self._run = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
        self._facts = machine.describe() | ({"note": note} if note else {})

    def save(self, rows: Iterable[Row]) -> None:
        """Save rows, in place of earlier ones of the same name and place."""
        part = load_part(self._part, self._folder)
        part.runs[self._run] = self._facts
        for row in rows:
            row.run = self._run
            put_row(part, row)
        save_part(part, self._folder)


def put_row(part: Part, row: Row) -> None:
    """Put a row into a part, in place of an earlier one."""
    for place, other in enumerate(part.rows):
        if (other.name, other.at) == (row.name, row.at):
            part.rows[place] = row
            return
    part.rows.append(row)


def save_part(part: Part, folder: Path = FOLDER) -> None:
    """Write a part; whole or not at all."""
    used = {row.run for row in part.rows}
    runs = [f"  {_write(name)}: {_write(facts)}" for name, facts in sorted(part.runs.items()) if name in used]
    rows = [f"  {_write(_shorten(row))}" for row in part.rows]
    lines = [
        "{",
        f' "part": {_write(part.name)},',
        ' "runs": {',
        ",\n".join(runs),
        " },",
        ' "rows": [',
        ",\n".join(rows),
        " ]",
        "}",
    ]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{part.name}.json"
    new = path.with_suffix(".json.part")
    new.write_text("\n".join(lines) + "\n", encoding="utf-8")
    new.replace(path)


def _write(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _shorten(row: Row) -> dict[str, Any]:
    """A row without what is empty, and with six digits."""
    found = {name: value for name, value in asdict(row).items() if value not in ("", [], (), {})}
    for name in ("values", "baseline_values"):
        if name in found:
            found[name] = [float(f"{value:.6g}") for value in found[name]]
    return found
