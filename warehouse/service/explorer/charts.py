"""Draws the charts of the pages as SVG whose marks are links: they work without a script and with the keyboard.

Positions are per cent of the width, so that a chart is as wide as its column and its words keep their size. Colours are
those of the style sheet, light or dark.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from warehouse.disclosure_control import format_rounded
from warehouse.service.explorer.rounding import Value

if TYPE_CHECKING:
    from warehouse.service.explorer.timeline import Event

_HEIGHT, _FLOOR, _LEFT = 190, 158, 6.0
#: Years that the chart of months has on each side of the month with most patients.
_MOST_YEARS = 25
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def draw_columns(
    values: Sequence[Value], find_address: Callable[[str], str], name: str, base: int, *, is_time: bool = False
) -> str:
    """Draw a column for each value; `find_address` gives the address that chooses it."""
    if not values:
        return ""
    top = round_up(max(value.count for value in values))
    wide = (100 - _LEFT) / len(values)
    body = [_draw_grid(top)]
    for place, value in enumerate(values):
        x = _LEFT + place * wide
        tall = (_FLOOR - 14) * value.count / top
        shown = f"{value.label}: {format_rounded(value.count, base)} patients"
        mark = " chosen" if value.is_chosen else ""
        label = _label_column(values, place, is_time)
        words = f'<text class="tick" x="{x + wide / 2:.3f}%" y="{_FLOOR + 17}">{escape(label)}</text>' if label else ""
        body.append(
            f'<a href={quoteattr(find_address(value.value))} class="column{mark}" data-swap '
            f"data-key={quoteattr(f'{name} {value.value}')} aria-label={quoteattr(shown)}>"
            f'<rect class="hit" x="{x:.3f}%" y="0" width="{wide:.3f}%" height="{_HEIGHT}"/>'
            f'<rect class="mark" x="{x + wide * 0.09:.3f}%" y="{_FLOOR - tall:.1f}" width="{wide * 0.82:.3f}%" '
            f'height="{tall:.1f}"/><title>{escape(shown)}</title>{words}</a>'
        )
    return f'<svg class="columns" height="{_HEIGHT}" width="100%" role="group">{"".join(body)}</svg>'


def draw_bar(count: int, most: int) -> str:
    """Draw the bar of a value in a list, as long as its share of the largest."""
    share = 100 * count / most if most else 0
    return f'<svg class="bar" width="100%" height="6" aria-hidden="true"><rect width="{share:.2f}%" height="6"/></svg>'


def fill_months(values: Sequence[Value]) -> list[Value]:
    """The months with those between them that have no patient to show, so that distances are those of time."""
    if not values:
        return []
    # A wrong date would make the axis so long that nothing could be seen: what is far from most patients is left out.
    year = int(max(values, key=lambda value: value.count).value[:4])
    months = {value.value: value for value in values if abs(int(value.value[:4]) - year) <= _MOST_YEARS}
    (year, month), last = map(int, min(months).split("-")), max(months)
    filled: list[Value] = []
    while (key := f"{year:04}-{month:02}") <= last:
        filled.append(months.get(key) or Value(key, key, 0, is_chosen=False))
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
    return filled


def round_up(most: int) -> int:
    """The end of an axis: the next 1, 2 or 5 with zeros."""
    zeros: int = 10 ** (len(str(max(most, 1))) - 1)
    return next(end for end in (zeros, 2 * zeros, 5 * zeros, 10 * zeros) if end >= most)


def draw_timeline(events: Sequence[Event], lanes: Sequence[str], span: tuple[date, date], day: date) -> str:
    """Draw what happened on its day, with a line to the day on which it became known; `day` is marked.

    `lanes` are the rows, one for each kind of event; `span` are the days at the ends.
    """
    first, last = span
    days = max((last - first).days, 1)

    def find_x(when: date) -> float:
        return 13 + 84 * (when - first).days / days

    floor = 30 * len(lanes) + 14
    body = [
        f'<text class="{end}" x="{find_x(when):.2f}%" y="{floor + 18}">{when}</text>'
        for end, when in (("begin", first), ("scale", last))[: 2 if first != last else 1]
    ]
    for place, lane in enumerate(lanes):
        y = 30 * place + 22
        body.append(
            f'<text class="lane" x="0" y="{y + 4}">{escape(lane)}</text>'
            f'<line class="grid" x1="13%" x2="97%" y1="{y}" y2="{y}"/>'
        )
    for event in events:
        y = 30 * lanes.index(event.lane) + 22
        known, happened = find_x(event.available), find_x(max(first, event.day or event.available))
        kind = "record" if event.kind == "record" else "study"
        mark = " new" if event.is_new else ""
        body.append(
            f'<g class="event {kind}{mark}"><line x1="{happened:.2f}%" x2="{known:.2f}%" y1="{y}" y2="{y}"/>'
            f'<circle cx="{happened:.2f}%" cy="{y}" r="6"/><title>{escape(event.describe())}</title></g>'
        )
    x = find_x(min(max(day, first), last))
    body.append(f'<line class="now" x1="{x:.2f}%" x2="{x:.2f}%" y1="4" y2="{floor}"/>')
    size = f'width="100%" height="{floor + 26}"'
    return f'<svg class="timeline" {size} role="img" aria-label="Timeline">{"".join(body)}</svg>'


def _draw_grid(top: int) -> str:
    lines = []
    for share in (0.5, 1.0):
        y = _FLOOR - (_FLOOR - 14) * share
        shown = top * share
        if shown == int(shown):
            lines.append(
                f'<line class="grid" x1="{_LEFT}%" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>'
                f'<text class="scale" x="{_LEFT - 1}%" y="{y + 4:.1f}">{int(shown):,}</text>'
            )
    lines.append(f'<line class="floor" x1="{_LEFT}%" x2="100%" y1="{_FLOOR}" y2="{_FLOOR}"/>')
    return "".join(lines)


def _label_column(values: Sequence[Value], place: int, is_time: bool) -> str:
    """The words below a column: of months, each January, and others where there is room."""
    value = values[place]
    if not is_time:
        return value.label
    year, month = value.value.split("-")
    step = 3 if len(values) <= 36 else 12
    if (int(month) - 1) % step and not (place == 0 and len(values) < 4):
        return ""
    return year if month == "01" else _MONTHS[int(month) - 1]
