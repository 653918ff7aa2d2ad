"""A stand-in for S3 that lists any number of objects without having them: keys are computed, pages come after a delay.

    python -m benchmarks.synthetic_s3 [--objects 1000000] [--delay 0.08] [--threads 1 16]

Measures how long a listing takes by one thread and by several.
"""

import argparse
import contextlib
import time
from bisect import bisect_right
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import boto3
from botocore.config import Config

from benchmarks.measure import Row, render_table
from warehouse.object_store.s3_ranges import list_by_ranges

#: Images, headers and clinical files of a patient, about as in the sample.
_OF_PATIENT = 16
_ETAG = "&quot;0123456789abcdef0123456789abcdef&quot;"


def make_key(number: int) -> str:
    """The key of an object, in the order of numbers."""
    patient, place = divmod(number, _OF_PATIENT)
    kind, end = ("images", "dcm") if place < _OF_PATIENT // 2 else ("images_metadata", "json")
    return f"training/Covid{patient:08}/{kind}/2020-03-{1 + place % 8:02}/{number:010}.{end}"


@contextlib.contextmanager
def serve_listing(n_objects: int, delay: float) -> Iterator[str]:
    """Serve the bucket from a process of its own; yields its endpoint."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(n_objects, delay, theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.kill()


def _serve(n_objects: int, delay: float, link: Any) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            time.sleep(delay)
            body = build_page(n_objects, asked).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    link.send(server.server_address[1])
    server.serve_forever()


def build_page(n_objects: int, asked: dict[str, str]) -> str:
    """A page of the listing as ListObjectsV2 answers it."""
    most = int(asked.get("max-keys", 1000))
    if "continuation-token" in asked:
        first = int(asked["continuation-token"])
    else:
        first = bisect_right(range(n_objects), asked.get("start-after", ""), key=make_key)
    last = min(first + most, n_objects)
    rows = "".join(
        f"<Contents><Key>{quote(make_key(number))}</Key><LastModified>2020-04-01T00:00:00.000Z</LastModified>"
        f"<ETag>{_ETAG}</ETag><Size>6400</Size></Contents>"
        for number in range(first, last)
    )
    more = f"<NextContinuationToken>{last}</NextContinuationToken>" if last < n_objects else ""
    return (
        f"<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{str(bool(more)).lower()}</IsTruncated>"
        f"{more}{rows}</ListBucketResult>"
    )


def measure_listing(n_objects: int, delay: float, threads: int) -> tuple[float, float]:
    """The seconds of a listing, and its CPU seconds in this process."""
    with serve_listing(n_objects, delay) as endpoint:
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
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
    rows: list[Row] = [("threads", "seconds", "CPU seconds", "objects/s", "ratio")]
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
