"""A server in front of an S3 server that asks for fewer requests, or refuses, before it lets any through."""

import contextlib
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from servers import HOST

_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


class Gate:
    """`refusals` requests are still answered by `status`; `asked` counts all."""

    def __init__(self, refusals: int, status: int) -> None:
        self.refusals = refusals
        self.status = status
        self.asked = 0
        self.endpoint = ""
        self._lock = threading.Lock()

    def lets_through(self) -> bool:
        """Whether this request may pass."""
        with self._lock:
            self.asked += 1
            self.refusals -= 1
            return self.refusals < 0


@contextlib.contextmanager
def serve_gate(upstream: str, refusals: int, status: int = 503) -> Iterator[Gate]:
    """A gate before the S3 server at `upstream`."""
    this = Gate(refusals, status)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if not this.lets_through():
                body = _SLOW_DOWN if this.status == 503 else _DENIED
                self.answer(this.status, {"Content-Type": "application/xml"}, body)
                return
            request = urllib.request.Request(upstream + self.path, headers=dict(self.headers), method=self.command)
            try:
                with urllib.request.urlopen(request) as found:
                    self.answer(found.status, dict(found.headers), found.read())
            except urllib.error.HTTPError as error:
                self.answer(error.code, dict(error.headers), error.read())

        do_HEAD = do_GET  # noqa: N815

        def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in {"content-length", "transfer-encoding", "connection", "date", "server"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        this.endpoint = f"http://{HOST}:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield this
        finally:
            server.shutdown()
