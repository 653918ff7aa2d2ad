"""The heat maps of the quality report: completeness by field and centre, repairs by centre and rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.quality_report import svg
from warehouse.quality_report.model import Filled, Repairs, order_by_name

if TYPE_CHECKING:
    import altair as alt

#: Steps from none to all, which differ in lightness.
_SHARES = {
    "0 %": "#f4f1ea",
    "under 25 %": "#dceaf3",
    "25 to 49 %": "#a9cde4",
    "50 to 74 %": "#5fa3cf",
    "75 to 99 %": "#2470ac",
    "100 %": "#0b3c68",
}
_RATES = {
    "under 1": "#fdebd8",
    "1 to 4": "#fbc795",
    "5 to 19": "#ef8f4b",
    "20 to 99": "#cc5a1b",
    "100 or more": "#7f2f08",
}
_DARK = {"#2470ac", "#0b3c68", "#cc5a1b", "#7f2f08"}


def _find_share_step(percent: int) -> str:
    """The step of _SHARES for a share; the first and last steps are exactly none and all."""
    return [*_SHARES][5 if percent == 100 else percent and 1 + 4 * percent // 100]


def draw_completeness(cells: list[Filled]) -> str:
    """Chart the completeness of each field by centre, in a block per section of the record."""
    import altair as alt

    if not cells:
        return ""
    centres = sorted({cell.centre for cell in cells}, key=order_by_name)
    label = svg.shorten_names(centres)
    blocks: list[alt.LayerChart] = []
    for section in dict.fromkeys(cell.section for cell in cells):
        values = [
            {
                "x": label[cell.centre],
                "y": cell.column,
                "step": _find_share_step(cell.percent),
                "text": f"{cell.percent}",
                "tooltip": f"{cell.column}, {cell.centre}: {cell.n_filled:,} of {cell.n_records:,} ({cell.percent} %)",
            }
            for cell in cells
            if cell.section == section
        ]
        x = alt.Axis(title=None, orient="top", labelAngle=-60, labelAlign="left", labelLimit=230, labels=not blocks)
        y = alt.Axis(
            title=section.replace("_", " "),
            titleAngle=0,
            titleAlign="left",
            titleX=-310,
            titleY=9,
            titleColor=svg.INK,
            titleFontWeight="bold",
            labelLimit=230,
        )
        rows = [*dict.fromkeys(value["y"] for value in values)]
        tiles = _draw_tiles(values, ([label[centre] for centre in centres], x), (rows, y), _SHARES, "filled")
        blocks.append(tiles.properties(width=alt.Step(26), height=alt.Step(16)))
    return svg.render_svg("completeness", alt.vconcat(*blocks, spacing=5), "Completeness of each field by centre")


def _describe_repairs(count: Repairs, base: int) -> str:
    if base > 1:
        return f"{count.n_patients:,} of {count.n_files:,} patients"
    per_hundred = 100 * count.n_values / count.n_files
    return f"values {count.n_values:,}, patients {count.n_patients:,}, values for 100 files {per_hundred:.1f}"


def draw_repairs(counts: list[Repairs], dates: list[str], units: list[str], base: int = 0) -> str:
    """Chart the values of each centre that met rules on dates and on units; the colour is the rate per 100 files.

    Rounded to a base, numbers are of patients.
    """
    import altair as alt

    counts = [count for count in counts if count.rule in {*dates, *units}]
    if not counts:
        return ""
    centres = sorted({count.centre for count in counts}, key=order_by_name)
    label = svg.shorten_names(centres)
    blocks: list[alt.LayerChart] = []
    for rules in (dates, units):
        values = [
            {
                "x": count.rule,
                "y": label[count.centre],
                "step": [*_RATES][count.step],
                "text": f"{count.n_values:,}",
                "tooltip": f"{count.rule}, {count.centre}: {_describe_repairs(count, base)}",
            }
            for count in counts
            if count.rule in rules
        ]
        if values:
            x = alt.Axis(title=None, orient="top", labelAngle=-50, labelAlign="left", labelLimit=230)
            y = alt.Axis(title=None, labels=not blocks, labelLimit=320)
            tiles = _draw_tiles(
                values,
                (rules, x),
                ([label[centre] for centre in centres], y),
                _RATES,
                "of 100 patients" if base > 1 else "values for 100 clinical files",
            )
            blocks.append(tiles.properties(width=alt.Step(50), height=alt.Step(18)))
    return svg.render_svg("repairs", alt.hconcat(*blocks, spacing=14), "Repairs of dates and units by centre")


def _draw_tiles(
    values: list[dict[str, str]],
    across: tuple[list[str], alt.Axis],
    down: tuple[list[str], alt.Axis],
    steps: dict[str, str],
    legend: str,
) -> alt.LayerChart:
    """Chart a tile with its text for each value; `across` and `down` have the categories and axes."""
    import altair as alt

    x, y = (
        kind(f"{name}:N", scale=alt.Scale(domain=domain), axis=axis)
        for kind, name, (domain, axis) in ((alt.X, "x", across), (alt.Y, "y", down))
    )
    base = svg.build_chart(values)
    tiles = base.mark_rect(stroke="white", strokeWidth=1).encode(
        x=x,
        y=y,
        color=alt.Color(
            "step:N",
            scale=alt.Scale(domain=[*steps], range=[*steps.values()]),
            legend=alt.Legend(
                title=legend, orient="bottom", direction="horizontal", titleOrient="left", symbolSize=180
            ),
        ),
        description="tooltip:N",
    )
    dark = [step for step, colour in steps.items() if colour in _DARK]
    text = base.mark_text(fontSize=9, aria=False).encode(
        x=x,
        y=y,
        text="text:N",
        color=alt.condition(alt.FieldOneOfPredicate("step", dark), alt.value("white"), alt.value(svg.INK)),
    )
    layered: alt.LayerChart = (tiles + text).properties(view=alt.ViewBackground(fill=svg.EMPTY))
    return layered
