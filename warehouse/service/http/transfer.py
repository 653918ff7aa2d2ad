"""What goes through the gate: bodies up to a length, in time; answers in parts, with the headers that all have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Message, Receive, Send
from starlette.types import Scope as Connection

#: Bytes of a body; longer ones are refused.
_LONGEST_BODY = 4_000_000
#: How long a body may take to come, in seconds; and bytes of an answer that are sent at once.
_BODY_SECONDS = 120.0
_PART = 256 * 1024

_TOO_LONG = f"A body has at most {_LONGEST_BODY:,} bytes."
_SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"same-origin"),
)


class Watched:
    """Sends, and remembers the status and the number of bytes."""

    def __init__(self, send: Send, prepare: Callable[[], Awaitable[None]]) -> None:
        """Send by this; `prepare` is done before the first is sent."""
        self._send, self._prepare = send, prepare
        self.status, self.n_bytes = 0, 0

    async def __call__(self, message: Message) -> None:
        """Send a message."""
        if message["type"] == "http.response.start":
            await self._prepare()
            self.status = message["status"]
            own = [*message.get("headers", [])]
            named = {name.lower() for name, _ in own}
            message = {**message, "headers": own + [each for each in _SAFE_HEADERS if each[0] not in named]}
        elif message["type"] == "http.response.body":
            body = message.get("body", b"")
            self.n_bytes += len(body)
            start = 0
            while len(body) - start > _PART:  # whoever reads slowly is seen to read (protocol.py)
                await self._send({**message, "body": body[start : start + _PART], "more_body": True})
                start += _PART
            message = {**message, "body": body[start:]}
        elif message["type"] == "websocket.accept":
            self.status = 101
        await self._send(message)

    async def answer(self, response: Response, inner: Connection, receive: Receive) -> None:
        """Send a response, unless one has begun: then the connection is cut, which a client notices."""
        if self.status:
            raise ConnectionResetError("the response was cut")
        await response(inner, receive, self)


def limit_body(connection: Connection, receive: Receive) -> Receive:
    """Receive a body up to its greatest length; HTTPException 413 beyond."""
    if connection["type"] != "http":
        return receive
    taken, is_whole, ends = 0, False, anyio.current_time() + _BODY_SECONDS
    if Headers(scope=connection).get("content-length", "0").rjust(20, "0") > str(_LONGEST_BODY).rjust(20, "0"):
        raise HTTPException(413, _TOO_LONG)

    async def receive_some() -> Message:
        nonlocal taken, is_whole
        if is_whole:  # what follows is that the client has gone, at any time
            return await receive()
        with anyio.CancelScope(deadline=ends) as waited:
            message = await receive()
        if waited.cancelled_caught:
            raise HTTPException(408, "The body did not come.")
        is_whole = not message.get("more_body", False)
        taken += len(message.get("body", b""))
        if taken > _LONGEST_BODY:
            raise HTTPException(413, _TOO_LONG)
        return message

    return receive_some
