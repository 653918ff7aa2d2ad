"""A stand-in for S3 that lists and returns any number of objects without having them (synthetic_store.py).

    python -m benchmarks.synthetic_s3 [--objects 1000000] [--delay 0.08] [--threads 1 16]

Measures how long a listing takes by one thread and by several, each page after a delay. It answers ListObjectsV2,
GetObject and HeadObject from one process, and counts the requests by kind.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import re
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any
from urllib.parse import parse_qs, quote, unquote
from urllib.request import urlopen

import boto3
from botocore.config import Config

from benchmarks.synthetic_store import WRITTEN_AT, Store
from benchmarks.tables import render_table
from warehouse.object_store.s3_ranges import list_by_ranges

#: What a client needs besides the endpoint.
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "KEY", "AWS_SECRET_ACCESS_KEY": "SECRET", "AWS_REGION": "us-east-1"}

#: Its own addresses: the requests counted since the last time; another generation of the bucket.
_COUNTS, _GENERATION = "/-/counts", "/-/generation/"
_RANGE = re.compile(rb"\r\nrange: *bytes=([0-9]+)-([0-9]*)", re.IGNORECASE)
_LISTED_AT = f"{WRITTEN_AT:%Y-%m-%dT%H:%M:%S}.000Z"
_MODIFIED = f"Last-Modified: {WRITTEN_AT:%a, %d %b %Y %H:%M:%S} GMT\r\n"


class _Bucket:
    """The store, the etags of what is fetched (MD5s of the bytes, made once), and the counts of requests."""

    def __init__(self, store: Store, has_bodies: bool) -> None:
        self.store, self.counts = store, Counter[str]()
        self._digests = bytearray(16 * store.n_objects if has_bodies else 0)
        for number in range(store.n_objects if has_bodies else 0):
            if store.is_small(number):
                self._digests[16 * number : 16 * number + 16] = _digest(store.make_body(number))

    def get_etag(self, number: int) -> str:
        """The etag of an object: the MD5 of its bytes, if it is one that is fetched."""
        if not self._digests or not self.store.is_small(number):
            return self.store.make_etag(number)
        if self.store.is_changed(number):
            return _digest(self.store.make_body(number)).hex()
        return self._digests[16 * number : 16 * number + 16].hex()

    def list_page(self, asked: dict[str, str]) -> bytes:
        """A page of the listing as ListObjectsV2 answers it."""
        store, prefix = self.store, asked.get("prefix", "")
        everything = range(store.n_objects)
        end = bisect_left(everything, f"{prefix}\U0010ffff", key=store.make_key) if prefix else store.n_objects
        if "continuation-token" in asked:
            first = int(asked["continuation-token"])
        else:
            first = bisect_right(everything, asked.get("start-after", ""), key=store.make_key)
            first = max(first, bisect_left(everything, prefix, key=store.make_key)) if prefix else first
        last = min(first + int(asked.get("max-keys", 1000)), end)
        rows = "".join(
            f"<Contents><Key>{quote(store.make_key(number))}</Key><LastModified>{_LISTED_AT}</LastModified>"
            f"<ETag>&quot;{self.get_etag(number)}&quot;</ETag><Size>{store.get_size(number)}</Size></Contents>"
            for number in range(first, last)
        )
        more = f"<NextContinuationToken>{last}</NextContinuationToken>" if last < end else ""
        is_cut = str(bool(more)).lower()
        return (
            f"<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{is_cut}</IsTruncated>"
            f"{more}{rows}</ListBucketResult>"
        ).encode()

    def answer(self, request: bytes) -> bytes:
        """The whole answer to a request."""
        method, target, _ = request.split(b" ", 2)
        path, _, query = target.decode().partition("?")
        if path.startswith("http://"):  # the whole address, as of a proxy
            path = "/" + path.split("/", 3)[3]
        if path == _COUNTS:
            found, self.counts = self.counts, Counter()
            return _render("200 OK", json.dumps(found).encode())
        if path.startswith(_GENERATION):
            self.store = replace(self.store, generation=int(path.removeprefix(_GENERATION)))
            return _render("200 OK", b"")
        key = unquote(path.split("/", 2)[2]) if path.count("/") > 1 else ""
        if not key:
            self.counts["LIST"] += 1
            asked = {name: values[0] for name, values in parse_qs(query).items()}
            return _render("200 OK", self.list_page(asked))
        self.counts[method.decode()] += 1
        return self._answer_object(method, key, _RANGE.search(request))

    def _answer_object(self, method: bytes, key: str, part: re.Match[bytes] | None) -> bytes:
        number = self.store.find_number(key)
        if number is None:
            return _render("404 Not Found", b"<Error><Code>NoSuchKey</Code></Error>")
        more, status = f'ETag: "{self.get_etag(number)}"\r\n{_MODIFIED}', "200 OK"
        if method == b"HEAD":
            return _render(status, b"", more, self.store.get_size(number))
        body = self.store.make_body(number)
        if part:
            first, size = int(part[1]), len(body)
            body = body[first : int(part[2]) + 1 if part[2] else None]
            status = "206 Partial Content"
            more += f"Content-Range: bytes {first}-{first + len(body) - 1}/{size}\r\n"
        return _render(status, body, more)


def _digest(body: bytes) -> bytes:
    return hashlib.md5(body, usedforsecurity=False).digest()


def _render(status: str, body: bytes, more: str = "", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n{more}\r\n".encode() + body


class _Connection(asyncio.Protocol):
    """A connection that is kept; each request is answered after the delay, if it is one of the listing."""

    def __init__(self, bucket: _Bucket, delay: float) -> None:
        self._bucket, self._delay, self._read = bucket, delay, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        *requests, self._read = (self._read + data).split(b"\r\n\r\n")
        for request in requests:
            answer = self._bucket.answer(request)
            if self._delay and b"list-type" in request.partition(b"\r\n")[0]:
                asyncio.get_running_loop().call_later(self._delay, self._transport.write, answer)
            else:
                self._transport.write(answer)


@dataclass(frozen=True, slots=True)
class Served:
    """A bucket that is served: its endpoint."""

    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs."""
        return {**ENVIRONMENT, "AWS_ENDPOINT_URL": self.endpoint}

    def take_counts(self) -> dict[str, int]:
        """The requests by kind since the last time."""
        with urlopen(f"{self.endpoint}{_COUNTS}") as answer:
            found: dict[str, int] = json.load(answer)
        return found

    def set_generation(self, generation: int) -> None:
        """Change 0.1 % of the objects, or change them back."""
        urlopen(f"{self.endpoint}{_GENERATION}{generation}").close()


