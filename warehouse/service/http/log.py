"""The log: one line of JSON a request, without values of patients, without queries, and without tokens.

Paths have identifiers of patients in them, so that a line has the name of what was asked instead: `search_studies`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, Any


class RequestLog:
    """Writes lines to a file that is open. Safe to use from several threads."""

    def __init__(self, file: IO[str]) -> None:
        """Write to this file."""
        self._file, self._lock = file, threading.Lock()

    def write(self, facts: Mapping[str, Any]) -> None:
        """Write a line: the time (UTC), and these facts. A log that cannot be written stops no request."""
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **facts}, default=str)
        with self._lock:
            try:
                self._file.write(line + "\n")
                self._file.flush()
            except (OSError, ValueError):
                pass
