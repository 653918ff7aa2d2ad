"""Draws the attrition of a cohort as a flow chart: what remains goes down, what is excluded to the right.

Side steps (a list of swabs, for example) are on the left, next to the step that reads them. The chart is plain SVG;
PNG is rendered from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from warehouse.cohorts import demographics_bars
from warehouse.errors import UsageError
from warehouse.filesystem import files
from warehouse.text import replace_invalid_xml

if TYPE_CHECKING:
    from warehouse.cohorts.attrition import Count
    from warehouse.cohorts.demographics import Demographics

_WIDTH, _SIDE, _GAP, _LINE, _PAD = 400, 250, 44, 17, 12
#: The width of the main boxes with bars in them, and the height of those.
_WIDE, _BARS = 560, 4 * demographics_bars.BAR + 16
_STYLE = """
text { font-family: Helvetica, Arial, 'DejaVu Sans', sans-serif; font-size: 13px; fill: #1c2733; }
.name { font-weight: bold; } .small { fill: #55606e; font-size: 12px; } .title { font-size: 17px; font-weight: bold; }
.tiny { font-size: 11.5px; }
.box { fill: #ffffff; stroke: #33475b; } .lost { fill: #fdf3ec; stroke: #b5622a; }
.side { fill: #f0f4f8; stroke: #8798a9; } .last { fill: #e8f3ec; stroke: #2e7d4f; stroke-width: 2; }
.arrow { stroke: #33475b; fill: none; marker-end: url(#tip); }
"""


@dataclass(frozen=True, slots=True)
class _Box:
    x: float
    y: float
    width: float
    lines: list[tuple[str, str]]
    kind: str
    extra: float = 0

    @property
    def height(self) -> float:
        return len(self.lines) * _LINE + 2 * _PAD - 4 + self.extra

    @property
    def lines_end(self) -> float:
        return self.y + self.height - self.extra

    def svg(self) -> str:
        words = "".join(
            f'<text class="{kind}" x="{self.x + _PAD}" y="{self.y + _PAD + 9 + place * _LINE}">{escape(text)}</text>'
            for place, (kind, text) in enumerate(self.lines)
        )
        frame = f'x="{self.x}" y="{self.y}" width="{self.width}" height="{self.height}" rx="4"'
        return f'<rect class="{self.kind}" {frame}/>{words}'


def render_svg(
    title: str, subtitle: str, steps: Sequence[Count], demographics: Sequence[Demographics] = (), suppress: int = 0
) -> str:
    """Render the flow chart of the steps as SVG; with their demographics, if given, as bars in the boxes."""
    people = {step.step: step for step in demographics}
    levels = demographics_bars.find_levels(demographics)
    main = _WIDE if people else _WIDTH
    way = _find_main_path(steps)
    beside = [step for step in steps if step not in way]
    left = _SIDE + _GAP if beside else 0
    body: list[str] = []
    y = 76.0
    above: _Box | None = None
    for step in way:
        top = y
        lost = _describe_losses(step)
        if lost:
            dropped = _Box(left + 20 + main + _GAP, y - 10, _SIDE - 40, lost, "lost")
            top = y + max(0.0, dropped.height - 22)
            middle, height = left + 20 + main / 2, dropped.y + dropped.height / 2
            body += [dropped.svg(), _draw_arrow(middle, height, dropped.x, height)]
        kind, extra = "last" if step is steps[-1] else "box", _BARS if step.step in people else 0
        box = _Box(left + 20, top, main, _describe_step(step, 54 * main // _WIDTH), kind, extra)
        body.append(box.svg())
        if step.step in people:
            place = (box.x + _PAD, box.lines_end + 14, box.width - 2 * _PAD)
            body += demographics_bars.draw_bars(people[step.step], levels, *place, suppress)
        if above:
            middle = box.x + main / 2
            body.append(_draw_arrow(middle, above.y + above.height, middle, box.y))
        side, drawn = _draw_side_steps([s for s in beside if _find_reader(s, steps, way) == step.step], step, box)
        body += drawn
        above = box
        y = max(box.y + box.height, side) + 34
    width = left + 20 + main + _GAP + _SIDE - 40 + 20
    if people:
        legend, y = demographics_bars.draw_legend(levels, left + 20, y, main + _GAP + _SIDE - 40)
        body += [*legend]
        y += 12
    return _render_page(title, subtitle, body, width, y)


def _find_main_path(steps: Sequence[Count]) -> list[Count]:
    """Find the steps that lead to the answer, first to last."""
    known = {step.step: step for step in steps}
    way = [steps[-1]]
    while way[0].after:
        way.insert(0, known[way[0].after])
    return way


def _render_page(title: str, subtitle: str, body: Sequence[str], width: float, height: float) -> str:
    head = f'<text class="title" x="20" y="32">{escape(title)}</text>'
    head += f'<text class="small" x="20" y="54">{escape(subtitle)}</text>'
    tip = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#33475b"/></marker></defs>'
    )
    size = f'width="{width}" height="{height:.0f}" viewBox="0 0 {width} {height:.0f}"'
    return replace_invalid_xml(
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
        f'<style>{_STYLE}</style>{tip}<rect width="100%" height="100%" fill="#ffffff"/>{head}{"".join(body)}</svg>\n'
    )


def _draw_side_steps(steps: Sequence[Count], reader: Count, box: _Box) -> tuple[float, list[str]]:
    """Draw the side steps next to the step that reads them, one below the other; also returns their lower edge."""
    drawn: list[str] = []
    boxes: dict[str, _Box] = {}
    y = box.y
    for step in steps:
        side = _Box(20, y, _SIDE, _describe_step(step, 34), "side")
        drawn.append(side.svg())
        drawn += [
            _draw_arrow(20 + _SIDE / 2, boxes[read].y + boxes[read].height, 20 + _SIDE / 2, side.y)
            for read in step.reads
            if read in boxes and boxes[read].y + boxes[read].height + 24 == side.y
        ]
        if step.step in reader.reads:
            drawn.append(_draw_arrow(20 + _SIDE, side.y + 20, box.x, min(side.y + 20, box.y + box.height - 8)))
        boxes[step.step] = side
        y = side.y + side.height + 24
    return y - 24, drawn


def save_chart(picture: str, target: Path) -> None:
    """Write a chart to a file, as SVG or PNG according to its extension."""
    ending = target.suffix.lower()
    if ending not in (".svg", ".png"):
        raise UsageError(f"{target} ends in neither .svg nor .png. Rename it.")
    try:
        with files.write_atomically(target) as file:
            if ending == ".svg":
                file.write(picture.encode())
            else:
                import vl_convert

                file.write(vl_convert.svg_to_png(picture, scale=2))
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}.") from None


def _find_reader(step: Count, steps: Sequence[Count], way: Sequence[Count]) -> str:
    """Find the step of the main path that reads a side step, directly or through other side steps."""
    on_way = [s.step for s in way]
    ahead = [step.step]
    for later in steps[steps.index(step) + 1 :]:
        if set(later.reads) & set(ahead):
            if later.step in on_way:
                return later.step
            ahead.append(later.step)
    return on_way[-1]


def _describe_step(step: Count, width: int) -> list[tuple[str, str]]:
    name = "Answer" if step.step == "answer" else step.step
    meaning = [("small", line) for line in wrap(step.meaning, width)][:5]
    counts = ", ".join(_format_count(n, what) for what in _ONE if (n := step.counts[what]) is not None)
    return [("name", name), *meaning, *(("", line) for line in wrap(counts or "not counted", width))]


_ONE = {"patients": "patient", "studies": "study", "series": "series", "images": "image"}


def _format_count(n: int, what: str) -> str:
    return f"{n:,}\u00a0{what if n != 1 else _ONE[what]}"


def _describe_losses(step: Count) -> list[tuple[str, str]]:
    """Describe the losses of a step, if any."""
    losses = [_format_count(n, what) for what, n in step.lost.items() if n]
    return [("name", "Excluded"), *(("", line) for line in losses)] if losses else []


def _draw_arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="arrow" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'
