"""Every address of the service and every tool of assistants, with something in the place of each part and argument."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from served import Served
from starlette.routing import BaseRoute, Mount

from warehouse.service.mcp.server import HttpAdapter
from warehouse.service.server import list_routes

#: What stands for the parts of an address.
_PARTS = {
    "patient_id": "PatA",
    "StudyInstanceUID": "1.9.65.1",
    "SeriesInstanceUID": "1.9.65.1.1",
    "SOPInstanceUID": "1.2.1",
    "frames": "1",
    "place:path": "x",
}
#: What stands for a name, by the address.
_NAMED = {"tables": "images", "cohorts": "covid_risk", "docs": "page.js", "assets": "explorer.css"}
#: Tools, each with arguments.
TOOLS: dict[str, dict[str, Any]] = {
    "list_tables": {},
    "describe_table": {"name": "images"},
    "list_cohorts": {},
    "show_cohort": {"name": "covid_risk"},
    "run_sql": {"sql": "from patients"},
    "patient_timeline": {"patient_id": "PatA"},
    "run_cohort": {"name": "covid_risk"},
    "count_cohort": {"name": "covid_risk"},
    "attrition": {"name": "covid_risk"},
    "table1": {"name": "covid_risk", "by": "covid_status"},
}


def walk(routes: list[BaseRoute], above: str = "") -> Iterator[tuple[str, str]]:
    """Every address below routes, with its methods."""
    for route in routes:
        path = f"{above}{getattr(route, 'path', '')}"
        below = getattr(getattr(route, "app", None), "routes", None) if isinstance(route, Mount) else None
        if below is not None:
            yield from walk(below, path)
            if isinstance(app := getattr(route, "app", None), FastAPI):
                paths = app.openapi()["paths"]
                yield from ((path + place, method.upper()) for place, each in paths.items() for method in each)
        else:
            yield from ((path, method) for method in (getattr(route, "methods", None) or ()) if method != "HEAD")


def fill(path: str) -> str:
    """An address with something in the place of each part."""
    for name, value in _PARTS.items():
        path = path.replace(f"{{{name}}}", value)
    for above, value in _NAMED.items():
        path = path.replace(f"{above}/{{name}}", f"{above}/{value}")
    assert "{" not in path
    return path


def list_addresses(server: Served) -> list[tuple[str, str]]:
    """Every address of a server with its methods."""
    assert server.service
    routes = [*list_routes(server.service), *HttpAdapter(server.service).list_routes()]
    return [*walk(routes), ("/health", "GET")]
