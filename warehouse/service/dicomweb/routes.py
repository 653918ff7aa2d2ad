"""The resources of DICOMweb (PS3.18 10.1.1), and the handlers that search (QIDO-RS) and give metadata (WADO-RS)."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from warehouse.service.core import Service
from warehouse.service.dicomweb import addresses, headers, negotiation, searching
from warehouse.service.dicomweb.attributes import Level
from warehouse.service.dicomweb.index import Index, Indexes, Span, find_span
from warehouse.service.dicomweb.remembering import Answers
from warehouse.service.dicomweb.retrieval import Retrieval
from warehouse.service.dicomweb.search_query import SearchQuery, parse_search
from warehouse.service.dicomweb.searching import Found
from warehouse.service.dicomweb.streaming import answer_pieces
from warehouse.service.dicomweb.studies import BYTES_OF_IMAGE, Stored, Studies

if TYPE_CHECKING:
    from warehouse.api import Warehouse

#: Headers that are read at a time, for metadata.
_BATCH = 400
#: How many more are read ahead at the most, since images of other studies may stand between.
_MOST_AHEAD = 2
#: A path of more UIDs names an instance.
_UIDS_OF_SERIES = 2
_STUDY, _SERIES = "/studies/{StudyInstanceUID}", "/series/{SeriesInstanceUID}"
_INSTANCE = f"{_STUDY}{_SERIES}/instances/{{SOPInstanceUID}}"


@dataclass(frozen=True, slots=True)
class Metadata:
    """The images of a path, and the metadata of the first of them, as JSON without the brackets of a list."""

    body: bytes
    images: list[Stored]

    @property
    def n_bytes(self) -> int:
        """What it takes in memory."""
        return len(self.body) + BYTES_OF_IMAGE * len(self.images)


class Searching:
    """Handlers of searches and metadata."""

    def __init__(self, service: Service, indexes: Indexes, studies: Studies) -> None:
        """Answer from these."""
        self.service, self.indexes, self.studies = service, indexes, studies
        self.answers = Answers()
        self._ahead = ThreadPoolExecutor(service.limits.readers, thread_name_prefix="headers")

    async def search_studies(self, request: Request) -> Response:
        """Search for studies."""
        return await self._search(request, "study")

    async def search_series(self, request: Request) -> Response:
        """Search for series, of all studies or of one."""
        return await self._search(request, "series")

    async def search_instances(self, request: Request) -> Response:
        """Search for instances: of all studies, of one, or of a series."""
        return await self._search(request, "instance")

    async def _search(self, request: Request, level: Level) -> Response:
        media = negotiation.require_json(request)
        query = parse_search(level, request.query_params.multi_items())
        most = self.service.limits.most_rows
        asked = most if query.limit is None else min(query.limit, most)
        base = addresses.find_base(request)
        state = request.state
        found = await self.indexes.read(
            state.caller,
            state.scope,
            state.snapshot,
            self._find_results,
            query,
            addresses.get_uids(request),
            asked,
            base,
        )
        state.logged = {"rows": found.n_results}
        if found.has_more and (query.limit is None or query.limit > most):
            query.warnings.append("There are additional results that can be requested.")
        response = Response(status_code=204)
        if found.n_results:
            response = Response(found.body, media_type=media)
        for warning in query.warnings:
            response.headers.append("Warning", f'299 {base} "{warning}"')
        response.headers["Cache-Control"] = "private, no-cache"
        return response

    async def retrieve_metadata(self, request: Request) -> Response:
        """Give the metadata of a study, a series or an instance."""
        media = negotiation.require_json(request)
        state, base = request.state, addresses.find_base(request)
        read = functools.partial(self.indexes.read, state.caller, state.scope, state.snapshot)
        found = await read(self._find_metadata, (*addresses.get_uids(request).values(),), base)
        state.logged = {"rows": len(found.images)}
        if len(found.images) <= _BATCH:
            return Response(b"[%b]" % found.body, media_type=media, headers={"Cache-Control": "private, no-cache"})

        async def write() -> AsyncIterator[bytes]:
            yield b"[" + found.body
            for start in range(_BATCH, len(found.images), _BATCH):
                yield b"," + await read(_read_metadata, found.images[start : start + _BATCH], base)
            yield b"]"

        return await answer_pieces(write(), media)

    def _find_results(
        self, warehouse: Warehouse, index: Index, query: SearchQuery, path: Mapping[str, str], most: int, base: str
    ) -> Found:
        """The results of a search."""
        asked = ("search", query.asked, query.offset, most, (*path.items(),), base)
        return self.answers.find(
            warehouse, index, asked, lambda: searching.search(warehouse, index, query, path, most, base)
        )

    def _find_metadata(self, warehouse: Warehouse, index: Index, uids: tuple[str, ...], base: str) -> Metadata:
        """The images of a path, and the metadata of as many of them as are read at a time."""

        def read() -> Metadata:
            span = self._find_span(warehouse, index, uids)
            ahead = self._ahead.submit(self._read_span, index, span) if span and span.n_images <= _BATCH else None
            try:
                images = self.studies.find(warehouse, index, *uids, patient=span.patient if span else "")
            finally:
                found = ahead.result() if ahead else None
            return Metadata(_read_metadata(warehouse, index, images[:_BATCH], base, found), images)

        return self.answers.find(warehouse, index, ("metadata", uids, base), read)

    def _find_span(self, warehouse: Warehouse, index: Index, uids: tuple[str, ...]) -> Span | None:
        """Where the headers of a study or series are, to read them in another thread while its images are looked up.

        Planning either query takes most of its time. None where that is no gain: for a single instance, and for a study
        whose images are remembered.
        """
        is_known = len(uids) > _UIDS_OF_SERIES or self.studies.knows(warehouse, index, uids[0])
        return None if is_known else find_span(warehouse, index, *uids)

    def _read_span(self, index: Index, span: Span) -> headers.Headers | None:
        with self.service.readers.read(index.scope, index.snapshot) as warehouse:
            return headers.read_span(warehouse, span, _MOST_AHEAD * _BATCH)


def _read_metadata(
    warehouse: Warehouse,
    index: Index,  # noqa: ARG001
    images: list[Stored],
    base: str,
    found: headers.Headers | None = None,
) -> bytes:
    return ",".join(headers.read_metadata(warehouse, images, base, found)).encode()


def list_routes(service: Service) -> list[BaseRoute]:
    """The routes of DICOMweb."""
    indexes, studies = Indexes(service), Studies()
    searching_, retrieval = Searching(service, indexes, studies), Retrieval(service, indexes, studies)
    paths = {
        "/studies": searching_.search_studies,
        "/series": searching_.search_series,
        "/instances": searching_.search_instances,
        f"{_STUDY}/series": searching_.search_series,
        f"{_STUDY}/instances": searching_.search_instances,
        f"{_STUDY}{_SERIES}/instances": searching_.search_instances,
        **{f"{place}/metadata": searching_.retrieve_metadata for place in (_STUDY, _STUDY + _SERIES, _INSTANCE)},
        **dict.fromkeys((_STUDY, _STUDY + _SERIES, _INSTANCE), retrieval.retrieve_instances),
        **{f"{place}/thumbnail": retrieval.render_thumbnail for place in (_STUDY, _STUDY + _SERIES, _INSTANCE)},
        f"{_INSTANCE}/frames/{{frames}}": retrieval.retrieve_frames,
        f"{_INSTANCE}/rendered": retrieval.render_image,
        f"{_INSTANCE}/frames/{{frames}}/rendered": retrieval.render_image,
        f"{_INSTANCE}/frames/{{frames}}/thumbnail": retrieval.render_thumbnail,
        f"{_INSTANCE}/bulkdata/{{place:path}}": retrieval.retrieve_bulkdata,
    }
    return [
        Mount(addresses.PATH, routes=[Route(path, _name(handler), methods=["GET"]) for path, handler in paths.items()])
    ]


def _name(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """A handler as a function of its own name, which the log has."""

    @functools.wraps(handler)
    async def answer(request: Request) -> Response:
        return await handler(request)

    return answer
