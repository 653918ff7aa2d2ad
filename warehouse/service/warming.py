"""Reads what is shown of the newest snapshot when the server starts, so that the first who asks need not wait."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

from warehouse.errors import WarehouseError
from warehouse.service.core import Service


@contextlib.asynccontextmanager
async def warm(service: Service, report: Callable[[str], object]) -> AsyncIterator[None]:
    """Read it in the background of a block; `report` is given a line at the beginning and one at the end."""
    task = asyncio.create_task(_read(service, report))
    try:
        yield
    finally:
        task.cancel()


async def _read(service: Service, report: Callable[[str], object]) -> None:
    begun = time.monotonic()
    report("Reading the lake for the explorer and for searches, in the background.")
    try:
        for prepare in service.preparations:
            await prepare()
    except WarehouseError as error:  # who asks is answered with the same
        report(f"The lake could not be read: {error}")
    else:
        report(f"The lake has been read in {time.monotonic() - begun:.0f} s.")
