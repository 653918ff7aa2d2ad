"""The HTTP API: /api/v1 with its OpenAPI document, and the page /docs that shows it, without any other server."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from warehouse.errors import WarehouseError
from warehouse.service.core import Service
from warehouse.service.http import api_cohorts, api_data, api_models
from warehouse.service.http.api_parameters import declare_scope
from warehouse.service.http.problems import (
    MEDIA_TYPE,
    handle_fault,
    handle_http_error,
    handle_warehouse_error,
    make_problem,
)
from warehouse.version import __version__

_PLACE = "/api/v1"
_DESCRIPTION = """
The warehouse, read-only: rows, counts and cohorts, each as of a day and of a published snapshot.

Send a token as `Authorization: Bearer TOKEN`. Any address may begin with its scope, `/asof/2020-06-01/api/v1/…`, or
have it as parameters. An answer is of one snapshot, and its ETag changes only with that. Errors are problem details
(RFC 9457).
"""
#: What the page loads, and where it is in the bundle.
_FILES = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Chest Data Warehouse: API</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="api"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/page.js"></script>
</body>
</html>
"""
_SCRIPT = """window.onload = () => SwaggerUIBundle({
  url: "api/v1/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  validatorUrl: null,
  tryItOutEnabled: true,
});
"""
#: Only what this server has; the page of swagger-ui sets styles of its own elements.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


def list_routes(service: Service) -> list[BaseRoute]:
    """The routes of the API and of its page."""
    return [
        Route("/docs", show_docs),
        Route("/docs/{name}", load_docs_file),
        Mount(_PLACE, app=build_api(service)),
    ]


def build_api(service: Service) -> FastAPI:
    """The application below /api/v1."""
    api = FastAPI(
        title="Chest Data Warehouse",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url=None,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(declare_scope)],
        responses={"4XX": {"content": {MEDIA_TYPE: {}}, "model": api_models.Problem, "description": "A problem"}},
        exception_handlers={
            WarehouseError: handle_warehouse_error,
            HTTPException: handle_http_error,
            RequestValidationError: handle_invalid_request,
        },
    )
    api.state.service = service
    api.include_router(api_data.router)
    api.include_router(api_cohorts.router)
    api.add_middleware(_Faults)
    api.add_route("/openapi.json", show_openapi)
    return api


async def show_openapi(request: Request) -> Response:
    """The OpenAPI document, with the address below which it was asked for."""
    document = await request.app.state.service.call(request.state.caller, write_document, request.app)
    return JSONResponse({**document, "servers": [{"url": request.scope["root_path"]}]})


def write_document(api: FastAPI) -> dict[str, Any]:
    """The OpenAPI document in version 3.0, which the page of swagger-ui 4 can show; with how a token is sent."""
    if hasattr(api.state, "document"):
        known: dict[str, Any] = api.state.document
        return known
    document: dict[str, Any] = _spell_null(api.openapi())
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    api.state.document = {**document, "openapi": "3.0.3", "security": [{"token": []}]}
    return write_document(api)


async def handle_invalid_request(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """Handle a request that is not as the OpenAPI document says: which part, and what is wrong; never its value."""
    assert isinstance(error, RequestValidationError)
    errors = [{"where": ".".join(map(str, each["loc"])), "what": each["msg"]} for each in error.errors()]
    detail = "; ".join(f"{each['where']}: {each['what']}" for each in errors[:3])
    return make_problem(422, "Invalid request", detail, errors=errors)


async def show_docs(request: Request) -> Response:  # noqa: ARG001
    """The page that shows the API, to be tried out."""
    return Response(_PAGE, media_type="text/html", headers={"Content-Security-Policy": _POLICY})


async def load_docs_file(request: Request) -> Response:
    """A file of the page."""
    name = request.path_params["name"]
    if name == "page.js":
        return _answer_file(request, _SCRIPT.encode(), "text/javascript")
    if name not in _FILES:
        raise HTTPException(404, "Not Found")
    return _answer_file(request, _read_bundle(name), _FILES[name])


def _answer_file(request: Request, data: bytes, media_type: str) -> Response:
    etag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=media_type, headers=headers)


@cache
def _read_bundle(name: str) -> bytes:
    import swagger_ui_bundle

    return (Path(swagger_ui_bundle.swagger_ui_path) / name).read_bytes()


def _spell_null(value: Any) -> Any:
    """Spell `null` in a schema as OpenAPI 3.0 does: `nullable`, and examples as one."""
    if isinstance(value, list):
        return [_spell_null(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {name: _spell_null(each) for name, each in value.items()}
    if isinstance(found.get("anyOf"), list):
        kinds = [each for each in found["anyOf"] if each != {"type": "null"}]
        if len(kinds) < len(found["anyOf"]):
            found["nullable"] = True
            del found["anyOf"]
            found = {**kinds[0], **found} if len(kinds) == 1 and "$ref" not in kinds[0] else {**found, "anyOf": kinds}
    if isinstance(found.get("examples"), list) and found["examples"]:
        found["example"] = found.pop("examples")[0]
    return found


class _Faults:
    """ASGI middleware: an unexpected error has the same shape as all others."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def watch(message: Any) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except Exception as error:
            if has_begun:
                raise
            await handle_fault(scope, error)(scope, receive, send)
