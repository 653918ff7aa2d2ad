"""A proxy in front of a real S3 server that fails on demand: throttles, breaks, resets, hangs, denies, lies."""

import contextlib
import http.client
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from botocore.config import Config
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


def lengthen_body(handler: BaseHTTPRequestHandler) -> None:
    """Let the server answer, but add some bytes to the body, and to its length."""


def drip(handler: BaseHTTPRequestHandler) -> None:
    """Let the server answer, but hand the body on in pieces with pauses."""


def hold_body(handler: BaseHTTPRequestHandler) -> None:
    """Let the server answer, but stop in the middle of the body for longer than a client waits."""


def recall_page(handler: BaseHTTPRequestHandler) -> None:
    """Answer with the page of the listing that was recorded earlier (`Faulty.earlier`), as a cache does."""


def repeat_page(handler: BaseHTTPRequestHandler) -> None:
    """Answer with the page of the listing before, so that it comes twice."""


#: Faults with which the server is asked all the same; what it answers is altered on the way.
_ON_THE_WAY = (cut_off, alter_byte, shorten_body, lengthen_body, drip, hold_body, recall_page, repeat_page)
#: Seconds between the pieces of a body that drips, and those for which it is held.
_PAUSE, _HOLD = 0.05, 2.0


def is_page(path: str) -> bool:
    """Whether a request is for a page of a listing, and not the first look at whether there is a bucket."""
    return "list-type" in path and "max-keys=1&" not in f"{path}&"


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
    """The proxy: `fault` answers the requests that `when` chooses, at most `times` of them; or a `plan` chooses faults.

    `page_size` makes pages of a listing smaller than the server's; `earlier` has those that were handed on while
    `is_recording`, by the path that was asked for.
    """

    s3: S3
    fault: Fault | None = None
    times: int = 1_000_000
    when: Callable[[str], bool] = lambda path: True
    plan: Callable[[str], Fault | None] | None = None
    failed: int = 0
    asked: int = 0
    page_size: int = 0
    is_recording: bool = False
    takes_whole_addresses: bool = True
    earlier: dict[str, bytes] = field(default_factory=dict)
    previous: bytes = b""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(
        self, fault: Fault | None, times: int = 1_000_000, when: Callable[[str], bool] = lambda path: True
    ) -> None:
        """From now on fail so."""
        with self.lock:
            self.fault, self.times, self.when, self.failed = fault, times, when, 0
            self.plan, self.asked, self.previous = None, 0, b""

    def follow(self, plan: Callable[[str], Fault | None] | None) -> None:
        """From now on fail as a plan says, which is called with the path of each request, one at a time."""
        self.fail(None)
        with self.lock:
            self.plan = plan

    def take(self, path: str) -> Fault | None:
        """The fault for a request, if it is to fail."""
        with self.lock:
            self.asked += 1
            if self.plan:
                fault = self.plan(path)
                self.failed += fault is not None
                return fault
            if self.fault is None or self.failed >= self.times or not self.when(path):
                return None
            self.failed += 1
            return self.fault


def alter(state: Faulty, fault: Fault | None, path: str, content: bytes) -> bytes:
    """The body that a fault makes of what the server has answered; itself, if it makes none."""
    if fault is alter_byte and len(content) > 1:
        content = content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]
    elif fault is shorten_body:
        content = content[: len(content) // 2]
    elif fault is lengthen_body:
        content += b"  more"
    elif fault is recall_page:
        content = state.earlier.get(path, content)
    elif fault is repeat_page:
        content = state.previous or content
    if is_page(path):
        with state.lock:
            state.previous = content
            if state.is_recording:
                state.earlier[path] = content
    return content


def sign(server: S3, path: str) -> tuple[str, dict[str, str]]:
    """A path as the server's own client would ask for it, and the headers that sign it."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest("GET", server.endpoint + path)
    request.context["client_config"] = Config()
    S3SigV4Auth(Credentials(server.key, server.secret), "s3", "us-east-1").add_auth(request)
    return path, dict(request.headers.items())


@contextlib.contextmanager
def serve_faulty(server: S3) -> Iterator[Faulty]:
    """Run the proxy in a thread; its `s3` is what users connect to."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            if state.takes_whole_addresses:  # as every server must
                self.path = re.sub(r"^http://[^/]+", "", self.path)
            fault = answer_with(400, "InvalidURI") if self.path.startswith("http") else state.take(self.path)
            if fault and fault not in _ON_THE_WAY:
                fault(self)
                return
            answer, content = self.ask_server()
            whole = answer.getheader("Content-Length") or str(len(content))
            altered = content if self.command == "HEAD" else alter(state, fault, self.path, content)
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", whole if altered is content else str(len(altered)))
            self.end_headers()
            self.hand_on(fault, altered)

        def ask_server(self) -> tuple[http.client.HTTPResponse, bytes]:
            length = int(self.headers.get("Content-Length") or 0)
            path, headers = self.path, dict(self.headers)
            if state.page_size and is_page(path) and "max-keys" not in path:
                path, headers = sign(server, f"{path}&max-keys={state.page_size}")
            behind = http.client.HTTPConnection(server.endpoint.removeprefix("http://"))
            behind.request(self.command, path, self.rfile.read(length) if length else None, headers)
            answer = behind.getresponse()
            content = answer.read()
            behind.close()
            return answer, content

        def hand_on(self, fault: Fault | None, content: bytes) -> None:
            half = len(content) // 2
            if fault is cut_off:
                fault(self)
                self.wfile.write(content[:half])
            elif fault in (drip, hold_body):
                self.wfile.write(content[:half])
                time.sleep(_HOLD if fault is hold_body else _PAUSE)
                self.wfile.write(content[half:])
            else:
                self.wfile.write(content)

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
