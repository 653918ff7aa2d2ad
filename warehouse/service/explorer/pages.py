"""Renders the pages: Jinja2 templates, which escape all data, under a policy that allows only our own files."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, Response

from warehouse.disclosure_control import format_rounded
from warehouse.service.explorer.charts import draw_bar
from warehouse.service.explorer.facets import capitalise_name

if TYPE_CHECKING:
    import jinja2

_HERE = Path(__file__).parent
#: The files that pages load, and their types.
ASSETS = {"explorer.css": "text/css", "explorer.js": "text/javascript"}
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)


def render(template: str, code: int = 200, /, **values: Any) -> Response:
    """Render a template as a page that may not be cached: what it shows depends on who asks."""
    page = _environment().get_template(template).render(version=_find_version(), **values)
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"}
    return HTMLResponse(page, status_code=code, headers=headers)


def read_asset(name: str) -> Response:
    """One of our own files; KeyError for any other."""
    content = (_HERE / "assets" / name).read_bytes() if name in ASSETS else None
    if content is None:
        raise KeyError(name)
    return Response(content, media_type=ASSETS[name], headers={"Cache-Control": "private, max-age=86400"})


@cache
def _find_version() -> str:
    """A digest of the files that pages load, so that a browser fetches them again when they change."""
    content = b"".join((_HERE / "assets" / name).read_bytes() for name in ASSETS)
    return hashlib.sha256(content).hexdigest()[:12]


@cache
def _environment() -> jinja2.Environment:
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["draw_bar"] = lambda count, most: Markup(draw_bar(count, most))  # noqa: S704, two numbers
    environment.filters["rounded"] = format_rounded
    environment.filters["thousands"] = lambda number: f"{number:,}"
    environment.filters["fact"] = _format_fact
    environment.filters["centre"] = lambda name: capitalise_name(name) if name else "–"
    return environment


def _format_fact(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
