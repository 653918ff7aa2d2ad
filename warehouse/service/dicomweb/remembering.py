"""Remembers answers to searches and metadata: a snapshot never changes, and viewers ask for the same again and again.

An answer depends on the snapshot, the standing list of withdrawn patients, the scope (its day, group and agreement) and
the request, which are its key. Whether whoever asks may see it is decided before, each time. Those of cohorts are not
remembered: the query of a cohort may choose others when it runs again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from warehouse.api import Warehouse
    from warehouse.service.dicomweb.index import Index

#: Bytes of all answers that are remembered, and of a single one.
_MOST_BYTES = 64_000_000
_MOST_OF_ONE = 8_000_000
#: What an answer takes beside its bytes.
_OVERHEAD = 1_000


class _Answer(Protocol):
    @property
    def n_bytes(self) -> int: ...


T = TypeVar("T", bound=_Answer)


class Answers:
    """The answers that were given last. Safe to use from several threads."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, _Answer] = OrderedDict()
        self._n_bytes = 0

    def find(self, warehouse: Warehouse, index: Index, request: Hashable, make: Callable[[], T]) -> T:
        """The answer to a request of an index: the one that is remembered, or else what `make` makes."""
        if index.member_column:
            return make()
        key = (index.snapshot, warehouse.standing_list, index.scope, request)
        with self._lock:
            if (kept := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return kept  # type: ignore[return-value] # a request has answers of one kind
        made = make()
        self._keep(key, made)
        return made

    def _keep(self, key: Hashable, answer: _Answer) -> None:
        if answer.n_bytes > _MOST_OF_ONE:
            return
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = answer
            self._n_bytes += answer.n_bytes + _OVERHEAD
            while self._n_bytes > _MOST_BYTES:
                self._n_bytes -= self._kept.popitem(last=False)[1].n_bytes + _OVERHEAD
