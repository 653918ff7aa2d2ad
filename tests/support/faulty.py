"""A proxy in front of a real S3 server that fails on demand: throttles, breaks, resets, hangs, denies."""

import contextlib
import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from servers import HOST, S3

Fault = Callable[[BaseHTTPRequestHandler], None]


def answer_with(status: int, code: str) -> Fault:
    """Answer with one of S3's refusals."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        body = f"<Error><Code>{code}</Code><Message>the server failed</Message></Error>".encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/xml")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    return answer


def reset_connection(handler: BaseHTTPRequestHandler) -> None:
    """Reset the connection."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


def stall(handler: BaseHTTPRequestHandler) -> None:
    """Answer nothing for longer than any timeout, then close."""
    time.sleep(3)
    handler.close_connection = True


def cut_off(handler: BaseHTTPRequestHandler) -> None:
    """Let the server answer, but go in the middle of its body."""
    handler.close_connection = True


def alter_byte(handler: BaseHTTPRequestHandler) -> None:
    """Let the server answer, but change one byte on the way."""


def shorten_body(handler: BaseHTTPRequestHandler) -> None:
    """Let the server answer, but hand on half of the body as if it were all."""


def answer_with_page(handler: BaseHTTPRequestHandler) -> None:
    """Answer with a login page, as a proxy does."""
    body = b"<!DOCTYPE html><html><body>Please log in</body></html>"
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.send_header("Content-Length", str(len(body)))
    handler.send_header("ETag", '"login"')
    handler.send_header("Last-Modified", "Wed, 01 Apr 2020 10:00:00 GMT")
    handler.end_headers()
    handler.wfile.write(body)


@dataclass
class Faulty:
    """The proxy: `fault` answers the requests that `when` chooses, at most `times` of them."""

    s3: S3
    fault: Fault | None = None
    times: int = 1_000_000
    when: Callable[[str], bool] = lambda path: True
    failed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(
        self, fault: Fault | None, times: int = 1_000_000, when: Callable[[str], bool] = lambda path: True
    ) -> None:
        """From now on fail so."""
        with self.lock:
            self.fault, self.times, self.when, self.failed = fault, times, when, 0

    def take(self, path: str) -> Fault | None:
        """The fault for a request, if it is to fail."""
        with self.lock:
            if self.fault is None or self.failed >= self.times or not self.when(path):
                return None
            self.failed += 1
            return self.fault


@contextlib.contextmanager
def serve_faulty(server: S3) -> Iterator[Faulty]:
    """Run the proxy in a thread; its `s3` is what users connect to."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            if fault := state.take(self.path):
                fault(self)
                if fault not in (cut_off, alter_byte, shorten_body):
                    return
            length = int(self.headers.get("Content-Length") or 0)
            behind = http.client.HTTPConnection(server.endpoint.removeprefix("http://"))
            behind.request(self.command, self.path, self.rfile.read(length) if length else None, dict(self.headers))
            answer = behind.getresponse()
            content = answer.read()
            if fault is alter_byte:
                content = content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]
            if fault is shorten_body:
                content = content[: len(content) // 2]
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length", "date", "server"):
                    self.send_header(name, value)
            whole = len(content) if fault is shorten_body else answer.getheader("Content-Length") or len(content)
            self.send_header("Content-Length", str(whole))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if fault is cut_off else content)
            behind.close()

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = forward  # noqa: N815

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *args: object) -> None:
            """A client that has gone is what these tests are about."""

    proxy = Server((HOST, 0), Handler)
    state = Faulty(replace(server, endpoint=f"http://{HOST}:{proxy.server_address[1]}"))
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        proxy.shutdown()
        proxy.server_close()
