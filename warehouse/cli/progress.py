"""Progress of long work on stderr: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from warehouse.progress import Progress, ignore_progress

_SECONDS_BETWEEN_LINES = 10.0


@contextlib.contextmanager
def show_progress(unit: str = "objects", *, quiet: bool = False) -> Iterator[Progress]:
    """Yield a function to call with step, done and total (0 if unknown)."""
    if quiet:
        yield ignore_progress
    elif sys.stderr.isatty():
        with _show_bars(unit) as report:
            yield report
    else:
        yield _print_lines(unit)


@contextlib.contextmanager
def _show_bars(unit: str) -> Iterator[Progress]:
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    from warehouse.cli.terminal import create_console

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0:,.0f} {unit}/s" if task.speed else "")

    class Count(ProgressColumn):
        def render(self, task: Task) -> Text:
            total = f" of {task.total:,.0f}" if task.total else ""
            return Text(f"{task.completed:,.0f}{total}")

    words = TextColumn("{task.description:<12}")
    with Progress(
        SpinnerColumn(), words, BarColumn(), Count(), Rate(), TimeRemainingColumn(), console=create_console(stderr=True)
    ) as progress:
        tasks: dict[str, int] = {}

        def report(step: str, done: int, total: int) -> None:
            if step not in tasks:
                for other in tasks.values():
                    progress.stop_task(other)  # type: ignore[arg-type]
                tasks[step] = progress.add_task(step, total=total or None)
            progress.update(tasks[step], completed=done, total=total or None)  # type: ignore[arg-type]

        yield report


def _print_lines(unit: str) -> Progress:
    started: dict[str, float] = {}
    printed: dict[str, float] = {}

    def report(step: str, done: int, total: int) -> None:
        now = time.monotonic()
        begun = started.setdefault(step, now)
        is_end = total > 0 and done >= total
        if not is_end and now - printed.get(step, begun) < _SECONDS_BETWEEN_LINES:
            return
        printed[step] = now
        rate = done / max(now - begun, 0.001)
        of = f" of {total:,}" if total else ""
        left = f", {(total - done) / rate:,.0f} s left" if total and not is_end and rate else ""
        speed = f" ({rate:,.0f} {unit}/s{left})" if now - begun > 1 else ""
        sys.stderr.write(f"{step}: {done:,}{of} {unit}{speed}\n")

    return report