@contextlib.contextmanager
def serve_store(n_objects: int, *, delay: float = 0.0, has_bodies: bool = True) -> Iterator[Served]:
    """Serve a bucket from a process of its own, under any name; without bodies it can only be listed."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(n_objects, delay, has_bodies, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Served(f"http://127.0.0.1:{ours.recv()}")
    finally:
        process.kill()
        process.join()


def _serve(n_objects: int, delay: float, has_bodies: bool, link: Any) -> None:
    async def run() -> None:
        bucket = _Bucket(Store(n_objects), has_bodies)
        server = await asyncio.get_running_loop().create_server(lambda: _Connection(bucket, delay), "127.0.0.1", 0)
        link.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def measure_listing(n_objects: int, delay: float, threads: int) -> tuple[float, float]:
    """The seconds of a listing, and its CPU seconds in this process."""
    with serve_store(n_objects, delay=delay, has_bodies=False) as served:
        client = boto3.client(
            "s3",
            endpoint_url=served.endpoint,
            aws_access_key_id="k",
            aws_secret_access_key="s",
            region_name="us-east-1",
            config=Config(max_pool_connections=max(threads, 1)),
        )
        start, cpu = time.perf_counter(), time.process_time()
        found = sum(batch.num_rows for batch in list_by_ranges(client, "chest", "", threads))
        assert found == n_objects
        return time.perf_counter() - start, time.process_time() - cpu


def main() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser()
    words.add_argument("--objects", type=int, default=1_000_000)
    words.add_argument("--delay", type=float, default=0.08)
    words.add_argument("--threads", type=int, nargs="+", default=[1, 16])
    given = words.parse_args()
    rows = [("threads", "seconds", "CPU seconds", "objects/s", "ratio")]
    first = 0.0
    for threads in given.threads:
        seconds, cpu = measure_listing(given.objects, given.delay, threads)
        first = first or seconds
        rows.append(
            (str(threads), f"{seconds:.1f}", f"{cpu:.1f}", f"{given.objects / seconds:,.0f}", f"{first / seconds:.1f}")
        )
    print(render_table(rows))


if __name__ == "__main__":
    main()
