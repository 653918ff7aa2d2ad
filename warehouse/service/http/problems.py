"""Errors in one shape: problem details for HTTP (RFC 9457), application/problem+json."""

from __future__ import annotations

import uuid
from collections.abc import MutableMapping
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from warehouse.access.patient_sets import DifferenceError
from warehouse.engine.faults import explain_fault
from warehouse.errors import (
    AccessRefusedError,
    LakeError,
    ManifestError,
    NotFoundError,
    SourceError,
    SplitLeakError,
    UntrustedSqlError,
    UsageError,
    WarehouseError,
)
from warehouse.masking import mask_secrets
from warehouse.service.core import ForbiddenError, OverloadedError

MEDIA_TYPE = "application/problem+json"

#: The first class that fits gives the status and the title.
_KINDS: tuple[tuple[type[WarehouseError], int, str], ...] = (
    (ForbiddenError, 403, "Not allowed"),
    (DifferenceError, 403, "Too small a difference"),  # one of the next, so it comes first
    (AccessRefusedError, 403, "Not covered by an agreement"),
    (OverloadedError, 503, "Too many requests"),
    (NotFoundError, 404, "Not found"),
    (UntrustedSqlError, 400, "SQL that is not allowed"),
    (UsageError, 400, "Invalid request"),
    (SplitLeakError, 409, "A split that leaks"),
    (ManifestError, 409, "A manifest that does not hold"),
    (SourceError, 502, "The bucket cannot be read"),
    (LakeError, 503, "The lake cannot be read"),
)


def make_problem(status: int, title: str, detail: str = "", **more: Any) -> Response:
    """A response in the shape of RFC 9457; `more` are further members."""
    headers = {"Cache-Control": "no-store"}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status == 503:
        headers["Retry-After"] = "5"
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def ask_for_token(accepted: str) -> Response:
    """The response to somebody unknown; a page, if a browser asks for one."""
    title, detail = "A token is needed", "Send it as  Authorization: Bearer TOKEN,  or open the address with ?token="
    if "text/html" not in accepted:
        return make_problem(401, title, detail)
    headers = {
        "Cache-Control": "no-store",
        "WWW-Authenticate": "Bearer",
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    }
    return HTMLResponse(_SIGN_IN.format(title=title), status_code=401, headers=headers)


_SIGN_IN = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<body style="max-width: 36em; margin: 14vh auto; padding: 0 24px; font: 16px/1.6 Helvetica, Arial, sans-serif">
<h1 style="font-size: 26px">{title}</h1>
<p>Open the whole address that  chest explore  or  chest serve  printed: it ends in <code>?token=…</code> and is valid
until that server ends. With a token of your own, add it to this address: <code>?token=YOUR TOKEN</code>.</p>
</body>
</html>
"""


def describe_error(error: WarehouseError) -> Response:
    """The response to an expected error."""
    status, title = getattr(error, "http", None) or next(
        ((status, title) for kind, status, title in _KINDS if isinstance(error, kind)), (500, "Error")
    )
    line = getattr(error, "line", None)
    return make_problem(status, title, str(error), **({"line": line} if line else {}))


async def handle_warehouse_error(request: Request, error: Exception) -> Response:
    """Handle an expected error; the line of log has its class."""
    assert isinstance(error, WarehouseError)
    note_error(request.scope, error)
    return describe_error(error)


def note_error(connection: MutableMapping[str, Any], error: WarehouseError) -> None:
    """Note an error for the line of log: its class, since its words may quote what was asked."""
    note(connection, error=type(error).__name__)


def note(connection: MutableMapping[str, Any], **facts: str) -> None:
    """Note facts for the line of log."""
    state = connection.setdefault("state", {})
    state["logged"] = {**state.get("logged", {}), **facts}


async def handle_http_error(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """Handle what Starlette itself refuses: an unknown path, a method that a path does not take."""
    assert isinstance(error, HTTPException)
    return describe_http_error(error)


def describe_http_error(error: HTTPException) -> Response:
    """The response to an error of HTTP itself."""
    standard, detail = HTTPStatus(error.status_code).phrase, str(error.detail)
    response = make_problem(error.status_code, standard, "" if detail == standard else detail)
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response


def handle_fault(connection: MutableMapping[str, Any], error: Exception) -> Response:
    """Handle an error that nobody expected: the log has its class and place under a number, the response the number.

    The words of such an error may quote values of patients, so neither has them.
    """
    import duckdb

    if isinstance(error, duckdb.Error | MemoryError) and (line := explain_fault(error)):
        note(connection, error=type(error).__name__)
        return make_problem(503, "The lake cannot be read", mask_secrets(line))
    facts = describe_fault(error)
    note(connection, **facts)
    return make_problem(500, "A fault of the program", f"It is in the server's log as fault {facts['fault']}.")


def describe_fault(error: Exception) -> dict[str, str]:
    """The class and the place of an error that nobody expected, under a number; not its words."""
    place = error.__traceback__
    while place and place.tb_next:
        place = place.tb_next
    where = f"{place.tb_frame.f_globals.get('__name__')}:{place.tb_lineno}" if place else "?"
    return {"error": type(error).__name__, "fault": uuid.uuid4().hex[:12], "at": where}
