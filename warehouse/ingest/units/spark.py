"""Workers on a Spark cluster: each unit is a row of a job of its own, whose only result is the receipt.

Jobs run side by side, as many as the cluster has room for. So receipts arrive as they are made, and a unit that ends
its executor fails alone: after Spark's own attempts (spark.task.maxFailures) it is halved, until a single object is
left, which is rejected. What a unit reads and writes never travels through Spark.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.errors import LakeError
from warehouse.ingest.units import sessions, shipping
from warehouse.ingest.units.batches import CHANCES, Batch, group_units, split
from warehouse.ingest.units.executing import Order, pack, unpack
from warehouse.ingest.units.unit import Receipt, UnitTask, Work
from warehouse.masking import mask_secrets
from warehouse.settings import load_share

if TYPE_CHECKING:
    import pyarrow as pa

#: How long the first task may wait for an executor, which a cluster may have to start, in seconds.
_PATIENCE = 600
#: What Spark reports of a task whose process or machine has gone.
_DEATHS = ("Python worker exited unexpectedly", "ExecutorLostFailure", "PYTHON_WORKER_EXITED", "Python worker crashed")
#: Variables without secrets that executors get from the driver where they do not have them.
_PASSED_ON = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION")


@dataclass(slots=True)
class SparkWorkers:
    """The executors of a cluster; `most` units are there at a time. The session opens with the first unit."""

    work: Work
    engine: str
    most: int
    _open: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _run: Callable[[bytes], bytes] | None = None
    _pool: ThreadPoolExecutor | None = None

    def close(self) -> None:
        """Cancel what runs, and close the session unless it was somebody else's."""
        self._open.close()

    def run_units(self, step: str, units: Iterable[UnitTask], number: int) -> Iterator[list[tuple[UnitTask, Receipt]]]:  # noqa: ARG002
        """Load units of a step, in any order; yields what was done since the last time.

        Raises the SourceError or LakeError of an executor, and LakeError if the cluster does not do its work.
        """
        # A unit that has failed once has had all attempts of Spark: it is halved at once.
        waiting = (Batch(step, batch.units, CHANCES - 1) for batch in group_units(step, units, 1))
        again: deque[Batch] = deque()
        running: dict[Future[Any], Batch] = {}
        while True:
            while len(running) < self.most and (batch := again.popleft() if again else next(waiting, None)):
                running[self._submit(batch.step, batch.units)] = batch
            if not running:
                return
            done: list[tuple[UnitTask, Receipt]] = []
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                receipts, failed = self._collect(running.pop(future), future)
                done += receipts
                again.extend(failed)
            if done:
                yield done

    def _submit(self, step: str, units: tuple[UnitTask, ...]) -> Future[Any]:
        if self._pool is None:
            self._start()
        assert self._pool
        assert self._run
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        return self._pool.submit(self._run, pack(Order(self.work, step, units, load_share(), environment)))

    def _start(self) -> None:
        """Open the session, send the package, and let one executor show that it can work."""
        session, is_own = sessions.open_session(self.engine)
        if is_own:
            self._open.callback(_ignore_errors, session.stop)
        tag = f"chest-{uuid.uuid4()}"
        archive = shipping.pack_package()
        session.addArtifacts(str(archive), archive=True)
        task = make_task(archive.name, importlib.metadata.version("duckdb"))

        def run(packed: bytes) -> bytes:
            import pyarrow as pa

            session.addTag(tag)
            (row,) = session.createDataFrame(pa.table({"packed": [packed]})).mapInArrow(task, "packed binary").collect()
            return bytes(row[0])

        self._run = run
        self._pool = ThreadPoolExecutor(self.most, thread_name_prefix="spark")
        self._open.callback(self._pool.shutdown, wait=False, cancel_futures=True)
        self._open.callback(_ignore_errors, lambda: session.interruptTag(tag))
        self._test()

    def _test(self) -> None:
        """Let an executor open the bucket and the data path; LakeError or SourceError if it cannot."""
        future = self._submit("images", ())
        try:
            self._read(future.result(_PATIENCE))
        except TimeoutError:
            raise LakeError(
                f"No executor of {mask_secrets(self.engine)} took a task in {_PATIENCE // 60} minutes. Check that the "
                "cluster has free cores and memory."
            ) from None
        except Exception as error:
            raise self._explain(error) from None

    def _collect(self, batch: Batch, future: Future[bytes]) -> tuple[list[tuple[UnitTask, Receipt]], list[Batch]]:
        """The receipts of a job; or if its executor has died each time, what is to be done again."""
        try:
            receipts = self._read(future.result())
        except Exception as error:
            if not any(death in str(error) for death in _DEATHS):
                raise self._explain(error) from None
            self._test()  # if nothing works any more, it was not the unit
            return split(batch)
        for receipt in receipts:
            self._require_files(receipt)
        return list(zip(batch.units, receipts, strict=True)), []

    def _read(self, packed: bytes) -> list[Receipt]:
        """What an executor returned; raises the error if it is one."""
        found = unpack(packed) if packed[:1] != b"?" else LakeError(packed[1:].decode())
        if isinstance(found, BaseException):
            raise found
        receipts: list[Receipt] = found
        return receipts

    def _require_files(self, receipt: Receipt) -> None:
        """LakeError if the files of an executor are not where this process can see them."""
        for file in receipt.files[:1]:
            path = self.work.data_path + file.path
            if "://" not in path and not Path(path).exists():
                raise LakeError(
                    f"An executor wrote {path}, but it is not on this machine: the folder is not a shared one. Put the "
                    "lake's files on S3, or into a folder that all machines share."
                )

    def _explain(self, error: Exception) -> Exception:
        """An error of Spark in one line; ours as it is."""
        if type(error).__module__.startswith(("pyspark", "py4j", "grpc")):
            return LakeError(f"Spark at {mask_secrets(self.engine)} failed: {sessions.first_line(error)}")
        return error


def make_task(archive: str, duckdb: str) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function that executors run; `duckdb` is the version that they must have.

    It is sent by value and imports inside, since nothing of the package can be imported before it has found the
    archive. A result that begins with "?" is a problem of the executor, in words.
    """

    def run(batches: Iterator[Any]) -> Iterator[Any]:
        import importlib.metadata
        import platform
        import sys

        import pyarrow as pa
        from pyspark import SparkFiles

        root = SparkFiles.get(archive)
        if root not in sys.path:
            sys.path.insert(0, root)
        problem = ""
        try:
            if (found := importlib.metadata.version("duckdb")) != duckdb:
                problem = f"has DuckDB {found}, and the driver {duckdb}. Give both the same."
            else:
                from warehouse.ingest.units import executing
        except ImportError as error:
            problem = f"lacks a library: {error}. Give it those of chest-data-warehouse."
        for batch in batches:
            for packed in batch.column(0).to_pylist():
                if problem:
                    result = f"?The Python of executor {platform.node()} ({sys.executable}) {problem}".encode()
                else:
                    result = executing.run_order(packed, root)
                yield pa.RecordBatch.from_arrays([pa.array([result], pa.binary())], ["packed"])

    return run


def _ignore_errors(close: Callable[[], object]) -> None:
    """Close what may have gone already."""
    with contextlib.suppress(Exception):
        close()
