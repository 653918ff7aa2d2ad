"""A server of S3 that redirects: nothing that it names is asked, and what was to be read is missing with its reason."""

import contextlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

import pytest
from certificates import make_authority, make_server_files
from conftest import Chest, start_lake
from faulty import Fault, Faulty, serve_faulty
from metadata_tables import build_rows, write_iceberg
from servers import HOST, S3

import warehouse
from warehouse.errors import SourceError
from warehouse.object_store.base import ReadFailure
from warehouse.object_store.s3 import S3Bucket
from warehouse.settings import Settings
from warehouse.synthetic import make_bucket

REASON = "the server redirect"
OTHER = "127.0.0.2"
CODES = (301, 302, 303, 307, 308)


@dataclass
class Internal:
    """A service that only this machine reaches; `asked` has what it was asked for."""

    address: str
    asked: list[str] = field(default_factory=list)
    etag: str = ""
    body: bytes = b"internal"


@contextlib.contextmanager
def serve_internal(context: ssl.SSLContext | None = None, host: str = HOST) -> Iterator[Internal]:
    """Run one that answers as if it had the object that its asker wants."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(found.body)))
            self.send_header("ETag", f'"{found.etag}"')
            self.send_header("Last-Modified", "Tue, 05 May 2020 00:00:00 GMT")
            self.end_headers()
            self.wfile.write(found.body)

        do_HEAD = do_CONNECT = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((host, 0), Handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        found = Internal(f"http{'s' if context else ''}://{host}:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield found
        finally:
            server.shutdown()


@pytest.fixture
def internal() -> Iterator[Internal]:
    with serve_internal() as running:
        yield running


@pytest.fixture(scope="module")
def bucket(server: S3, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bucket, also on the server as `hostile`."""
    folder = tmp_path_factory.mktemp("redirects") / "bucket"
    make_bucket(folder, 4, seed=1, clean=True)
    server.upload(folder, "hostile")
    return folder


