"""Draws the demographics of a step as stacked bars for the flow chart of attrition, and their legend."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from warehouse.cohorts.demographics import FOLLOWED, Demographics
from warehouse.cohorts.demographics_lines import format_age, format_difference
from warehouse.cohorts.levels import NO_VALUE, order_levels

#: The height of a bar with its gap; the widths of the name before it and of the difference after it.
BAR, _NAME, _SMD = 22, 70, 66
_NAMES = {"age_group": "Age", "sex": "Sex", "ethnicity": "Ethnicity", "centre": "Centre"}
#: Ages from light to dark; other levels by their place, as many as can be told apart (Okabe and Ito 2008).
_AGES = ("#e7f0f7", "#cfe1ef", "#b3cfe5", "#93bbd8", "#70a3ca", "#4f8abb", "#3671a7", "#24588c", "#173f6b", "#0e2a4a")
_LEVELS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#0072b2", "#d55e00", "#7f8c9b")
_MISSING, _OTHERS = "#d5dae0", "#9aa5b1"
#: Colours on which text is white.
_DARK = {*_AGES[5:], "#0072b2", "#d55e00"}
_OTHERS_NAME, _MISSING_NAME = "others", "missing"


def find_levels(steps: Sequence[Demographics]) -> dict[str, dict[str, str]]:
    """The colours of the levels of each characteristic: of the most frequent, if there are more than colours."""
    found = {}
    for name in FOLLOWED:
        most = {
            level: max(step.levels[name].get(level, 0) for step in steps) for one in steps for level in one.levels[name]
        }
        known = [level for level in most if level != NO_VALUE]
        colours = _AGES if name == "age_group" else _LEVELS
        shown = sorted(sorted(known, key=lambda level: -most[level])[: len(colours)], key=order_levels)
        spread = len(colours) // max(len(shown), 1) if name == "age_group" else 1
        found[name] = {level: colours[place * spread] for place, level in enumerate(shown)}
        if len(shown) < len(known):
            found[name][_OTHERS_NAME] = _OTHERS
        if NO_VALUE in most:
            found[name][_MISSING_NAME] = _MISSING
    return found


def draw_bars(
    step: Demographics, levels: dict[str, dict[str, str]], x: float, y: float, width: float, suppress: int
) -> list[str]:
    """Draw a bar for each characteristic, its name before it and its difference from the step before after it."""
    drawn = []
    for place, name in enumerate(FOLLOWED):
        top = y + place * BAR
        drawn.append(_draw_text(x, top + 13, _NAMES[name]))
        drawn += _draw_bar(step.levels[name], name, levels[name], x + _NAME, top, width - _NAME - _SMD)
        # The difference of ages is that of their means: the first thing a reader asks.
        value = format_difference(step, "age" if name == "age_group" else name)
        drawn.append(_draw_text(x + width - _SMD + 8, top + 13, f"SMD {value}" if value else ""))
    age = f"mean age {format_age(step, suppress)}" if step.age else ""
    drawn.append(_draw_text(x, y - 6, age))
    return drawn


def _draw_bar(
    counts: dict[str, int], name: str, colours: dict[str, str], x: float, y: float, width: float
) -> list[str]:
    total = sum(counts.values())
    shown = {level: counts.get(level, 0) for level in colours}
    missing = counts.get(NO_VALUE, 0)
    rest = total - sum(shown.values()) - missing
    drawn = []
    for level, colour in colours.items():
        n = shown[level] or {_OTHERS_NAME: rest, _MISSING_NAME: missing}.get(level, 0)
        if not n:
            continue
        wide, share = width * n / total, f"{100 * n / total:.0f} %"
        drawn.append(
            f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="{BAR - 6}" fill="{colour}" stroke="#ffffff" '
            f'stroke-width="0.8"><title>{escape(f"{level}: {n:,} ({share})")}</title></rect>'
        )
        label = next((text for text in (f"{level} {share}", share) if _measure(text) + 4 <= wide), "")
        if name != "centre":
            ink = "#ffffff" if colour in _DARK else "#1c2733"
            drawn.append(_draw_text(x + wide / 2, y + 12, label, middle=True, colour=ink))
        x += wide
    return drawn


def _measure(text: str) -> float:
    """About how wide a text is; capitals are wider."""
    return sum(8.4 if sign.isupper() else 6.4 for sign in text)


def _draw_text(x: float, y: float, text: str, *, middle: bool = False, colour: str = "") -> str:
    how = (' text-anchor="middle"' if middle else "") + (f' style="fill: {colour}"' if colour else "")
    return f'<text class="tiny" x="{x:.1f}" y="{y:.1f}"{how}>{escape(text)}</text>' if text else ""


def draw_legend(levels: dict[str, dict[str, str]], x: float, y: float, width: float) -> tuple[list[str], float]:
    """Draw the legend of the bars, a block for each characteristic, and return its lower edge."""
    drawn = []
    for name in FOLLOWED:
        drawn.append(_draw_text(x, y + 10, _NAMES[name]))
        at = x + _NAME
        for text, colour in levels[name].items():
            needed = 18 + _measure(text) + 12
            if at + needed > x + width and at > x + _NAME:
                at, y = x + _NAME, y + 17
            drawn.append(f'<rect x="{at:.1f}" y="{y + 1:.1f}" width="11" height="11" fill="{colour}"/>')
            drawn.append(_draw_text(at + 16, y + 10, text))
            at += needed
        y += 22
    return drawn, y
