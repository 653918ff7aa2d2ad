"""Sends what is large piece by piece: bytes are read when a client has taken those before; no lake waits for it."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

import anyio
from starlette.responses import StreamingResponse

T = TypeVar("T")

#: For whom a request is, so that threads are shared fairly.
whose: ContextVar[str] = ContextVar("whose", default="")
#: Bytes that are read from a bucket at a time.
CHUNK = 1 << 18


@dataclass
class Threads:
    """Threads for reading from buckets and for decoding, which are no threads of the lake; of more than one, no caller
    has all."""

    count: int
    _limiter: anyio.CapacityLimiter | None = field(default=None, repr=False)
    _turns: dict[str, anyio.CapacityLimiter] = field(default_factory=dict, repr=False)

    async def run(self, do: Callable[..., T], *given: object) -> T:
        """Call a function that blocks, when a thread is free and it is the turn of the caller (`whose`)."""
        if self._limiter is None:  # belongs to the event loop that runs, as the next
            self._limiter = anyio.CapacityLimiter(self.count)
            self._turns = defaultdict(lambda: anyio.CapacityLimiter(max(1, self.count - 1)))
        async with self._turns[whose.get()]:
            return await anyio.to_thread.run_sync(do, *given, limiter=self._limiter)

    async def iterate(self, items: Iterable[T]) -> AsyncIterator[T]:
        """Iterate over something that blocks."""
        iterator, end = iter(items), object()
        while (found := await self.run(next, iterator, end)) is not end:
            yield found


async def begin(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Wait for the first piece, so that an error becomes a response; then the same pieces."""
    first = await anext(pieces, b"")

    async def go_on() -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    return go_on()


async def answer_pieces(
    pieces: AsyncIterator[bytes], content_type: str, length: int | None = None
) -> StreamingResponse:
    """A response of pieces. An error before the first is an answer of its own; after it, the connection is cut."""
    headers = {"Cache-Control": "private, no-cache"}
    if length is not None:
        headers["Content-Length"] = str(length)
    return StreamingResponse(await begin(pieces), headers={**headers, "Content-Type": content_type})


async def answer_parts(parts: AsyncIterator[tuple[str, str, AsyncIterator[bytes]]], media: str) -> StreamingResponse:
    """A response of several parts (PS3.18 8.6.1.2.1): each a Content-Type, a Content-Location, and its bytes."""
    boundary = f"chest-{secrets.token_hex(16)}"

    async def write() -> AsyncIterator[bytes]:
        async for content_type, location, pieces in parts:
            lines = [f"--{boundary}", f"Content-Type: {content_type}"]
            if location:
                lines.append(f"Content-Location: {location}")
            head = "\r\n".join([*lines, "", ""]).encode()
            async for piece in pieces:
                yield head + piece
                head = b""
            yield head + b"\r\n"
        yield f"--{boundary}--\r\n".encode()

    return await answer_pieces(write(), f'multipart/related; type="{media}"; boundary={boundary}')


async def give_once(piece: bytes) -> AsyncIterator[bytes]:
    """A single piece."""
    yield piece


def read_chunks(file: object, size: int = CHUNK) -> Iterator[bytes]:
    """The bytes of an open file."""
    while chunk := file.read(size):  # type: ignore[attr-defined]
        yield chunk
