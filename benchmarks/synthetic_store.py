"""A bucket of any number of objects, made on the fly: the key and the body of an object are computed from its number.

A pool of a few sample patients (`chest sample`) is repeated: copy 7 of the pool has other patients, and other UIDs in
keys and bodies, and is otherwise the same, faults too. So memory and disk do not grow with the bucket. A .dcm has half
a megabyte of zeros, which nobody fetches in this layout.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import pickle
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from warehouse.object_store import keys as key_grammar
from warehouse.object_store.base import Content, Facts, ReadFailure, listing_schema

#: The patients of the pool.
_PATIENTS = 60
#: Where the pool is kept; remove it after a change of the sample's patients.
_KEPT = Path(__file__).parents[1] / ".benchmarks" / "pool"
#: What stands in templates for the number of the copy, of as many digits.
COPY, _DIGITS = "~" * 8, 8
#: The characters of a key before that number.
_BEFORE = len("training/Covid")
_DCM_BYTES = 524_288
#: Of so many objects one is another in each generation of the bucket: about 0.1 %, of patients and kinds in proportion.
CHANGED_EVERY = 1_001
#: Copies of the pool in a batch of a listing.
_COPIES_AT_A_TIME = 10
#: The last modification of all objects.
WRITTEN_AT = datetime(2021, 6, 1, 12, tzinfo=UTC)

_PATIENT = re.compile(r'(?<=["/])Covid([0-9]+)(?=["/])')
_UID = re.compile(r"(2\.25\.[0-9]{8,})[0-9]{8}(?![0-9])")


@dataclass(frozen=True, slots=True)
class Pool:
    """The templates that are repeated: keys in order, bodies (none for .dcm), sizes; and the places of keys."""

    keys: tuple[str, ...]
    bodies: tuple[bytes | None, ...]
    sizes: tuple[int, ...]
    places: dict[str, int]


def _make_template(text: str) -> str:
    text = _PATIENT.sub(lambda found: f"Covid{COPY}{int(found[1]):03}", text)
    return _UID.sub(rf"\g<1>{COPY}", text)


@functools.cache
def make_pool() -> Pool:
    """The pool, always the same; made once and kept in a file, so that no refresh is measured with it."""
    if not _KEPT.exists():
        keys, bodies = zip(*_make_templates(), strict=True)
        _KEPT.parent.mkdir(exist_ok=True)
        new = _KEPT.with_suffix(f".{os.getpid()}")
        new.write_bytes(pickle.dumps((keys, bodies)))
        new.replace(_KEPT)
    keys, bodies = pickle.loads(_KEPT.read_bytes())
    sizes = tuple(len(body) if body else _DCM_BYTES for body in bodies)
    return Pool(keys, bodies, sizes, {key: place for place, key in enumerate(keys)})


def _make_templates() -> list[tuple[str, bytes | None]]:
    from warehouse import synthetic

    found: list[tuple[str, bytes | None]] = []
    with tempfile.TemporaryDirectory() as folder:
        bucket = Path(folder, "bucket")
        synthetic.make_bucket(bucket, _PATIENTS, seed=1, stubs=True)
        for path in bucket.rglob("*"):
            key = path.relative_to(bucket).as_posix()
            if not path.is_file() or key in key_grammar.ANSWERS:
                continue
            # The last character is that of the generation.
            body = f"{_make_template(path.read_text(encoding='utf-8'))}\n" if path.suffix == ".json" else None
            found.append((_make_template(key), body.encode() if body else None))
    return sorted(found)


@dataclass(frozen=True, slots=True)
class Store:
    """The objects of a bucket: how many, and in which generation. Numbers are in the order of keys."""

    n_objects: int
    generation: int = 0

    def make_key(self, number: int) -> str:
        """The key of an object."""
        copy, place = divmod(number, len(make_pool().keys))
        return make_pool().keys[place].replace(COPY, f"{copy:08}")

    def find_number(self, key: str) -> int | None:
        """The number of the object of a key; None if there is none."""
        pool, copy = make_pool(), key[_BEFORE : _BEFORE + _DIGITS]
        template = f"{key[:_BEFORE]}{COPY}{key[_BEFORE + _DIGITS :]}"
        place = pool.places.get(template)
        if place is None:
            stem, dot, end = template.rpartition(".")
            place = pool.places.get(f"{stem[:-_DIGITS]}{COPY}{dot}{end}")
        if place is None or not copy.isdigit():
            return None
        number = int(copy) * len(pool.keys) + place
        return number if number < self.n_objects and self.make_key(number) == key else None

    def make_body(self, number: int) -> bytes:
        """The bytes of an object."""
        pool = make_pool()
        copy, place = divmod(number, len(pool.keys))
        body = pool.bodies[place]
        if body is None:
            return bytes(_DCM_BYTES)
        made = body.replace(COPY.encode(), b"%08d" % copy)
        return made[:-1] + b" " if self.is_changed(number) else made

    def get_size(self, number: int) -> int:
        """The size of an object in bytes."""
        sizes = make_pool().sizes
        return sizes[number % len(sizes)]

    def is_small(self, number: int) -> bool:
        """Whether an object is one that is fetched: a header or a clinical file."""
        bodies = make_pool().bodies
        return bodies[number % len(bodies)] is not None

    def is_changed(self, number: int) -> bool:
        """Whether an object is another than in generation 0."""
        return bool(self.generation) and number % CHANGED_EVERY == 0

    def make_etag(self, number: int) -> str:
        """An etag that looks like an MD5 and is that of no bytes, which would take longer than to list the object."""
        generation = self.generation if self.is_changed(number) else 0
        return hashlib.md5(b"%d/%d" % (number, generation), usedforsecurity=False).hexdigest()


class SyntheticBucket:
    """A store behind the interface of buckets (warehouse/object_store/base.py): no disk, no network."""

    listed_at: datetime | None = None
    listing_note = ""
    skipped: Sequence[Any] = ()

    def __init__(self, store: Store) -> None:
        self.source = f"synthetic:{store.n_objects}"
        self._store = store

    def listing(self, prefix: str = "") -> Iterator[pa.RecordBatch]:
        """Stream the listing, some thousand objects a batch."""
        assert not prefix
        pool, schema = make_pool(), listing_schema()
        text, length = "\n".join(pool.keys), len(pool.keys)
        for first in range(0, self._store.n_objects, length * _COPIES_AT_A_TIME):
            count = min(length * _COPIES_AT_A_TIME, self._store.n_objects - first)
            copies = range(first // length, (first + count - 1) // length + 1)
            keys = itertools.chain.from_iterable(text.replace(COPY, f"{copy:08}").split("\n") for copy in copies)
            yield pa.record_batch(
                [
                    pa.array(list(keys)[:count], pa.string()),
                    pa.array((pool.sizes * len(copies))[:count], pa.int64()),
                    pa.array([self._store.make_etag(number) for number in range(first, first + count)], pa.string()),
                    pa.repeat(pa.scalar(WRITTEN_AT, schema.field("last_modified").type), count),
                ],
                schema,
            )

    def read_into(
        self,
        buffer: memoryview,
        keys: Sequence[str],
        etags: Sequence[str],  # noqa: ARG002
        sizes: Sequence[int],
    ) -> dict[int, ReadFailure]:
        """Make the bodies of objects into a buffer."""
        at = 0
        for key, size in zip(keys, sizes, strict=True):
            number = self._store.find_number(key)
            assert number is not None
            buffer[at : at + size] = self._store.make_body(number)
            at += size
        return {}

    def read_range(self, key: str, etag: str, size: int, start: int, stop: int) -> bytes | ReadFailure:  # noqa: ARG002
        """A part of a body."""
        number = self._store.find_number(key)
        assert number is not None
        return self._store.make_body(number)[start:stop]

    def stream(self, key: str, start: int = 0) -> Content | ReadFailure:
        """A body from an offset."""
        number = self._store.find_number(key)
        assert number is not None
        body = self._store.make_body(number)
        return Content(self._store.make_etag(number), len(body), iter([body[start:]]))

    def fetch(self, key: str, md5: str, size: int) -> Content | ReadFailure:  # noqa: ARG002
        """A body."""
        return self.stream(key)

    def facts(self, key: str) -> Facts:  # noqa: ARG002
        """Nothing more is known."""
        return Facts()
