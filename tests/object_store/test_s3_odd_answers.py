"""A server of S3 that answers as none does: no answer fills the memory, and none about one object stops a refresh."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from conftest import start_lake
from faulty import Fault, Faulty, serve_faulty
from inventories import inventory_address, write_inventory
from metadata_tables import build_rows, write_parquet
from servers import S3

import warehouse
from warehouse.errors import SourceError
from warehouse.manifests.download_job import Wanted
from warehouse.manifests.loading.reading import Failed, read_object
from warehouse.object_store.base import Facts, ReadFailure
from warehouse.object_store.inventory import InventoryBucket
from warehouse.object_store.metadata_tables import MetadataTableBucket
from warehouse.object_store.s3 import S3Bucket
from warehouse.settings import Settings

BODY = b'{"Age": "5"}'
FOLDER = "training/P1/data/2020-03-01"
#: The second is a key that boto3 reads.
KEYS = (f"{FOLDER}/data.json", f"{FOLDER}//data.json")
ETAG = "99b318b276fd8b0fdcaaada79441e25c"
#: What the server would send, and of how much of it no reader takes more: what waits in buffers of the system, mostly.
ENDLESS, FEW = 256 << 20, 32 << 20


@pytest.fixture
def odd(server: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:
    """The server, which answers as others do until it is told to do otherwise."""
    server.put("odd", {**dict.fromkeys(KEYS, BODY), "training/P2/data/2020-03-01/data.json": BODY})
    with serve_faulty(server) as proxy:
        for name, value in proxy.s3.environment.items():
            monkeypatch.setenv(name, value)
        yield proxy


def is_odd(path: str) -> bool:
    """Whether a request is for the object that is answered in an odd way."""
    return "list-type" not in path and "/P1/" in path


def find_listed(bucket: S3Bucket, key: str) -> tuple[str, int]:
    """The etag and size of an object, as it is listed."""
    rows = [row for batch in bucket.listing() for row in batch.to_pylist() if row["key"] == key]
    return rows[0]["etag"], rows[0]["size"]


@dataclass
class Endless:
    """Answers with far more than was listed; `sent` counts the bytes that somebody took, after they have been taken."""

    etag: str = ""
    is_stated: bool = True
    sent: int = 0
    n_asked: int = 0

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        self.sent, piece = 0, b" " * (1 << 20)
        self.n_asked += 1
        handler.send_response(200)
        handler.send_header("ETag", f'"{self.etag}"')
        handler.send_header("Last-Modified", "Sun, 01 Mar 2020 00:00:00 GMT")
        handler.send_header("Content-Length", str(ENDLESS if self.is_stated else len(BODY)))
        if not self.is_stated:  # then the length that was stated does not count
            handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.close_connection = True
        if handler.command == "HEAD":
            return
        with contextlib.suppress(OSError):
            while self.sent < ENDLESS:
                handler.wfile.write(piece if self.is_stated else b"%x\r\n%b\r\n" % (len(piece), piece))
                self.sent += len(piece)


@pytest.mark.parametrize("is_stated", [True, False])
@pytest.mark.parametrize("key", KEYS)
def test_a_body_without_end_is_not_read_to_its_end(key: str, is_stated: bool, odd: Faulty) -> None:
    bucket = S3Bucket("s3://odd", Settings())
    etag, size = find_listed(bucket, key)
    answer = Endless(etag, is_stated)
    odd.fail(answer, when=is_odd)
    assert 0 in bucket.read_into(memoryview(bytearray(size)), [key], [etag], [size])
    assert answer.sent < FEW
    assert isinstance(bucket.read_range(key, etag, size, 0, size), ReadFailure)
    bucket.read_range(key, etag, size, 1, size - 1)  # of a server that ignores ranges
    assert answer.sent < FEW
    item = Wanted(key, f"s3://odd/{key}", key, size, etag, "s3://odd")
    assert isinstance(read_object(bucket, item), Failed)
    assert answer.sent < FEW
    if not is_stated:
        content = bucket.stream(key)
        assert not isinstance(content, ReadFailure)
        with pytest.raises(SourceError, match="more bytes than the server stated"):
            list(content.chunks)
        assert answer.sent < FEW


@pytest.mark.parametrize("name", ["manifest.json", "manifest.checksum", ".csv.gz"])
def test_a_file_of_an_inventory_without_end_is_not_read_to_its_end(name: str, server: S3, odd: Faulty) -> None:
    write_inventory(server, "odd", "CSV")
    answer = Endless()
    odd.fail(answer, when=lambda path: path.partition("?")[0].endswith(name))
    with pytest.raises(SourceError, match=r"more than 16 MB|more bytes than the server stated"):
        list(InventoryBucket("s3://odd", Settings(), inventory_address("odd")).listing())
    assert answer.n_asked
    assert answer.sent < FEW


def test_a_table_without_end_is_not_read_to_its_end(server: S3, odd: Faulty, tmp_path: Path) -> None:
    write_parquet(build_rows(server, "odd"), tmp_path)
    server.put("odd-tables", {"part.parquet": (tmp_path / "part-0.parquet").read_bytes()})
    (listed,) = [row for batch in S3Bucket("s3://odd-tables", Settings()).listing() for row in batch.to_pylist()]
    answer = Endless(listed["etag"])
    odd.fail(answer, when=lambda path: "list-type" not in path and path.partition("?")[0].endswith(".parquet"))
    with pytest.raises(SourceError, match="more bytes than the server stated"):
        MetadataTableBucket("s3://odd", Settings(), "s3://odd-tables/*.parquet")
    assert answer.n_asked
    assert answer.sent < FEW


def answer_with_headers(**headers: str | None) -> Fault:
    """Answer with the object, and with these headers, or without them."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        usual = {
            "ETag": f'"{ETAG}"',
            "Last-Modified": "Sun, 01 Mar 2020 00:00:00 GMT",
            "Content-Length": str(len(BODY)),
        }
        handler.send_response(200)
        for name, value in {**usual, **{name.replace("_", "-"): value for name, value in headers.items()}}.items():
            if value is not None:
                handler.send_header(name, value)
        handler.end_headers()
        handler.close_connection = True
        if handler.command != "HEAD":
            handler.wfile.write(BODY)

    return answer


