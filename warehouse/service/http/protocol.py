"""HTTP/1.1 with an end to patience: uvicorn itself waits for ever for a client that sends or reads nothing.

A client that opens connections and keeps them would in the end keep all others out. So the head of a request has to be
whole within some seconds, and what is sent has to be read. The gate sends long answers in parts, so that whoever reads
slowly, but reads, is not cut off.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class ImpatientProtocol(H11Protocol):
    """A connection that is cut when its client lets the server wait for `patience` seconds."""

    patience = 30.0
    _waiting: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        self._waiting = self._set_timer()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a head, if it is not whole."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._waiting = _cancel(self._waiting)
        elif self._waiting is None:
            self._waiting = self._set_timer()

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
        super().connection_lost(exc)

    def _set_timer(self) -> asyncio.TimerHandle:
        return self.loop.call_later(self.patience, self.transport.abort)


def _cancel(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """Cancel a timer, if there is one; returns that there is none."""
    if timer is not None:
        timer.cancel()
    return None
