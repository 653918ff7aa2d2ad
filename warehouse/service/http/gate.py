"""The gate in front of every adapter: who asks, of which scope; errors in one shape; a line of log for each request.

A token comes as `Authorization: Bearer`, as a cookie, or once as `?token=` in the address of a page, which is answered
by setting the cookie. Handlers find the caller, the scope and the number of the snapshot in `request.state`.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from warehouse.engine.placeholders import refuse_placeholders
from warehouse.errors import UsageError, WarehouseError
from warehouse.service.core import ForbiddenError, OverloadedError, Service
from warehouse.service.http.log import RequestLog
from warehouse.service.http.problems import (
    ask_for_token,
    describe_error,
    describe_http_error,
    handle_fault,
    make_problem,
    note_error,
)
from warehouse.service.http.transfer import Unread, Watched, limit_body, refuse_unread
from warehouse.service.scope import split_path
from warehouse.service.tokens import Caller, TokenFile, hash_token

#: Paths that need no token: whether the server is there. They disclose nothing.
_OPEN = frozenset({"/health"})
#: Bytes of a path with its query; longer ones are refused.
_LONGEST_PATH = 16_384


@dataclass(frozen=True, slots=True)
class Entrance:
    """How callers are recognised: by a token made at start, by a token file, by a header of a reverse proxy.

    The header counts only from the addresses in `proxies`, and so does X-Forwarded-Proto.
    """

    token: str = ""
    owner: Caller | None = None
    file: TokenFile | None = None
    proxy_header: str = ""
    proxies: Collection[str] = ("127.0.0.1", "::1")

    def find_by_token(self, token: str) -> Caller | None:
        """The caller of a token, if it is known."""
        if self.owner and self.token and hash_token(token) == hash_token(self.token):
            return self.owner
        return self.file.find_by_token(token) if self.file else None

    def find(self, connection: Connection) -> Caller | None:
        """The caller of a request: by its header, its cookie, or its proxy."""
        headers = Headers(scope=connection)
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self.find_by_token(token.strip())
        if (token := _read_cookie(headers, _name_cookie(connection))) and (found := self.find_by_token(token)):
            return found
        if self.proxy_header and self.file and (name := headers.get(self.proxy_header)):
            return self.file.find_by_name(name) if self._is_of_proxy(connection) else None
        return None

    def find_scheme(self, connection: Connection) -> str:
        """By which scheme a client asks, which may be another than that by which its proxy does."""
        scheme = str(connection.get("scheme") or "http")
        forwarded = Headers(scope=connection).get("x-forwarded-proto", "").strip().lower()
        return "https" if forwarded == "https" and scheme == "http" and self._is_of_proxy(connection) else scheme

    def _is_of_proxy(self, connection: Connection) -> bool:
        return (connection.get("client") or ("",))[0] in self.proxies


class Gate:
    """ASGI middleware: an app behind it sees only requests of a known caller with a valid scope."""

    def __init__(
        self,
        app: ASGIApp,
        service: Service,
        entrance: Entrance,
        log: RequestLog,
        hosts: Collection[str] = (),
        origins: Collection[str] = (),
    ) -> None:
        """Stand in front of an app that is addressed as one of `hosts` (any, if there are none)."""
        self.app, self.service, self.entrance, self.log = app, service, entrance, log
        self.hosts = frozenset(host.lower() for host in hosts)
        self.origins = frozenset(origins)
        self._open: Counter[str] = Counter()
        self._unread = Unread(service.limits.most_unread)

    async def __call__(self, connection: Connection, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if connection["type"] == "lifespan":
            await self.app(connection, receive, send)
            return
        begun, inner = time.monotonic(), {**connection, "scheme": self.entrance.find_scheme(connection)}
        watched = Watched(
            send,
            lambda: self._write_refusals(inner),
            self._unread,
            lambda: _name_caller(inner),
            lambda: refuse_unread(inner),
        )
        try:
            response = await self._admit(inner)
            if response is None:
                with self._count(inner):
                    await self.app(inner, limit_body(inner, receive), watched)
            else:
                await response(inner, receive, watched)
        except WarehouseError as error:
            note_error(inner, error)
            await watched.answer(describe_error(error), inner, receive)
        except HTTPException as error:
            await watched.answer(describe_http_error(error), inner, receive)
        except Exception as error:
            await watched.answer(handle_fault(inner, error), inner, receive)
        finally:
            self._write(inner, watched, time.monotonic() - begun)

    @contextlib.contextmanager
    def _count(self, inner: Connection) -> Iterator[None]:
        """Count a request until its answer is sent; OverloadedError if a caller has too many.

        Whoever reads slowly has a connection, and often an open object, for as long as they like.
        """
        name = _name_caller(inner)
        if name and self._open[name] >= self.service.limits.most_of_caller:
            raise OverloadedError("Too many answers are being sent to you. Read those first.")
        self._open[name] += 1
        try:
            yield
        finally:
            self._open[name] -= 1
            if not self._open[name]:
                del self._open[name]

    async def _admit(self, inner: Connection) -> Response | None:
        """Set the caller and the scope of a request; a response if it is not let in, or is led elsewhere."""
        inner["state"] = state = dict(inner.get("state") or {})
        path, headers = inner["path"], Headers(scope=inner)
        if self.hosts and _read_host(headers) not in self.hosts:
            return make_problem(421, "Another name", "This server does not answer to that name. Name it by --name.")
        if len(inner.get("raw_path") or b"") + len(inner["query_string"]) > _LONGEST_PATH:
            return make_problem(414, "The address is too long", f"At most {_LONGEST_PATH:,} bytes.")
        if path in _OPEN:
            return None
        if (response := self._take_token(inner)) is not None:
            return response
        if not self._may_come_from(inner, headers):
            return make_problem(403, "Not allowed", "A page of another site may not ask.")
        try:
            caller = self.entrance.find(inner)
        except UsageError as error:  # the file is not there or not valid: nobody is let in
            note_error(inner, error)
            return make_problem(503, "No tokens", "The server's token file cannot be read.")
        if caller is None:
            return ask_for_token(headers.get("accept", ""))
        state["caller"] = caller
        asked = parse_qsl(inner["query_string"].decode("latin-1"))
        refuse_placeholders("The address", path, *(value for _, value in asked))
        taken, rest, scope = split_path(path, self.service.base)
        for name, value in asked:
            part = {"as_of": "asof", "snapshot": "snapshot", "group": "group"}.get(name)
            if part and rest.startswith("/api/"):
                scope = scope.set(part, value)
        if not caller.may_see(scope.group):
            raise ForbiddenError(f"Group {scope.group!r} is not among yours: {', '.join(caller.groups)}.")
        state["scope"] = scope = await self.service.permit(caller, scope)
        state["snapshot"] = await self.service.resolve(scope)
        state["prefix"] = taken
        inner["root_path"] = inner.get("root_path", "") + taken
        inner["path"] = inner["root_path"] + rest
        return None

    async def _write_refusals(self, inner: Connection) -> None:
        """Have the log of access what the caller was refused, before they are told."""
        if caller := (inner.get("state") or {}).get("caller"):
            await self.service.notes.write_refusals(caller)

    def _may_come_from(self, inner: Connection, headers: Headers) -> bool:
        """Whether a request comes from a page that may send it: of this server, or with a token of its own.

        Browsers add cookies by themselves, also for a page of another port of this machine.
        """
        if inner["type"] == "http" and inner["method"] in ("GET", "HEAD", "OPTIONS"):
            return True
        origin = headers.get("origin")
        if origin is None or "authorization" in headers or origin in self.origins:
            return True
        return origin.partition("://")[2] == headers.get("host")

    def _take_token(self, inner: Connection) -> Response | None:
        """Turn `?token=` of a page into a cookie, so that it stays in no history of addresses."""
        if inner["type"] != "http" or inner["method"] != "GET" or b"token=" not in inner["query_string"]:
            return None
        query = parse_qsl(inner["query_string"].decode("latin-1"), keep_blank_values=True)
        token = next((value for name, value in query if name == "token"), "")
        if not token or self.entrance.find_by_token(token) is None:
            return None
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        response = RedirectResponse("/" + inner["path"].lstrip("/\\") + (f"?{rest}" if rest else ""), status_code=303)
        response.set_cookie(
            _name_cookie(inner), token, httponly=True, samesite="strict", secure=inner.get("scheme") == "https"
        )
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    def _write(self, inner: Connection, watched: Watched, seconds: float) -> None:
        state = inner.get("state") or {}
        scope, endpoint = state.get("scope"), inner.get("endpoint")
        self.log.write(
            {
                "method": inner.get("method", inner["type"]),
                "asked": getattr(endpoint, "__name__", "unknown"),
                "status": watched.status,
                "ms": round(seconds * 1000, 1),
                "bytes": watched.n_bytes,
                "caller": getattr(state.get("caller"), "name", None),
                "snapshot": state.get("snapshot"),
                "as_of": getattr(scope, "as_of", None),
                "group": self.service.name_group(scope),
                **({"agreement": scope.cover.agreement} if scope and scope.cover else {}),
                **state.get("logged", {}),
            }
        )


def _name_caller(connection: Connection) -> str:
    """The name of the caller; "" for nobody who is known."""
    return getattr((connection.get("state") or {}).get("caller"), "name", "")


def _name_cookie(connection: Connection) -> str:
    """The name of the cookie: cookies know no ports, and two servers on one machine must not take each other's."""
    return f"chest_token_{(connection.get('server') or ('', 0))[1]}"


def _read_cookie(headers: Headers, name: str) -> str:
    """The value of a cookie; "" without it. Python's own parser can be kept busy for seconds by somebody unknown."""
    for part in headers.get("cookie", "").split(";"):
        found, _, value = part.partition("=")
        if found.strip() == name:
            return value.strip().strip('"')
    return ""


def _read_host(headers: Headers) -> str:
    """The name under which the server is addressed, without its port."""
    host = headers.get("host", "").lower()
    return host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]
