"""Keeps what took long to make, the latest of it, so that no caller drives out what others need."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Shared(Generic[K, V]):
    """What was made, by key, and for whom; the least recently used comes first. For the event loop alone."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._made: OrderedDict[K, tuple[V, str]] = OrderedDict()

    def __iter__(self) -> Iterator[K]:
        return iter([*self._made])

    def get(self, key: K) -> V | None:
        """What was made, which is then the most recently used; None if it is not there."""
        if key not in self._made:
            return None
        self._made.move_to_end(key)
        return self._made[key][0]

    def put(self, key: K, made: V, maker: str) -> None:
        """Keep what was made for a caller."""
        self._made[key] = made, maker

    def drop(self, key: K) -> None:
        """Keep it no longer."""
        self._made.pop(key, None)

    def choose_kept(self, keys: list[K], most: int) -> list[K]:
        """Which of these keys stay, at most so many: of the caller with most of them the least recently used goes."""
        kept = [*keys]
        while len(kept) > most:
            makers = Counter(self._made[key][1] for key in kept)
            greatest = max(makers.values())
            kept.remove(next(key for key in kept if makers[self._made[key][1]] == greatest))
        return kept
