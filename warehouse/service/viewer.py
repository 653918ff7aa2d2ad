"""Serves the OHIF viewer beside DICOMweb, from a folder with its npm package (@ohif/app), of which nothing is changed.

    /ohif/                               its list of studies
    /asof/2020-06-01/ohif/viewer?StudyInstanceUIDs=1.2.3

Its files have absolute addresses (/app.bundle.js), so that they are served at the root; its pages are below /ohif,
after the day, snapshot, group or cohort that they show. Only its settings are ours: /app-config.js, which finds that
prefix in the address of the page. Nothing is downloaded while it runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from warehouse.errors import UsageError

PATH = "/ohif"
_CONFIG = "app-config.js"
_OURS = frozenset({"index.html", _CONFIG, "sw.js", "_headers", "_redirects", "serve.json"})


def find_build(folder: Path) -> Path:
    """The folder of the built viewer: the given one, or `dist` or `package/dist` in it; UsageError if there is none."""
    for place in (folder, folder / "dist", folder / "package" / "dist"):
        if (place / "index.html").is_file() and (place / _CONFIG).is_file():
            return place.resolve()
    raise UsageError(
        f"{folder} has no built OHIF viewer. Get one:  npm pack @ohif/app  and unpack it (docs/viewers.md)."
    )


def list_routes(folder: Path) -> list[BaseRoute]:
    """The routes of the viewer in a folder; UsageError if it is not there."""
    build = find_build(folder)

    async def show_viewer(request: Request) -> Response:  # noqa: ARG001
        return FileResponse(build / "index.html", headers={"Cache-Control": "no-cache"})

    async def configure_viewer(request: Request) -> Response:  # noqa: ARG001
        text = Path(__file__).with_name("viewer_config.js").read_text(encoding="utf-8")
        return Response(text, media_type="text/javascript", headers={"Cache-Control": "no-cache"})

    return [
        Route(f"/{_CONFIG}", configure_viewer),
        Route(PATH, show_viewer),
        Route(f"{PATH}/{{path:path}}", show_viewer),
        *_list_files(build),
    ]


def _list_files(build: Path) -> list[BaseRoute]:
    """A route for each of its files and folders; links are not followed."""
    routes: list[BaseRoute] = []
    for path in sorted(build.iterdir()):
        if path.is_symlink() or path.name in _OURS:
            continue
        if path.is_dir():
            routes.append(Mount(f"/{path.name}", StaticFiles(directory=path)))
        else:
            routes.append(Route(f"/{path.name}", _give(path)))
    return routes


def _give(path: Path) -> Callable[[Request], Awaitable[Response]]:
    async def give_file_of_viewer(request: Request) -> Response:  # noqa: ARG001
        return FileResponse(path, headers={"Cache-Control": "private, max-age=3600"})

    return give_file_of_viewer
