"""The process that the starter (starter.py) keeps: it has imported the command once, and forks for each run of it.

Starting Python and importing DuckDB, pyarrow and boto3 costs more than most of what is tortured here; and a kill that
hits an import shows nothing. A fork is a process of its own all the same, with its own memory, files and locks.
"""

import ctypes
import functools
import gc
import json
import os
import resource
import select
import signal
import sys
from importlib import import_module
from typing import Any


def import_everything() -> None:
    """What commands import late; no connection, no thread that works: neither outlives a fork."""
    for name in (
        *("duckdb", "pyarrow.compute", "pyarrow.dataset", "obstore.store", "obstore.auth.boto3", "sqlglot", "polars"),
        *("pytz", "zoneinfo", "rich.filesize", "pydantic.type_adapter", "pydantic.main", "typer._adapters"),
    ):
        import_module(name)
    for name in ("cli.commands", "cli.progress", "ingest", "lake.doctor", "lake.backup", "lake.maintenance", "api"):
        import_module(f"warehouse.{name}")
    for name in ("manifests.export", "withdrawal.purge", "query.session"):
        import_module(f"warehouse.{name}")
    import_module("warehouse.cli.commands").build_command("")  # imports every command
    import boto3
    import duckdb
    from botocore.loaders import JSONFileLoader

    duckdb.close()  # the connection that importing it opens has a thread, for which a child would wait at its end
    read = functools.cache(JSONFileLoader().load_file)  # S3's model is a megabyte of JSON
    JSONFileLoader.load_file = lambda _self, path: read(path)  # type: ignore[method-assign, misc]
    boto3.Session("key", "secret", region_name="us-east-1").client("s3")
    gc.collect()
    gc.freeze()  # or the first collection of each child would copy all of this


def serve() -> dict[str, Any] | None:
    """Fork for every line of JSON on stdin; in a child return what it shall run, in the parent None at the end."""
    woken, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakeup)
    running: set[int] = set()
    given = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _reap(running)
        if 0 not in ready:
            continue
        found = os.read(0, 1 << 16)
        if not found:
            break
        given += found
        while b"\n" in given:
            line, _, given = given.partition(b"\n")
            if not (process := os.fork()):
                return json.loads(line)  # type: ignore[no-any-return]
            running.add(process)
            _answer(pid=process)
    for process in running:
        os.kill(process, signal.SIGKILL)
    return None


def _reap(running: set[int]) -> None:
    for process in [*running]:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            running.remove(process)
            _answer(ended=process, code=os.waitstatus_to_exitcode(status))


def _answer(**values: int) -> None:
    os.write(1, json.dumps(values).encode() + b"\n")


def run(asked: dict[str, Any]) -> None:
    """Be the process that was asked for: `words` of the command, or a `call` of a function with them."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setpgid(0, 0)  # a Ctrl-C is for the runner
    for number, path in ((0, os.devnull), (1, asked["out"]), (2, asked["err"])):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.environ.clear()
    os.environ.update(asked["env"])
    if asked["largest"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked["largest"], asked["largest"]))
    if asked["is_powerless"] and not os.getuid():
        drop_capabilities()
    if call := asked["call"]:
        module, _, name = call.partition(":")
        getattr(import_module(module), name)(*asked["words"])
        return
    from warehouse.cli import main

    sys.argv = ["chest", *asked["words"]]
    main()


def drop_capabilities() -> None:
    """Let permissions hold for root, too: capset(2) with no capabilities at all."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this process
    if ctypes.CDLL(None, use_errno=True).capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError(ctypes.get_errno(), "capset")


if __name__ == "__main__":
    import_everything()
    _answer(pid=os.getpid())
    if (asked := serve()) is not None:
        run(asked)
