"""Runs the service: the adapters that are mounted, the address, and uvicorn."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from warehouse.errors import UsageError
from warehouse.filesystem import files
from warehouse.query.session import ALL_GROUPS
from warehouse.service.scope import Scope
from warehouse.service.tokens import Caller, Rights, TokenFile
from warehouse.settings import SUPPRESS, Settings

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import BaseRoute

    from warehouse.service.core import Service
    from warehouse.service.http.gate import Entrance


@dataclass(frozen=True, slots=True)
class Options:
    """Where and for whom to serve."""

    host: str = "127.0.0.1"
    port: int = 8042
    token_file: Path | None = None
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    proxy_header: str = ""
    proxies: tuple[str, ...] = ()
    log: Path | None = None
    suppress: int = SUPPRESS
    viewer: Path | None = None
    #: The agreement of the token that is made at start.
    agreement: str = ""
    #: Seconds for which a client may let the server wait.
    patience: float = 30.0
    #: The most connections.
    connections: int = 1_000
    #: Whether all that is shown is read when the server starts, and not when somebody asks.
    is_warmed: bool = False


def serve(
    lake: str,
    settings: Settings,
    base: Scope,
    options: Options,
    announce: Callable[[str], object],
    report: Callable[[str], object],
) -> None:
    """Serve a lake until the process is interrupted; `announce` is given the address with its token, once it listens,
    and `report` lines about what is being read.

    LakeError if the lake cannot be opened; UsageError if the address cannot be used, or would be open to others without
    a token file, or if the extra `serve` is not installed.
    """
    require_closed(options)
    require_extra()
    import uvicorn

    from warehouse.engine import limits
    from warehouse.service.core import Service

    limits.release_process()
    _allow_files(4 * options.connections)
    with contextlib.ExitStack() as held:
        listening = held.enter_context(contextlib.closing(_listen(options.host, options.port)))
        port = listening.getsockname()[1]
        entrance, token = make_entrance(options)
        service = Service(lake, settings, base, suppress=options.suppress)
        held.callback(service.close)
        app = assemble(service, entrance, options, held.enter_context(_open_log(options.log)), report)
        config = configure(app, options)
        shown = f"[{options.host}]" if ":" in options.host else options.host
        announce(f"http://{shown}:{port}/" + (f"?token={token}" if token else ""))
        uvicorn.Server(config).run(sockets=[listening])


def serve_stdio(lake: str, settings: Settings, base: Scope, caller: Caller, log: Path | None, suppress: int) -> None:
    """Serve one assistant over stdin and stdout until stdin ends; errors as in `serve`."""
    require_extra()
    import anyio

    from warehouse.engine import limits
    from warehouse.service.core import Service
    from warehouse.service.http.log import RequestLog
    from warehouse.service.mcp.server import run_stdio

    limits.release_process()
    service = Service(lake, settings, base, suppress=suppress, processes=1)
    with contextlib.closing(service), _open_log(log) as file:
        anyio.run(run_stdio, service, caller, RequestLog(file))


def configure(app: Starlette, options: Options) -> uvicorn.Config:
    """How uvicorn serves the app: without words of its own in the log, and without patience for idle clients."""
    import logging

    import uvicorn

    from warehouse.service.http.protocol import ImpatientProtocol

    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # its tracebacks may quote values
    return uvicorn.Config(
        app,
        http=type("Protocol", (ImpatientProtocol,), {"patience": options.patience, "idle": {}}),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # anybody can send them; --proxy-header is believed of its proxy alone
        timeout_graceful_shutdown=5,
        timeout_keep_alive=15,
        limit_concurrency=options.connections,
    )


def assemble(
    service: Service, entrance: Entrance, options: Options, log: TextIO, report: Callable[[str], object] = len
) -> Starlette:
    """The app of a service with all its adapters; `report` is given a line when all has been read."""
    from warehouse.service import warming
    from warehouse.service.http.app import build_app
    from warehouse.service.http.log import RequestLog
    from warehouse.service.mcp.server import HttpAdapter

    assistants = HttpAdapter(service)
    routes = [*list_routes(service), *assistants.list_routes()]
    if options.viewer:
        from warehouse.service import viewer

        routes += viewer.list_routes(options.viewer)
    hosts = [*_LOOPBACK_NAMES, options.host, *options.hosts] if is_loopback(options.host) or options.hosts else []
    return build_app(
        service,
        entrance,
        routes=routes,
        hosts=hosts,
        origins=options.origins,
        log=RequestLog(log),
        running=[assistants.run(), *([warming.warm(service, report)] if options.is_warmed else [])],
    )


def list_routes(service: Service) -> list[BaseRoute]:
    """The routes of every adapter."""
    from warehouse.service import dicomweb
    from warehouse.service.explorer import routes as explorer
    from warehouse.service.http import api

    return [*api.list_routes(service), *dicomweb.list_routes(service), *explorer.list_routes(service)]


def make_entrance(options: Options) -> tuple[Entrance, str]:
    """How callers are recognised; and the token of this run, if no token file was given."""
    from warehouse.service.http.gate import Entrance

    proxies = options.proxies or ("127.0.0.1", "::1")
    if options.token_file:
        file = TokenFile(options.token_file)
        return Entrance(file=file, proxy_header=options.proxy_header, proxies=proxies), ""
    token = secrets.token_urlsafe(32)
    owner = Caller("owner", Rights.pixels, (ALL_GROUPS,), agreement=options.agreement)
    return Entrance(token=token, owner=owner, proxies=proxies), token


def require_closed(options: Options) -> None:
    """UsageError for options that would let others in without a token."""
    if not is_loopback(options.host) and not options.token_file:
        raise UsageError(
            f"{options.host} can be reached by others. Give --token-file, or serve on 127.0.0.1. "
            "Make a token:  chest token add tokens.json NAME --rights rows"
        )
    if options.proxy_header and not options.token_file:
        raise UsageError("--proxy-header needs --token-file, which lists the names that the proxy may send.")
    if "*" in options.origins:
        raise UsageError("--allow-origin takes the address of a site, such as https://viewer.example.org, not *.")


def require_extra() -> None:
    """UsageError unless the libraries of the extra `serve` are installed."""
    try:
        import fastapi  # noqa: F401
        import mcp  # noqa: F401
        import pebble  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UsageError(f"chest serve needs {error.name}: pip install 'chest-data-warehouse[serve]'") from None


def _allow_files(wanted: int) -> None:
    """Let the process have so many files open, as far as the system allows it: connections, and the objects that are
    read for them. By default many systems allow 1,024."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on Windows
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(1_024)  # now, since the address is announced next
    except OSError as error:
        listening.close()
        raise UsageError(
            f"{host}:{port} cannot be used: {error.strerror or error}. Choose another --port (0 for a free one)."
        ) from None
    return listening


@contextlib.contextmanager
def _open_log(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stderr
        return
    import io

    try:
        handle = files.open_to_append(path)
    except OSError as error:
        raise UsageError(f"The log {path} cannot be written: {error.strerror}.") from None
    with io.TextIOWrapper(handle, encoding="utf-8") as text:
        yield text
