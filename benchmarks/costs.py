"""Calculates from the results: larger buckets, dollars for requests, how many workers one driver feeds."""

from __future__ import annotations

import csv
from pathlib import Path

from benchmarks import tables
from benchmarks.fits import Curve, build_curve, find_largest
from benchmarks.growth import REFRESHES
from benchmarks.results import Part
from warehouse.ingest.planning import PLAN_SIZE
from warehouse.settings import Settings

_PRICES = Path(__file__).with_name("s3_prices.csv")
#: The size that is extrapolated to.
_LARGE = 100_000_000
#: The sizes whose requests are priced.
_PRICED = (1_000_000, 10_000_000, _LARGE, 1_500_000_000)
#: Objects (30 million examinations), hours of a night, cores of a machine.
_OBJECTS, _HOURS, _CORES = 1_500_000_000, 8, 16
#: Objects of a unit.
_UNIT = Settings().unit_objects
_NONE = "Not measured yet."


def load_prices() -> dict[str, float]:
    """Dollars for a thousand requests of a kind."""
    with _PRICES.open(encoding="utf-8") as file:
        return {row["request"]: float(row["dollars_per_1000"]) for row in csv.DictReader(file)}


def count_requests(part: Part, refresh: str, n_objects: int) -> dict[str, float] | None:
    """The requests of a refresh of so many objects, in proportion to those of the largest bucket that was measured."""
    found = {}
    for kind in ("LIST", "GET"):
        row = find_largest(part, f"{kind} requests", store="http", refresh=refresh)
        if row is None:
            return None
        found[kind] = row.median * n_objects / row.at["objects"]
    return found


def price(requests: dict[str, float]) -> float:
    """Their dollars."""
    prices = load_prices()
    return sum(prices[kind] * count / 1000 for kind, count in requests.items())


def render_dollars(part: Part) -> str:
    """The requests and dollars of refreshes."""
    table = [("refresh", "objects", "LIST", "GET", "dollars")]
    for refresh in REFRESHES:
        for size in _PRICED:
            requests = count_requests(part, refresh, size)
            if requests is None:
                return _NONE
            shown = (f"{requests['LIST']:,.0f}", f"{requests['GET']:,.0f}", f"{price(requests):,.2f}")
            table.append((refresh, f"{size:,}", *shown))
    return tables.render_table(table)


def render_extrapolation(part: Part) -> str:
    """Refreshes of a hundred million objects, each value with the exponent it follows from."""
    table = [("refresh", "measure", "largest measured", "exponent used", f"{_LARGE:,} objects, extrapolated")]
    for refresh in REFRESHES:
        for measure, unit in (("seconds", "s"), ("CPU seconds", "s"), ("peak memory", "MiB")):
            curve = build_curve(part, measure, store="process", refresh=refresh)
            if not curve.points or curve.last_exponent is None:
                continue
            size, value = curve.points[-1]
            is_memory = measure == "peak memory"
            power = curve.last_exponent if is_memory else max(1.0, curve.last_exponent)
            large = value * (_LARGE / size) ** power
            largest = f"{tables.format_number(value)} {unit} of {size:,}"
            table.append((refresh, measure, largest, f"{power:.2f}", f"{tables.format_number(large)} {unit}"))
    return tables.render_table(table) if len(table) > 1 else _NONE


def render_night(growth: Part, workers: Part, driver: Part) -> str:
    """On paper: 1.5 billion objects, as a part of docs/scale.md."""
    first = build_curve(growth, "CPU seconds", store="http", refresh="first")
    fetched = build_curve(growth, "GET requests", store="http", refresh="first")
    listed, planned = build_curve(driver, "listing and comparing"), build_curve(driver, "planning")
    requests = count_requests(growth, "first", _OBJECTS)
    slopes = {row.at["engine"]: row.median for row in workers.rows if row.name == "driver's own CPU a unit"}
    if not (first.points and listed.points and planned.points and requests and slopes):
        return f"{_NONE}\n"
    per_object, units = first.step / fetched.step, requests["GET"] / _UNIT
    listing, planning = (curve.points[-1][1] * _OBJECTS / curve.points[-1][0] for curve in (listed, planned))
    fed = PLAN_SIZE // _UNIT
    loading = requests["GET"] * per_object / fed
    hours = (listing + planning + loading) / 3600
    table = [
        ("quantity", "how", "value"),
        ("objects, N", "given: 30 million examinations", f"{_OBJECTS:,}"),
        ("fetched, G", "in proportion to the largest bucket by HTTP", f"{requests['GET']:,.0f}"),
        (
            "CPU of a fetched object, c",
            f"first refreshes by HTTP: the difference of all CPU, by that of GET requests, {_name_sizes(first)}",
            f"{per_object * 1e6:,.0f} µs",
        ),
        ("units, U", f"G / {_UNIT:,}", f"{units:,.0f}"),
        ("listing and comparing, t", _name_driver(listed), f"{listing / 3600:.1f} h"),
        ("planning, p", _name_driver(planned), f"{planning / 3600:.1f} h"),
        ("cores that are fed at a time, n", f"units of a plan: {PLAN_SIZE:,} / {_UNIT:,}", f"{fed}"),
        ("loading by n cores, l", "G c / n", f"{loading / 3600:.1f} h"),
        ("in all", "t + p + l, which take turns", f"{hours:.0f} h"),
        (f"nights of {_HOURS} hours", f"the same / {_HOURS} h", f"{-(-hours // _HOURS):.0f}"),
        (f"machines of {_CORES} cores", f"n / {_CORES}", f"{-(-fed // _CORES)}"),
    ]
    for engine, slope in slopes.items():
        table += _list_driver(engine, slope, per_object, units)
    prices = "list prices of S3 ([table](performance.md#growth))"
    table.append(("dollars for requests", prices, f"{price(requests):,.0f}"))
    return f"{tables.render_table(table)}\n"


def _name_sizes(curve: Curve) -> str:
    return " and ".join(f"{size:,}" for size, _ in curve.points[-2:])


def _name_driver(curve: Curve) -> str:
    """Where a duration of the driver follows from: it works by ranges of ten million keys, so in proportion."""
    size, seconds = curve.points[-1]
    return f"the driver alone: {tables.format_number(seconds)} s for {size:,} objects, in proportion"


def _list_driver(engine: str, slope: float, per_object: float, units: float) -> list[tuple[str, str, str]]:
    """The driver's own CPU for units, and the cores that it would feed if there were units enough."""
    return [
        (f"driver's own CPU a unit, d, {engine}", "slope over the number of units", f"{slope:.3f} s"),
        (f"driver's CPU for all units, {engine}, within l", "U d", f"{units * slope / 3600:.1f} h"),
        (f"cores that one driver can feed, {engine}", f"{_UNIT:,} c / d", f"{_UNIT * per_object / slope:,.0f}"),
    ]
