"""Keeps the facets that were read: images by snapshot and group, patients by day as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from warehouse.service.core import Service
from warehouse.service.explorer.reading import ImageRows, read_images, read_table
from warehouse.service.explorer.table import FacetTable
from warehouse.service.preparing import Progress
from warehouse.service.scope import Scope
from warehouse.service.sharing import Shared
from warehouse.service.tokens import Caller, Rights

T = TypeVar("T")

#: What is kept: groups of images, and days of patients. A million patients with 8 million images are 0.1 GB each.
_MOST_IMAGES, _MOST_TABLES = 2, 4


class FacetTables:
    """The facets that were read. Each is read once, however many wait for it."""

    def __init__(self, service: Service) -> None:
        """Begin with none."""
        self.service = service
        self._images: Shared[object, ImageRows] = Shared()
        self._tables: Shared[object, FacetTable] = Shared()
        service.preparations.append(self.prepare_all)

    async def prepare_all(self) -> None:
        """Read the facets of all that the server shows."""
        scope = self.service.base
        caller = Caller("the server itself", Rights.counts, (scope.group,))
        await self.find(caller, scope, scope, await self.service.resolve(scope), None)

    async def find(
        self, caller: Caller, scope: Scope, latest: Scope, snapshot: int, patience: float | None
    ) -> FacetTable:
        """The facets of a scope, of which `latest` has the latest day that may be asked for.

        ForbiddenError as in `Service.require`, PreparingError when they take longer than `patience` seconds to read.
        """
        self.service.require(caller, scope, Rights.counts)

        async def find(
            kept: Shared[object, T], most: int, what: str, of: Scope, read: Callable[..., T], *given: Any
        ) -> T:
            key = (snapshot, self.service.readers.list_version, of.as_of, of.group, of.cover)
            if (found := kept.get(key)) is not None:
                return found

            async def make(progress: Progress) -> T:
                made = await self.service.read(caller, of, Rights.counts, read, *given, progress, snapshot=snapshot)
                kept.put(key, made, caller.name)
                for other in {*kept}.difference(kept.choose_kept([*kept], most)):
                    kept.drop(other)
                return made

            return await self.service.preparing.wait((what, *key), what, make, patience, whose=caller.name)

        images = await find(self._images, _MOST_IMAGES, "Images", latest, read_images)
        return await find(self._tables, _MOST_TABLES, "Patients", scope, read_table, images)
