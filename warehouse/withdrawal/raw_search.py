"""Searches the bytes of files for words: a script that proof.py runs in a process of its own.

A process that has attached a lake must not open the file of its catalogue (lake/backup/sqlite_catalog.py). It uses only
the standard library; the request is JSON on stdin, the answer JSON on stdout: how often each file has a word.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path


def count_words(data: bytes, words: list[str], longer: list[str]) -> int:
    """How often one of the words is in the data, unless it is a part of one of the longer words there."""
    found = 0
    others = [other.encode() for other in longer]
    for word in (each.encode() for each in words):
        around = [(other, other.index(word)) for other in others if word in other and other != word]
        for match in re.finditer(re.escape(word), data):
            start = match.start()
            found += not any(data[start - o : start - o + len(other)] == other for other, o in around if start >= o)
    return found


def main() -> int:
    """Do what stdin asks for: `{"paths": […], "words": […], "longer": […]}`."""
    request = json.load(sys.stdin)
    counts = {
        path: count_words(Path(path).read_bytes(), request["words"], request["longer"]) for path in request["paths"]
    }
    json.dump(counts, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
