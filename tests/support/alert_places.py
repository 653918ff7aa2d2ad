"""Places that take alerts, on loopback: a webhook and a mailbox that keep what they were given."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from servers import HOST, find_free_port


class Hook:
    """A webhook: `messages` are what it received; it answers `status`, and keeps nothing unless that is 200."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.status = 200
        self.url = ""


@contextlib.contextmanager
def serve_webhook() -> Iterator[Hook]:
    """A local HTTP server that takes a JSON body with a text."""
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.headers["Content-Type"] == "application/json"
            if hook.status == 200:
                hook.messages.append(body["text"])
            self.send_response(hook.status)
            self.send_header("Location", hook.url)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        hook.url = f"http://{HOST}:{server.server_port}/hooks/T0P-S3CR3T"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield hook
        finally:
            server.shutdown()


@contextlib.contextmanager
def serve_mailbox() -> Iterator[tuple[str, list[Any]]]:
    """A local SMTP server without encryption: host:port, and the envelopes it took."""
    from aiosmtpd.controller import Controller
    from aiosmtpd.handlers import Sink

    taken: list[Any] = []

    class Keep(Sink):  # type: ignore[misc]
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
            taken.append(envelope)
            return "250 OK"

    controller = Controller(Keep(), hostname=HOST, port=find_free_port())
    controller.start()
    try:
        yield f"{HOST}:{controller.port}", taken
    finally:
        controller.stop()
