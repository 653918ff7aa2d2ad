"""The app: every adapter behind one gate."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from warehouse.errors import WarehouseError
from warehouse.service.core import Service
from warehouse.service.http.gate import Entrance, Gate
from warehouse.service.http.log import RequestLog
from warehouse.service.http.problems import handle_http_error, handle_warehouse_error


async def show_health(request: Request) -> Response:  # noqa: ARG001
    """Whether the server is there."""
    return PlainTextResponse("ok")


def build_app(
    service: Service,
    entrance: Entrance,
    *,
    routes: Sequence[BaseRoute] = (),
    hosts: Sequence[str] = (),
    origins: Sequence[str] = (),
    log: RequestLog | None = None,
    running: Sequence[AbstractAsyncContextManager[None]] = (),
) -> Starlette:
    """Build the ASGI app of a service.

    `hosts` are the names under which it may be addressed (all, if empty): a page of another site whose name was made to
    lead here is refused. `origins` are those sites whose pages may read the answers; none by default. `running` is what
    adapters need while the app runs.
    """

    @contextlib.asynccontextmanager
    async def live(app: Starlette) -> AsyncIterator[None]:  # noqa: ARG001
        async with contextlib.AsyncExitStack() as held:
            held.callback(service.close)
            held.callback(service.preparing.close)
            for each in running:
                await held.enter_async_context(each)
            yield

    log = log or RequestLog(sys.stderr)
    middleware = [Middleware(Gate, service=service, entrance=entrance, log=log, hosts=hosts, origins=origins)]
    if origins:
        cors = Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Accept", "Content-Type", "If-None-Match", "Range"],
            expose_headers=["ETag", "Content-Range", "X-Truncated"],
        )
        middleware.insert(0, cors)
    app = Starlette(
        routes=[Route("/health", show_health), *routes],
        middleware=middleware,
        lifespan=live,
        exception_handlers={WarehouseError: handle_warehouse_error, HTTPException: handle_http_error},
    )
    app.router.redirect_slashes = False  # to an address that whoever asks has chosen
    return app
