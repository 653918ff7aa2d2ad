"""Draws the plots of docs/performance.md: logarithmic, a measure against the number of objects, as SVG."""

from __future__ import annotations

import re
from typing import Any

import altair as alt
import vl_convert

from benchmarks.fits import build_curve
from benchmarks.growth import REFRESHES, STORES
from benchmarks.results import Part

#: The file, the measure, and the title of each plot.
PLOTS = {
    "growth-time": ("seconds", "seconds"),
    "growth-memory": ("peak memory", "MiB, largest process"),
    "growth-requests": ("requests", "requests to S3"),
}
# Okabe and Ito's colours, which colour-blind people can distinguish (jfly.uni-koeln.de/color).
_COLOURS = ("#0072b2", "#d55e00", "#009e73")
_SHORT = {"process": "in process", "http": "HTTP"}
_CONFIG = {
    "background": "white",
    "font": "DejaVu Sans, Verdana, sans-serif",
    "view": {"stroke": None},
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "gridColor": "#e3e7eb"},
    "legend": {"labelFontSize": 12, "titleFontSize": 12, "labelLimit": 320},
}
#: Lines as they are drawn, without a title.
_LEGEND = alt.Legend(title=None, symbolType="stroke", symbolSize=500, symbolStrokeWidth=2)
_IDENTIFIER = re.compile(r'\bid="([^"]+)"')


def draw_plots(part: Part) -> dict[str, str]:
    """The SVG of each plot that has points, by the name of its file."""
    found = {}
    for name, (measure, unit) in PLOTS.items():
        lines = list_lines(part, measure)
        if lines:
            found[f"{name}.svg"] = _render(name, _draw(lines, unit))
    return found


def list_lines(part: Part, measure: str) -> list[tuple[str, str, list[tuple[int, float, float, float]]]]:
    """The lines of a plot: the label with the exponent, the store, and the points (objects, median, least, most)."""
    if measure == "requests":
        places = [("http", refresh, f"{kind} requests") for refresh in REFRESHES for kind in ("LIST", "GET")]
        places = [place for place in places if place[1:] != ("0.1 % changed", "LIST requests")]
    else:
        places = [(store, refresh, measure) for store in STORES for refresh in REFRESHES]
    found = []
    for store, refresh, name in places:
        rows = [
            row
            for row in part.rows
            if row.name == name and (row.at["store"], row.at["refresh"]) == (store, refresh) and row.median > 0
        ]
        if not rows:
            continue
        exponent = build_curve(part, name, store=store, refresh=refresh).exponent
        what = f"{name.split()[0]}, {refresh}" if measure == "requests" else f"{refresh}, {_SHORT[store]}"
        label = what if exponent is None else f"{what}: n^{exponent:.2f}"
        points = [(int(row.at["objects"]), row.median, min(row.values), max(row.values)) for row in rows]
        found.append((label, "GET" if name.startswith("GET") else store, sorted(points)))
    return found


def _draw(lines: list[tuple[str, str, list[tuple[int, float, float, float]]]], unit: str) -> alt.TopLevelMixin:
    values = [
        {"line": label, "objects": size, "median": median, "least": least, "most": most}
        for label, _, points in lines
        for size, median, least, most in points
    ]
    labels, stores = [label for label, _, _ in lines], [store for _, store, _ in lines]
    by_store = list(dict.fromkeys(stores))
    colours = [_COLOURS[stores[:place].count(store) % len(_COLOURS)] for place, store in enumerate(stores)]
    dashes = [[1, 0] if by_store.index(store) == 0 else [6, 4] for store in stores]
    base = alt.Chart(alt.Data(values=values), width=520, height=300).encode(
        x=alt.X("objects:Q", scale=alt.Scale(type="log"), axis=_build_axis("objects in the bucket", values, "objects")),
        color=alt.Color("line:N", scale=alt.Scale(domain=labels, range=colours), legend=_LEGEND),
    )
    y = alt.Y("median:Q", scale=alt.Scale(type="log"), axis=_build_axis(unit, values, "median"))
    dash = alt.StrokeDash("line:N", scale=alt.Scale(domain=labels, range=dashes), legend=_LEGEND)
    marks: alt.TopLevelMixin = alt.layer(
        base.mark_line(strokeWidth=2).encode(y=y, strokeDash=dash),
        base.mark_rule(strokeWidth=2).encode(y="least:Q", y2="most:Q"),
        base.mark_point(filled=True, size=45, opacity=1).encode(y="median:Q"),
    )
    return marks


def _build_axis(title: str, values: list[dict[str, Any]], name: str) -> alt.Axis:
    """An axis with a tick at each power of ten."""
    least, most = min(value[name] for value in values), max(value[name] for value in values)
    powers = [float(f"1e{power}") for power in range(-3, 12) if least / 10 <= float(f"1e{power}") <= most * 10]
    return alt.Axis(title=title, values=powers, format="~s")


def _render(name: str, chart: alt.TopLevelMixin) -> str:
    """The SVG, with ids of its own: vl-convert numbers them across the process."""
    drawn: str = vl_convert.vegalite_to_svg({**chart.to_dict(), "config": _CONFIG})
    for number, identifier in enumerate(dict.fromkeys(_IDENTIFIER.findall(drawn))):
        own = f"{name}-{number}"
        drawn = drawn.replace(f'id="{identifier}"', f'id="{own}"').replace(f"url(#{identifier})", f"url(#{own})")
    return f"{drawn}\n"
