"""Tables of docs/performance.md: medians and spreads, ratios, aims, and where the values are from."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import Any

from benchmarks.results import Part, Row

_SIGNS = {"<=": "≤", ">=": "≥"}


def render_table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    head, *body = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *body])


def format_number(value: float) -> str:
    """A number with three digits or all of its whole ones."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def format_values(values: Sequence[float], median: float, unit: str = "") -> str:
    """The median in its unit, with the least and the most of several values."""
    least, most = format_number(min(values)), format_number(max(values))
    shown = f"{format_number(median)} {unit}".strip()
    return shown if least == most else f"{shown} ({least}–{most})"


def format_ratio(ratio: float | None) -> str:
    """A ratio, a small one as a fraction of one."""
    if ratio is None:
        return ""
    if ratio < 0.2:
        return f"1/{1 / ratio:.1f}"
    return f"{ratio:.1f}" if ratio >= 10 else f"{ratio:.2f}"


def format_target(row: Row) -> str:
    """What is aimed at, and whether it is reached."""

    def show(found: re.Match[str]) -> str:
        what, comparison, limit = found.groups()
        number = float(limit)
        sign = _SIGNS.get(comparison, comparison)
        shown = f"{limit} {row.unit}" if what == "value" else f"1/{1 / number:.0f}" if number < 0.4 else limit
        return f"{sign} {shown.strip()}"

    text = re.sub(r"(ratio|value) (<=|>=|<|>) ([0-9.]+)", show, row.target)
    return text if row.is_reached() is not False else f"{text}, **not reached**"


def render_rows(part: Part, rows: Sequence[Row]) -> str:
    """Rows with their baselines, and the runs that they are from."""
    table = [("what", "measured", "baseline", "ratio", "aim", "runs", "when")]
    machines = _name_machines(part, rows)
    for row in rows:
        at = "".join(
            f", {value:,} {name}" if isinstance(value, int) else f", {value}" for name, value in row.at.items()
        )
        note = f" ({row.note})" if row.note else ""
        baseline = ""
        if row.baseline_median is not None:
            baseline = f"{format_values(row.baseline_values, row.baseline_median, row.unit)}: {row.baseline}"
        cells = (format_values(row.values, row.median, row.unit), baseline, format_ratio(row.ratio), format_target(row))
        table.append((f"{row.name}{at}{note}", *cells, _count_runs(part, row), _format_run(part, row, machines)))
    return f"{render_table(table)}\n\n{_describe_machines(machines)}"


def render_pivot(part: Part, dimensions: Sequence[str], measures: Sequence[str], rows: Sequence[Row]) -> str:
    """A row for each place, a column for each measure."""
    units = {row.name: row.unit for row in rows}
    heads = [f"{name}, {units[name]}" if units.get(name) not in ("", "s", None) else name for name in measures]
    table = [(*dimensions, *heads, "runs", "when")]
    machines = _name_machines(part, rows)
    places = list(dict.fromkeys(tuple(row.at[name] for name in dimensions) for row in rows))
    for place in places:
        here = {row.name: row for row in rows if tuple(row.at[name] for name in dimensions) == place}
        cells = [format_values(here[name].values, here[name].median) if name in here else "" for name in measures]
        first = next(iter(here.values()))
        shown = [f"{value:,}" if isinstance(value, int) else value for value in place]
        shown[0] += "".join(f" ({row.note})" for row in here.values() if row.note)
        table.append((*shown, *cells, _count_runs(part, first), _format_run(part, first, machines)))
    return f"{render_table(table)}\n\n{_describe_machines(machines)}"


def _count_runs(part: Part, row: Row) -> str:
    """The number of values; of an earlier median it is not known of how many it was."""
    return str(len(row.values)) if "cores" in part.runs[row.run] else ""


def _format_run(part: Part, row: Row, machines: dict[str, str]) -> str:
    """When a run was, on which machine of a table, and the load of the machine."""
    facts = part.runs[row.run]
    if "cores" not in facts:
        return row.run
    load = f", load {facts['load']:g}" if "load" in facts else ""
    return f"{row.run[:10]} {machines[_describe(row.run, facts)]}{load}"


def _name_machines(part: Part, rows: Sequence[Row]) -> dict[str, str]:
    """The machines and versions of a table's rows, described, each with its letter; an earlier run with its name."""
    names: dict[str, str] = {}
    letters = iter(string.ascii_uppercase)
    for run in dict.fromkeys(row.run for row in rows):
        facts = part.runs[run]
        described = _describe(run, facts)
        if described not in names:
            names[described] = next(letters) if "cores" in facts else run
    return names


def _describe_machines(machines: dict[str, str]) -> str:
    """Where the values of a table are from, as a list."""
    return "\n".join(f"- *{name}*: {described}." for described, name in machines.items())


def _describe(run: str, facts: dict[str, Any]) -> str:
    """The machine and the versions of a run, or what is known of an earlier one."""
    note = facts.get("note", "")
    if "cores" not in facts:
        return note or run
    libraries = ", ".join(f"{name} {version}" for name, version in facts["libraries"].items())
    return (
        f"{facts['cores']} cores ({facts['processor']}), {facts['memory_gb']:g} GB, {facts['kernel']}; "
        f"Python {facts['python']}, {libraries}; commit of {facts['commit']}; the load is that of the minute before"
        f"{f'. {note}' if note else ''}"
    )