#: Headers that one or the other client cannot read.
ODD = [
    {"x_amz_meta_name": "é"},
    {"x_amz_tagging_count": "many"},
    {"Last_Modified": "yesterday"},
    {"Content_Length": None},
    {"ETag": None},
    {"ETag": '"\xff"'},
]


@pytest.mark.parametrize("headers", ODD, ids=str)
def test_an_answer_that_cannot_be_read_is_that_of_one_object(headers: dict[str, str | None], odd: Faulty) -> None:
    bucket = S3Bucket("s3://odd", Settings())
    odd.fail(answer_with_headers(**headers), when=is_odd)
    for key in KEYS:
        read = bucket.read_into(memoryview(bytearray(len(BODY))), [key], [ETAG], [len(BODY)])
        assert all(isinstance(failure, ReadFailure) and failure.error is None for failure in read.values())
        content = bucket.stream(key)
        assert isinstance(content, ReadFailure) or content.size == len(BODY)
        assert isinstance(bucket.facts(key), Facts)


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("headers", ODD, ids=str)
def test_an_object_with_an_odd_answer_does_not_stop_a_refresh(
    headers: dict[str, str | None], odd: Faulty, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Anybody who may write an object may give it metadata, which some servers send as they are."""
    odd.fail(answer_with_headers(**headers), when=is_odd)
    lake = start_lake(tmp_path_factory.mktemp("odd") / "lake")
    warehouse.refresh("s3://odd", str(lake))
    with warehouse.open(str(lake)) as wh:
        assert ("P2",) in wh.sql("select patient_id from clinical_history").fetchall()
