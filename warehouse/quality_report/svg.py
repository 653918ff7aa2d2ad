"""Renders the charts of the quality report: Vega-Lite by Altair, converted to SVG by vl-convert.

SVG instead of scripts: a page with Vega is a megabyte, runs code wherever it is opened, is blocked by many mail
programs and prints badly. The figures behind a mark, which scripts would show, are in its <title>, which browsers show
as a tooltip. The same figures are in a table under each chart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from warehouse.text import replace_invalid_xml

if TYPE_CHECKING:
    import altair as alt

INK, QUIET, LINE, EMPTY = "#1f2933", "#52606d", "#d9dee3", "#fafbfc"
_FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"

_CONFIG = {
    "font": _FONT,
    "background": None,
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 11,
        "labelColor": INK,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "titleColor": QUIET,
        "gridColor": "#eceff2",
        "labelPadding": 7,
        "ticks": False,
        "domain": False,
    },
    "legend": {
        "labelFontSize": 11,
        "labelColor": INK,
        "titleFontSize": 11,
        "titleColor": QUIET,
        "titleFontWeight": "normal",
    },
}


def build_chart(values: list[dict[str, Any]], **size: Any) -> alt.Chart:
    """Create a chart of these rows."""
    import altair as alt

    return alt.Chart(alt.Data(values=values), **size)  # type: ignore[no-untyped-call]


_LEGAL_FORM = re.compile(r" (?:NHS (?:Foundation )?Trust|University Health Board|Health Board)$", re.IGNORECASE)


def shorten_names(centres: Iterable[str]) -> dict[str, str]:
    """Shorten names of centres for labels by removing common words; unshortened if two would be the same."""
    short = {centre: _LEGAL_FORM.sub("", centre) for centre in centres}
    used = [*short.values()]
    return {
        centre: name if used.count(name) == 1 and (name == centre or name not in short) else centre
        for centre, name in short.items()
    }


def render_svg(name: str, chart: alt.TopLevelMixin, title: str) -> str:
    """Render a chart as SVG for the page; `name` is for its ids, `title` for screen readers."""
    import vl_convert

    drawn = vl_convert.vegalite_to_svg({**_to_valid(chart.to_dict()), "config": _CONFIG})
    return _tidy(drawn, name, title)


def _to_valid(value: Any) -> Any:
    """A chart without characters that are invalid in XML, as rows of somebody else's lake may have anywhere."""
    if isinstance(value, dict):
        return {_to_valid(name): _to_valid(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [*map(_to_valid, value)]
    return replace_invalid_xml(value) if isinstance(value, str) else value


_TAG = re.compile(r"<[a-z][^<>]*>")
_ROLE = re.compile(
    r' (?:role|class|aria-roledescription|aria-hidden|pointer-events|xmlns:xlink|version|font-family)="[^"]*"'
)
_LABEL = re.compile(r'<(\w+) aria-label="([^"]*)"([^<>]*)/>')
_IDENTIFIER = re.compile(r'\bid="([^"]+)"')


def _tidy(drawn: str, name: str, title: str) -> str:
    """Prepare an SVG for the page: labels of marks become tooltips, ids and the name unique, the font that of the page.

    vl-convert numbers ids across the process, so they would differ from page to page. It escapes all data, so that
    tags can be distinguished from text.
    """
    drawn = _TAG.sub(lambda tag: _ROLE.sub("", tag[0]), drawn)
    drawn = _LABEL.sub(r"<\1\3><title>\2</title></\1>", drawn)
    for number, identifier in enumerate(dict.fromkeys(_IDENTIFIER.findall(drawn))):
        own = f"{name}-{number}"
        drawn = drawn.replace(f'id="{identifier}"', f'id="{own}"').replace(f"url(#{identifier})", f"url(#{own})")
    return drawn.replace("<svg ", f'<svg role="img" aria-label="{title}; its figures are in the table below" ', 1)
