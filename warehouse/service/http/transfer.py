"""What goes through the gate: bodies up to a length, in time; answers in parts, with the headers that all have."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import anyio
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Message, Receive, Send
from starlette.types import Scope as Connection

from warehouse.service.core import OverloadedError
from warehouse.service.http.problems import describe_error, note_error

#: Bytes of a body; longer ones are refused.
_LONGEST_BODY = 4_000_000
#: How long a body may take to come, in seconds; and bytes of an answer that are sent at once.
_BODY_SECONDS = 120.0
_PART = 256 * 1024

_UNREAD = "Too much of what you asked for is not read yet. Read that first."
_TOO_LONG = f"A body has at most {_LONGEST_BODY:,} bytes."
_SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"same-origin"),
)


class Unread:
    """The bytes of answers that clients have still to read, by caller: the server has them in memory until then.

    Not counted is what is read piece by piece, as their client reads it.
    """

    def __init__(self, most: int) -> None:
        """At most so many of one caller, and twice as many of all."""
        self._most = most
        self._held: Counter[str] = Counter()

    def may_hold(self, caller: str, n_bytes: int) -> bool:
        """Whether so many more may be held: always those of a first answer, unless others have too many."""
        mine, all_ = self._held[caller], self._held.total()
        return n_bytes <= _PART or (
            (not mine or mine + n_bytes <= self._most) and (not all_ or all_ + n_bytes <= 2 * self._most)
        )

    @contextlib.contextmanager
    def hold(self, caller: str, n_bytes: int) -> Iterator[None]:
        """Hold so many bytes while they are sent."""
        self._held[caller] += n_bytes
        try:
            yield
        finally:
            self._held[caller] -= n_bytes
            if not self._held[caller]:
                del self._held[caller]


@dataclass
class Watched:
    """Sends by `send`, and remembers the status and the number of bytes.

    `prepare` is done before the first is sent, which is when there is something to send after the head. `find_caller`
    names for whom it is; an answer that would be one too many of `unread` is replaced by that of `refuse`.
    """

    send: Send
    prepare: Callable[[], Awaitable[None]]
    unread: Unread
    find_caller: Callable[[], str]
    refuse: Callable[[], Response]
    status: int = 0
    n_bytes: int = 0
    _head: Message | None = None
    _is_refused: bool = False

    async def __call__(self, message: Message) -> None:
        """Send a message."""
        if self._is_refused:
            return
        if message["type"] == "http.response.start":
            self._head = message
        elif message["type"] == "http.response.body":
            await self._send_body(message)
        else:
            if message["type"] == "websocket.accept":
                self.status = 101
            await self.send(message)

    async def _send_body(self, message: Message) -> None:
        body, caller = message.get("body", b""), self.find_caller()
        if not self.unread.may_hold(caller, len(body)):
            if self.status:  # it has begun: the connection is cut
                raise OverloadedError(_UNREAD)
            response = self.refuse()
            self._head = {"status": response.status_code, "headers": response.raw_headers}
            message, body, self._is_refused = {"type": message["type"]}, bytes(response.body), True
        with self.unread.hold(caller, len(body)):
            await self._send_head()
            self.n_bytes += len(body)
            start = 0
            while len(body) - start > _PART:  # whoever reads slowly is seen to read (protocol.py)
                await self.send({**message, "body": body[start : start + _PART], "more_body": True})
                start += _PART
            await self.send({**message, "body": body[start:]})

    async def _send_head(self) -> None:
        if self._head is None:
            return
        head, self._head = self._head, None
        await self.prepare()
        self.status = head["status"]
        own = [*head.get("headers", [])]
        named = {name.lower() for name, _ in own}
        headers = own + [each for each in _SAFE_HEADERS if each[0] not in named]
        await self.send({"type": "http.response.start", **head, "headers": headers})

    async def answer(self, response: Response, inner: Connection, receive: Receive) -> None:
        """Send a response, unless one has begun: then the connection is cut, which a client notices."""
        if self.status:
            raise ConnectionResetError("the response was cut")
        await response(inner, receive, self)


def refuse_unread(connection: Connection) -> Response:
    """The answer to who has too much to read; noted for the line of log."""
    error = OverloadedError(_UNREAD)
    note_error(connection, error)
    return describe_error(error)


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