@pytest.fixture
def hostile(server: S3, bucket: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:
    """The server, honest until it is told to redirect."""
    with serve_faulty(server) as proxy:
        for name, value in proxy.s3.environment.items():
            monkeypatch.setenv(name, value)
        yield proxy


def redirect_to(address: str, code: int = 307) -> Fault:
    """Answer that the object is elsewhere."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        handler.send_header("Location", address)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def is_object(path: str) -> bool:
    """Whether a request is for an object, or for what a redirection named."""
    return "list-type" not in path


def pick(bucket: S3Bucket, ending: str) -> tuple[str, str, int]:
    """Key, etag and size of an object of the listing."""
    rows = [row for batch in bucket.listing() for row in batch.to_pylist() if row["key"].endswith(ending)]
    return rows[0]["key"], rows[0]["etag"], rows[0]["size"]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("place", ["{internal}/secret", "http://localhost:{port}/secret", "//{host}/secret", "/secret"])
def test_no_way_of_reading_follows_a_redirection(code: int, place: str, hostile: Faulty, internal: Internal) -> None:
    bucket = S3Bucket("s3://hostile", Settings())
    key, etag, size = pick(bucket, ".json")
    internal.etag, internal.body = etag, b"x" * size
    host = internal.address.removeprefix("http://")
    address = place.format(internal=internal.address, port=host.rpartition(":")[2], host=host)
    hostile.fail(redirect_to(address, code), when=is_object)
    read = bucket.read_into(memoryview(bytearray(size)), [key], [etag], [size])
    assert "redirected to another address, which is not followed" in read[0].reason
    for start, stop in ((0, size), (1, size - 1)):
        part = bucket.read_range(key, etag, size, start, stop)
        assert isinstance(part, ReadFailure)
    with pytest.raises(SourceError, match=REASON):
        bucket.stream(key)
    with pytest.raises(SourceError, match=REASON):
        bucket.stream(key, 5)
    assert internal.asked == []


@pytest.mark.slow
@pytest.mark.parametrize("proxy", ["", "NO_PROXY"])
def test_refresh_and_download_follow_no_redirection(
    proxy: str, hostile: Faulty, internal: Internal, tmp_path: Path, here: Chest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if proxy:
        monkeypatch.setenv(proxy, "*")
    lake = start_lake(tmp_path / "lake")
    warehouse.refresh("s3://hostile", str(lake))
    with warehouse.open(lake) as wh:
        ((patient,),) = wh.sql("select patient_id from images where dcm_key is not null limit 1").fetchall()
    hostile.fail(redirect_to(f"{internal.address}/secret"), when=is_object)
    got = here("download", patient, "--lake", lake, "-o", tmp_path / "data")
    assert got.returncode != 0
    assert REASON in got.stderr + got.stdout
    assert not [*(tmp_path / "data").rglob("*.dcm")]
    again = here("refresh", "s3://hostile", "--lake", start_lake(tmp_path / "another"))
    assert again.returncode != 0
    assert REASON in again.stderr
    assert internal.asked == []


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("ending", [".metadata.json", ".avro", ".parquet"])
def test_the_files_of_a_metadata_table_follow_no_redirection(
    code: int, ending: str, server: S3, hostile: Faulty, internal: Internal, tmp_path: Path
) -> None:
    address = write_iceberg(server, build_rows(server, "hostile")).metadata_location
    hostile.fail(
        redirect_to(f"{internal.address}/secret", code), when=lambda path: path.partition("?")[0].endswith(ending)
    )
    with pytest.raises(SourceError):
        warehouse.refresh("s3://hostile", str(start_lake(tmp_path / "lake")), settings=Settings(inventory=address))
    assert hostile.failed
    assert internal.asked == []


def test_a_server_that_takes_no_whole_address_is_read_by_boto3(hostile: Faulty, internal: Internal) -> None:
    """Some old servers; a hostile one gains nothing by it."""
    hostile.takes_whole_addresses = False
    bucket = S3Bucket("s3://hostile", Settings())
    key, etag, size = pick(bucket, ".json")
    internal.etag, internal.body = etag, b"x" * size
    assert isinstance(bucket.read_range(key, etag, size, 0, size), bytes)
    assert not isinstance(bucket.stream(key), ReadFailure)
    hostile.fail(redirect_to(f"{internal.address}/secret"), when=is_object)
    assert isinstance(bucket.read_range(key, etag, size, 0, size), ReadFailure)
    assert internal.asked == []


def test_a_proxy_of_the_users_is_asked_and_redirects_nobody(
    server: S3, hostile: Faulty, internal: Internal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", hostile.s3.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    bucket = S3Bucket("s3://hostile", Settings())
    key, etag, size = pick(bucket, ".json")
    asked = hostile.asked
    assert isinstance(bucket.read_range(key, etag, size, 0, size), bytes)
    assert hostile.asked > asked
    hostile.fail(redirect_to(f"{internal.address}/secret"), when=is_object)
    assert isinstance(bucket.read_range(key, etag, size, 0, size), ReadFailure)
    assert internal.asked == []


KEY, SIZE = "training/Covid1/data/2020-05-01/data.json", 13
LISTING = (
    "<ListBucketResult><Name>tls</Name><IsTruncated>false</IsTruncated><Contents>"
    f"<Key>{KEY}</Key><LastModified>2020-05-05T00:00:00.000Z</LastModified>"
    f"<ETag>&quot;abc&quot;</ETag><Size>{SIZE}</Size></Contents></ListBucketResult>"
).encode()


@contextlib.contextmanager
def serve_listing(context: ssl.SSLContext, elsewhere: str) -> Iterator[str]:
    """A server with TLS that lists one object, and says that it is elsewhere."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if is_object(self.path):
                redirect_to(elsewhere)(self)
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(LISTING)))
            self.end_headers()
            self.wfile.write(LISTING)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"https://{HOST}:{server.server_port}"
        finally:
            server.shutdown()


def test_a_server_with_tls_leads_to_no_other_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = make_authority(tmp_path)
    contexts = {}
    for address in (HOST, OTHER):
        contexts[address] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        contexts[address].load_cert_chain(*make_server_files(tmp_path, address, address, ca=ca))
    with (
        serve_internal(contexts[OTHER], OTHER) as internal,
        serve_listing(contexts[HOST], f"{internal.address}/secret") as endpoint,
    ):
        for name, value in S3(endpoint).environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(ca[2]))
        internal.etag, internal.body = "abc", b"x" * SIZE
        with urlopen(internal.address, context=ssl.create_default_context(cafile=ca[2])) as answer:
            assert answer.read() == internal.body, "it can be reached, and is trusted"
        bucket = S3Bucket("s3://tls", Settings(request_seconds=1))
        assert pick(bucket, ".json") == (KEY, "abc", SIZE)
        read = bucket.read_into(memoryview(bytearray(SIZE)), [KEY], ["abc"], [SIZE])
        assert isinstance(read[0], ReadFailure)
        assert internal.asked == ["/"]
