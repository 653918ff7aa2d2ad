"""Explains events of a log of access that chest would not write: the lake may be somebody else's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from warehouse.errors import LakeError, WarehouseError


@contextlib.contextmanager
def explain_odd_events() -> Iterator[None]:
    """LakeError where events are read that have not what their kind has: the log may be somebody else's. Also a
    decorator."""
    try:
        yield
    except WarehouseError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError):
        raise LakeError(
            "The log of access has an event that chest would not write, and is not shown. If the lake came from "
            "somebody else, make one of your own from the bucket; if it is yours, verify it:  chest access verify"
        ) from None
