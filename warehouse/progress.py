"""Reports the progress of long work."""

from __future__ import annotations

from collections.abc import Callable

#: Called with the step, what is done and the total (0: not known yet).
Progress = Callable[[str, int, int], None]


def ignore_progress(step: str, done: int, total: int) -> None:
    """Report nothing."""
