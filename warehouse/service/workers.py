"""Processes in which SQL of somebody else runs, each one question at a time.

Some calls of DuckDB heed neither interruption nor its memory limit, so that a process has to be ended to be rid of them
(warehouse/engine/limits.py). Here that is a worker, never the server; another takes its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import threading
import warnings
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse import errors
from warehouse.errors import LakeError, UncoveredWarning, UsageError, WarehouseError
from warehouse.service.questions import Answer, Question
from warehouse.settings import Settings

if TYPE_CHECKING:
    from pebble import ProcessFuture, ProcessPool

    from warehouse.service.readers import Readers

#: After so many questions a worker is replaced, so that no memory is held for ever.
_QUESTIONS_A_WORKER = 500
#: How long beyond the time of a question its worker may take, before it is ended from outside.
_GRACE_SECONDS = 10.0


class Workers:
    """A pool of such processes."""

    def __init__(self, lake: str, settings: Settings, processes: int = 0, *, seconds: float = 60.0) -> None:
        """Start the pool. `seconds` is what a question may take."""
        self.seconds = min(seconds, settings.sql_seconds) if settings.sql_seconds else seconds
        self.count = processes or max(2, min(4, os.cpu_count() or 1))
        self._settings = (lake, replace(settings, sql_seconds=self.seconds))
        self._lock, self._is_closed = threading.Lock(), False
        self._pool = self._make_pool()

    def _make_pool(self) -> ProcessPool:
        from pebble import ProcessPool

        pool = ProcessPool(
            max_workers=self.count,
            max_tasks=_QUESTIONS_A_WORKER,
            initializer=_start,
            initargs=self._settings,
            context=multiprocessing.get_context("spawn"),  # a fork of a process with threads may hang
        )
        pool.schedule(_rest)  # they start now, not with the first question
        return pool

    def _schedule(self, question: Question) -> ProcessFuture[Any]:
        """Hand a question to the pool, which is made anew if it has ended.

        Pebble ends a pool when a worker dies that has nothing to do, such as by the system for want of memory.
        """
        with self._lock:
            if not self._pool.active and not self._is_closed:
                self._end_pool()
                self._pool = self._make_pool()
            return self._pool.schedule(_work, args=(question,), timeout=self.seconds + _GRACE_SECONDS)

    async def ask(self, question: Question) -> Answer:
        """Answer a question in a worker; the WarehouseError that it raised there, UsageError if it took too long."""
        from pebble import ProcessExpired

        try:
            try:
                found = await asyncio.wrap_future(self._schedule(question))
            except BrokenProcessPool:  # before it was begun
                found = await asyncio.wrap_future(self._schedule(question))
        except BrokenProcessPool:
            raise UsageError("The processes that answer queries end again and again. Try again later.") from None
        except TimeoutError:
            raise UsageError(f"The query took longer than {self.seconds:g} s and was stopped. Ask for less.") from None
        except ProcessExpired:
            raise UsageError("The query was stopped, because it took too much time or memory. Ask for less.") from None
        if isinstance(found, Answer):
            return found
        kind, message, line = found
        raise _to_error(kind, message, line)

    def close(self) -> None:
        """End the workers, whatever they are doing."""
        with self._lock:
            self._is_closed = True
            self._end_pool()

    def _end_pool(self) -> None:
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()


_opening: tuple[str, Settings] | None = None
_readers: Readers | None = None


def _start(lake: str, settings: Settings) -> None:
    """Prepare a worker: it ignores Ctrl-C, which is the server's, and its process may be ended."""
    import signal

    from warehouse.engine import hidden_pandas, limits
    from warehouse.engine.parentage import end_with_parent

    end_with_parent()
    warnings.filterwarnings("ignore", category=UncoveredWarning)  # nobody reads the worker's stderr
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limits.claim_process()
    hidden_pandas.hide_pandas()
    with contextlib.suppress(OSError):  # only on Linux: when memory runs out, it ends a worker, and never the server
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    global _opening  # noqa: PLW0603 - what a worker keeps from one question to the next
    _opening = (lake, settings)
    with contextlib.suppress(LakeError):  # each question reports it
        _open()


def _open() -> Readers:
    """The lake, kept open; LakeError if it cannot be opened now."""
    from warehouse.service.readers import Readers

    global _readers  # noqa: PLW0603 - see above
    if _readers is None:
        assert _opening
        _readers = Readers(*_opening)
    return _readers


def _rest() -> None:
    """Do nothing."""


def _work(question: Question) -> Answer | tuple[str, str, int | None]:
    """Answer a question, or return the error that it raised: its class, message and line."""
    from warehouse.service.questions import answer_question

    try:
        with _open().read(question.scope, question.snapshot) as warehouse:
            return answer_question(warehouse, question)
    except WarehouseError as error:
        return type(error).__name__, str(error), getattr(error, "line", None)


def _to_error(kind: str, message: str, line: int | None) -> WarehouseError:
    found: Any = getattr(errors, kind, UsageError)
    error = found.__new__(found)
    Exception.__init__(error, message)
    if kind == "UntrustedSqlError":
        error.reason, error.line = message, line
    return error if isinstance(error, WarehouseError) else UsageError(message)
