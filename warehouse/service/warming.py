"""Reads what is shown of the newest snapshot, at the start and after each publish, so that the first who asks need not
wait."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

from warehouse.errors import WarehouseError
from warehouse.service.core import Service

#: Seconds between two looks for a new snapshot: a look at a file's time, or with PostgreSQL one small query.
_PAUSE = 5.0


@contextlib.asynccontextmanager
async def warm(service: Service, report: Callable[[str], object]) -> AsyncIterator[None]:
    """Read it in the background of a block; `report` is given a line at the beginning and one at each end."""
    task = asyncio.create_task(_follow(service, report))
    try:
        yield
    finally:
        task.cancel()


async def _follow(service: Service, report: Callable[[str], object]) -> None:
    """Read the snapshot that the server shows, and each that is published after it."""
    report("Reading the lake for the explorer and for searches, in the background.")
    seen, failed = -1, ""
    while True:
        begun = time.monotonic()
        try:
            number = await service.resolve(service.base)
            if number != seen:
                for prepare in service.preparations:
                    await prepare()
                what = "The lake has" if seen < 0 else f"Snapshot {number} was published, and has"
                report(f"{what} been read in {time.monotonic() - begun:.0f} s.")
                seen, failed = number, ""
        except WarehouseError as error:  # who asks is answered with the same; read again once it is gone
            if str(error) != failed:
                failed = str(error)
                report(f"The lake could not be read: {failed}")
        if service.base.snapshot is not None:
            return
        await asyncio.sleep(_PAUSE)
