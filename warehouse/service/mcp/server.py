"""The MCP server: over stdio for one assistant, and at /mcp for all that the gate lets in."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from warehouse.docs.skill_page import render_rules, render_skill
from warehouse.service.core import Service
from warehouse.service.http.log import RequestLog
from warehouse.service.mcp.asking import Calls
from warehouse.service.mcp.tools import add_tools
from warehouse.service.tokens import Caller
from warehouse.version import __version__


def build_server(calls: Calls) -> MCPServer[Any]:
    """Build the server with its tools, and the guide for assistants as a resource."""
    with _keep_logging():
        server: MCPServer[Any] = MCPServer(
            "chest-data-warehouse",
            title="Chest Data Warehouse",
            instructions=render_rules(),
            version=__version__,
            log_level="CRITICAL",
            subscriptions=False,
        )
    add_tools(server, calls)

    @server.resource("chest://skill", name="skill", title="How to ask the warehouse", mime_type="text/markdown")
    def read_skill() -> str:
        """How to ask the warehouse rightly: its clocks, groups, views and their grain, cohorts, rounded counts."""
        return render_skill()

    return server


class HttpAdapter:
    """MCP at /mcp: each request is answered by itself, so that its token and scope are those of the gate."""

    def __init__(self, service: Service) -> None:
        """Build the server and its transport."""
        server = build_server(Calls(service))
        self._manager = StreamableHTTPSessionManager(server._lowlevel_server, json_response=True, stateless=True)

    def list_routes(self) -> list[BaseRoute]:
        """The routes of the adapter: without GET, a stream of messages that is open for ever, and none would come."""
        return [Route("/mcp", _Endpoint(self._manager), methods=["POST"])]

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """What runs while the app does."""
        async with self._manager.run():
            yield


class _Endpoint:
    """An ASGI app, which Starlette asks for every method."""

    def __init__(self, manager: StreamableHTTPSessionManager) -> None:
        self._manager, self.__name__ = manager, "call_tool"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._manager.handle_request(scope, receive, send)


async def run_stdio(service: Service, caller: Caller, log: RequestLog) -> None:
    """Serve one assistant over stdin and stdout, until stdin ends."""
    await build_server(Calls(service, caller, log)).run_stdio_async()


@contextlib.contextmanager
def _keep_logging() -> Any:
    """Keep the SDK from setting up logging, and its words from the log: they may quote arguments and answers."""
    root = logging.getLogger()
    handlers, level = [*root.handlers], root.level
    logging.getLogger("mcp").setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
