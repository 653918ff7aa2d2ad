"""A real Spark for the tests, on loopback: a cluster of a master, two workers and a Connect server; or that alone."""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from servers import HOST, find_free_port

#: Short-lived JVMs: compiled little, with few threads, and small.
_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xss512k"
#: How long the cluster may take to start on a busy machine, in seconds.
_SECONDS = 120


@dataclass(frozen=True)
class Spark:
    """A running cluster: its folder, the addresses of its master and of its Connect server, its workers' processes."""

    folder: Path

    master: str
    connect: str
    workers: "list[subprocess.Popen[bytes]]"


def require_spark() -> Path:
    """The folder of PySpark; skips without it or without Java."""
    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None or importlib.util.find_spec("grpc_status") is None:
        pytest.skip("PySpark is not installed: pip install 'chest-data-warehouse[spark]'")
    if shutil.which("java") is None:
        pytest.skip("there is no Java: apt-get install default-jre-headless")
    return Path(found.origin).parent


@contextlib.contextmanager
def serve_spark(folder: Path, environment: dict[str, str], cores: int = 2, machines: int = 2) -> Iterator[Spark]:
    """Run a cluster whose executors have an environment; it ends with the block, and all that it has started.

    As many executors as `cores`, each of one core. Without `machines` there is no cluster: the Connect server does the
    work itself, on as many threads.
    """
    home = require_spark()
    conf = folder / "conf"
    conf.mkdir(parents=True)
    settings = {
        "spark.cores.max": str(cores),
        "spark.executor.cores": "1",
        "spark.executor.memory": "512m",
        "spark.executor.extraJavaOptions": _JAVA,
        "spark.driver.extraJavaOptions": _JAVA,
        "spark.driver.host": HOST,
        "spark.driver.memory": "512m",
        "spark.ui.enabled": "false",
        "spark.task.maxFailures": "2",
    }
    (conf / "spark-defaults.conf").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CHEST_", "SPARK_"))}
    base = {
        **kept,
        **environment,
        "SPARK_HOME": str(home),
        "SPARK_CONF_DIR": str(conf),
        "SPARK_LOCAL_IP": HOST,
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_DAEMON_JAVA_OPTS": _JAVA,
        "SPARK_WORKER_DIR": str(folder / "work"),
    }
    with contextlib.ExitStack() as stack:

        def start(name: str, *words: object, memory: int = 192) -> "subprocess.Popen[bytes]":
            with (folder / f"{name}.log").open("wb") as log:
                command = [str(word) for word in (home / "bin" / "spark-class", *words)]
                process = subprocess.Popen(
                    command,
                    env={**base, "SPARK_DAEMON_MEMORY": f"{memory}m"},
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            stack.callback(_end, process)
            return process

        port, connect_port = find_free_port(), find_free_port()
        master = f"spark://{HOST}:{port}" if machines else f"local[{cores}]"
        package = "org.apache.spark.deploy"
        if machines:
            start("master", f"{package}.master.Master", "--host", HOST, "--port", port, "--webui-port", 0)
            _wait_for(folder / "master.log", "I have been elected leader")
        words = (f"{package}.worker.Worker", "--host", HOST, "--webui-port", 0, "--cores", 2, "--memory", "1200m")
        workers = [start(f"worker{n}", *words, master) for n in range(1, machines + 1)]
        start(
            "connect",
            *(f"{package}.SparkSubmit", "--master", master),
            *("--conf", f"spark.connect.grpc.binding.port={connect_port}"),
            *("--conf", f"spark.connect.grpc.binding.address={HOST}"),
            *("--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "--name", "connect"),
            "spark-internal",
            memory=600,
        )
        for n in range(1, machines + 1):
            _wait_for(folder / f"worker{n}.log", "Successfully registered with master")
        _wait_for(folder / "connect.log", "Spark Connect server started")
        yield Spark(folder, master, f"sc://{HOST}:{connect_port}", workers)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process with all that it has started in its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_for(log: Path, text: str) -> None:
    """Wait until a program's log has a text."""
    for _ in range(_SECONDS * 10):
        if log.exists() and text in log.read_text(errors="replace"):
            return
        time.sleep(0.1)
    raise TimeoutError(f"{log.name} has no {text!r}: {log.read_text(errors='replace')[-2000:]}")
