"""Real servers of the service: `chest serve` in a process of its own, and the same app in a thread for quick tests."""

import contextlib
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

from warehouse.service.core import EVERYTHING, Limits, Service
from warehouse.service.scope import Scope
from warehouse.service.server import Options, assemble, configure, make_entrance
from warehouse.service.tokens import Caller, Rights, add_token
from warehouse.settings import SUPPRESS, Settings

HOST = "127.0.0.1"
#: A slow machine is no fault of what is tested.
SECONDS = 120.0
#: A page waits until the lake has been read.
PATIENT = Limits(page_patience=SECONDS, search_patience=SECONDS)


@dataclass
class Served:
    """A server that runs: its address, the token of its owner ("" with a token file), and its log of requests."""

    address: str
    token: str
    log: Path | io.StringIO
    process: "subprocess.Popen[str] | None" = None
    service: Service | None = None
    _client: httpx2.Client | None = field(default=None, repr=False)

    @property
    def client(self) -> httpx2.Client:
        """A client that sends the owner's token; it follows no redirects."""
        if self._client is None:
            headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
            self._client = httpx2.Client(base_url=self.address, headers=headers, timeout=SECONDS, trust_env=False)
        return self._client

    def get(self, path: str, token: str = "", **more: Any) -> httpx2.Response:
        """GET a path, with the owner's token or another."""
        return self.ask("GET", path, token, **more)

    def get_ready(self, path: str, **more: Any) -> httpx2.Response:
        """GET a path until it is ready: while the lake is being read, a page asks (202) to be loaded again."""
        while (found := self.get(path, **more)).status_code == 202:
            time.sleep(0.1)
        return found

    def post(self, path: str, json: Any = None, token: str = "", **more: Any) -> httpx2.Response:
        """POST a JSON value to a path, with the owner's token or another."""
        return self.ask("POST", path, token, json=json, **more)

    def ask(self, method: str, path: str, token: str = "", headers: Mapping[str, str] = {}, **more: Any) -> Any:
        """Send a request, with the owner's token or another."""
        own = {"Authorization": f"Bearer {token}"} if token else {}
        return self.client.request(method, path, headers={**own, **headers}, **more)

    def read_log(self) -> list[dict[str, Any]]:
        """The lines of the log so far."""
        text = self.log.getvalue() if isinstance(self.log, io.StringIO) else self.log.read_text()
        return [json.loads(line) for line in text.splitlines()]

    def close(self) -> None:
        """Close the client."""
        if self._client is not None:
            self._client.close()


@contextlib.contextmanager
def serve_process(
    lake: object,
    log: Path,
    *words: object,
    program: Sequence[str] = ("-c", "from warehouse.cli import main; main()"),
    **environment: str,
) -> Iterator[Served]:
    """`chest serve` on a free port, in a process of its own; `words` are more of its options.

    It is ended by SIGTERM, and has to end by itself then.
    """
    import os

    given = ["serve", "--lake", lake, "--port", 0, "--log", log, *words]
    command = [sys.executable, *program, *map(str, given)]
    errors = log.with_name(f"{log.name}.stderr")
    with (
        errors.open("w") as to,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=to, text=True, env={**os.environ, **environment}
        ) as process,
    ):
        assert process.stdout
        line = process.stdout.readline()
        assert " at http://" in line, f"chest serve did not start: {line}{errors.read_text()}"
        address, _, token = line.split(" at ")[1].strip().partition("?token=")
        served = Served(address.rstrip("/"), token, log, process)
        try:
            yield served
        finally:
            served.close()
            process.terminate()
            process.wait(SECONDS)


@contextlib.contextmanager
def serve_thread(
    lake: object,
    base: Scope = EVERYTHING,
    *,
    token_file: Path | None = None,
    settings: Settings | None = None,
    limits: Limits = PATIENT,
    suppress: int = SUPPRESS,
    processes: int = 1,
    **options: Any,
) -> Iterator[Served]:
    """The app with all its adapters, by uvicorn on a free port, in a thread; `options` are those of server.Options."""
    given = Options(token_file=token_file, suppress=suppress, **options)
    entrance, token = make_entrance(given)
    service = Service(str(lake), settings or Settings(), base, limits=limits, suppress=suppress, processes=processes)
    log = io.StringIO()
    config = configure(assemble(service, entrance, given, log), given)
    config.port = 0
    server, ready = _Server(config), threading.Event()
    server.ready = ready
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert ready.wait(SECONDS), "the server did not start in time"
    assert server.started, "the server did not start"
    port = server.servers[0].sockets[0].getsockname()[1]
    served = Served(f"http://{HOST}:{port}", token, log, service=service)
    try:
        yield served
    finally:
        served.close()
        server.should_exit = True
        thread.join(SECONDS)
        service.close()


class _Server(uvicorn.Server):
    """A server that says when it listens, or has failed to."""

    ready: threading.Event

    async def startup(self, *given: Any, **more: Any) -> None:
        try:
            await super().startup(*given, **more)
        finally:
            self.ready.set()


#: Names of callers, each with rights and groups, for a token file.
CALLERS = {
    "counts": Caller("counts", Rights.counts),
    "rows": Caller("rows", Rights.rows),
    "pixels": Caller("pixels", Rights.pixels),
    "validation": Caller("validation", Rights.rows, ("validation",)),
    "all": Caller("all", Rights.pixels, ("all",)),
}


def write_tokens(path: Path, *callers: Caller) -> dict[str, str]:
    """Write a token file for the callers (those of CALLERS, if none are given); the token of each, by name."""
    return {caller.name: add_token(path, caller) for caller in callers or CALLERS.values()}
