"""HTTP/1.1 with an end to patience: uvicorn itself waits for ever for a client that sends or reads nothing.

A client that opens connections and keeps them would in the end keep all others out. So the head of a request has to be
whole within some seconds and some bytes, and what is sent has to be read. The gate sends long answers in parts, so that
whoever reads slowly, but reads, is not cut off. When nearly as many connections are open as may be, a new one takes the
place of the one that has waited longest without asking anything.

Heads are parsed by httptools, which is written in C: h11 takes longer than a search for the series of a study.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Bytes of the head of a request; a connection that sends more is answered with 400 and closed.
_LONGEST_HEAD = 64 * 1024
#: How many of the connections that may be open are, when those that wait begin to make room.
_FULL = 0.9
_TOO_LONG = f"The head of a request has at most {_LONGEST_HEAD:,} bytes."


class ImpatientProtocol(HttpToolsProtocol):
    """A connection that is cut when its client lets the server wait for `patience` seconds."""

    patience = 30.0
    #: The connections of a server on which nothing is being answered, those that have waited longest first.
    idle: ClassVar[dict[ImpatientProtocol, None]] = {}
    _waiting: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None
    #: Bytes of the head that is being received: of its lines so far, and of what came after it had begun.
    _line_bytes = _later_bytes = 0
    _is_head = False

    def connection_made(self, transport: Any) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        self._waiting = self._set_timer()
        self.idle[self] = None
        longest = next(iter(self.idle))
        if longest is not self and len(self.connections) > (self.limit_concurrency or math.inf) * _FULL:
            del self.idle[longest]
            longest.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Wait for a request, unless one is being answered."""
        self._later_bytes = self._later_bytes + len(data) if self._is_head else 0
        if self._later_bytes > _LONGEST_HEAD:  # in one line, which is not parsed before its end
            self.send_400_response(_TOO_LONG)
            return
        super().data_received(data)
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if is_answering or self.transport.get_protocol() is not self:  # or it is a WebSocket now
            self._waiting = _cancel(self._waiting)
            self.idle.pop(self, None)
        elif self._waiting is None:
            self._waiting = self._set_timer()

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._is_head, self._line_bytes = True, 0

    def on_url(self, url: bytes) -> None:
        """A part of the address has come."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line has come."""
        self._count(len(name) + len(value) + len(": \r\n"))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._is_head = False
        super().on_headers_complete()

    def _count(self, n_bytes: int) -> None:
        self._line_bytes += n_bytes
        if self._line_bytes > _LONGEST_HEAD:
            raise ValueError(_TOO_LONG)  # which the parser turns into a request that is not valid

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it is there."""
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self.idle[self] = None

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._writing = self._writing or self._set_timer()

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        self._writing = _cancel(self._writing)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._waiting, self._writing = _cancel(self._waiting), _cancel(self._writing)
        self.idle.pop(self, None)
        super().connection_lost(exc)

    def _set_timer(self) -> asyncio.TimerHandle:
        return self.loop.call_later(self.patience, self.transport.abort)


def _cancel(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """Cancel a timer, if there is one; returns that there is none."""
    if timer is not None:
        timer.cancel()
    return None
