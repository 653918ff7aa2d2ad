"""Opens Spark's session for an engine's address, and closes it again; each reason why it cannot is one line."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import re
import shutil
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from warehouse.errors import LakeError, UsageError
from warehouse.masking import mask_secrets, remember_secret

_MASTER = re.compile(r"spark://\S+|k8s://\S+|yarn|local-cluster(?:\[\d+,\d+,\d+\])?")
_CONNECT = re.compile(r"sc://[^\s/;]+(?:/\S*)?")
#: How a line begins with which Java reports an exception.
_JAVA = re.compile(r"^:? ?(?:[\w$]+\.)+[\w$]+: ")
#: How the error of Python ends a traceback.
_PYTHON = re.compile(r"^(?:\w+\.)*\w+(?:Error|Exception): .*?(?=\.?$)", re.MULTILINE)
_CONNECT_PORT = 15002
#: How long a Connect server may take to accept a connection.
_KNOCK_SECONDS = 20
_TOKEN = re.compile(r";token=([^;]+)")
#: What a session of our own is set to. The page of Spark on the driver has no login; logs below ERROR are Spark's own.
_CONFIG = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}


def require_engine(engine: str) -> None:
    """Raise UsageError unless the address is one of Spark, and what it needs is installed."""
    for token in _TOKEN.findall(engine):
        remember_secret(token)
    if not (_CONNECT.fullmatch(engine) or _MASTER.fullmatch(engine)):
        raise UsageError(
            f"{mask_secrets(engine)} is not an engine. Give sc://HOST:15002 (Spark Connect), spark://HOST:7077, yarn, "
            "k8s://… or local-cluster; without one, this machine loads."
        )
    needed = ["pyspark", "grpc" if _is_connect(engine) else "py4j"]
    if not all(importlib.util.find_spec(name) for name in needed):
        raise UsageError(
            f"The engine {mask_secrets(engine)} needs PySpark 4. Install it:  pip install 'chest-data-warehouse[spark]'"
        )
    if not _is_connect(engine) and not os.environ.get("JAVA_HOME") and not shutil.which("java"):
        raise UsageError(
            f"The engine {mask_secrets(engine)} needs Java 17 or later on this machine. Install a JRE and set "
            "JAVA_HOME, or use a Spark Connect server (sc://…), which needs none here."
        )


def open_session(engine: str) -> tuple[Any, bool]:
    """Open a session; the second is whether it is our own, to be stopped. LakeError if the cluster does not answer."""
    logging.getLogger("pyspark.sql.connect.logging").setLevel(logging.CRITICAL)  # each error is raised as well
    with _explain(engine), _keep_interrupts():
        if _is_connect(engine):
            from pyspark.sql.connect.session import SparkSession as Remote

            _knock(engine)
            session = Remote.builder.remote(engine).create()
            _ = session.version  # the first request
            return session, True
        os.environ.setdefault("SPARK_HOME", str(_find_home()))
        from pyspark.sql import SparkSession

        is_own = SparkSession.getActiveSession() is None
        master = engine
        if engine.startswith("local-cluster"):  # executors of this machine, so with its Python
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
            master = engine if "[" in engine else f"local-cluster[{os.cpu_count() or 1},1,1024]"
        builder = SparkSession.builder.master(master).appName("chest refresh")
        config = _CONFIG if is_own else {}
        if engine.startswith("local-cluster"):
            config = {**config, "spark.executor.memory": f"{master.rstrip(']').rpartition(',')[2]}m"}
        for name, value in config.items():
            builder = builder.config(name, value)
        return builder.getOrCreate(), is_own


def _find_home() -> Path:
    """Spark itself, where PySpark has it: PySpark would run the `bin/spark-submit` of the folder above the working
    directory first, which may be in a bucket."""
    spec = importlib.util.find_spec("pyspark")
    assert spec
    assert spec.origin
    own = Path(spec.origin).parent
    places = (own / "spark-distribution", own, own.parent.parent)
    return next((place for place in places if (place / "bin" / "spark-submit").is_file()), own)


def _knock(engine: str) -> None:
    """Raise OSError if nothing listens at a Connect server's address; Spark's client would try for ten minutes."""
    place = urlsplit(engine)
    if not any(name in os.environ for name in ("grpc_proxy", "https_proxy", "http_proxy")):
        socket.create_connection((place.hostname or "", place.port or _CONNECT_PORT), _KNOCK_SECONDS).close()


@contextlib.contextmanager
def _explain(engine: str) -> Iterator[None]:
    from pyspark.errors import PySparkException

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of PySpark about pandas, which we do not use
            yield
    except (PySparkException, OSError, RuntimeError, ImportError) as error:
        raise LakeError(
            f"Spark at {mask_secrets(engine)} does not answer: {first_line(error)} Check the address and the cluster."
        ) from None
    except Exception as error:
        if type(error).__module__.startswith(("py4j", "grpc")):
            raise LakeError(f"Spark at {mask_secrets(engine)} does not start: {first_line(error)}") from None
        raise


@contextlib.contextmanager
def _keep_interrupts() -> Iterator[None]:
    """Undo what Spark does to SIGINT: Ctrl-C is handled by whoever runs the refresh."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if is_main and before is not None:
            signal.signal(signal.SIGINT, before)


def first_line(error: BaseException) -> str:
    """The line of an error of Spark that states something, with a full stop: its first, or that of Python's error."""
    if raised := _PYTHON.findall(str(error)):
        return f"{raised[-1]}."
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = next((line for line in lines if not line.startswith(("JVM stacktrace", "An error occurred"))), "")
    text = _JAVA.sub("", text) or type(error).__name__
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _is_connect(engine: str) -> bool:
    return engine.startswith("sc://")
