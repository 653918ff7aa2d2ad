"""Groups objects into blocks that a thread handles: to hand over each of many small ones costs half a request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

#: The most objects, and bytes, of a block.
_MOST, _BYTES = 16, 1 << 20


@dataclass(slots=True)
class Block(Generic[T]):
    """Objects that one thread handles one after another, and their size together."""

    items: list[T] = field(default_factory=list)
    size: int = 0


def group(items: Iterable[T], get_size: Callable[[T], int], total: int, threads: int) -> Iterator[Block[T]]:
    """Group `total` objects in their order, so that each of the threads gets several blocks; a large one is alone."""
    most = min(total // (4 * threads), _MOST)
    block = Block[T]()
    for item in items:
        size = get_size(item)
        if block.items and (len(block.items) >= most or block.size + size > _BYTES):
            yield block
            block = Block()
        block.items.append(item)
        block.size += size
    if block.items:
        yield block
