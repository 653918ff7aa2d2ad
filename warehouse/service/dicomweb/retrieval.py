"""The handlers that give pixels (WADO-RS, PS3.18 10.4): instances, frames, bulk data, rendered images, thumbnails."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from warehouse.service.core import Service
from warehouse.service.dicomweb import addresses, bulkdata, frames, negotiation, rendering, streaming
from warehouse.service.dicomweb.errors import NotAcceptableError
from warehouse.service.dicomweb.frames import Pixels
from warehouse.service.dicomweb.index import Index, Indexes
from warehouse.service.dicomweb.negotiation import DICOM, EXPLICIT, STORED, FrameForm
from warehouse.service.dicomweb.objects import Buckets
from warehouse.service.dicomweb.studies import Stored, Studies
from warehouse.service.tokens import Rights

if TYPE_CHECKING:
    from warehouse.api import Warehouse

#: Threads that wait for a bucket; decoding takes as many as there are cores.
_READING = 16


class Retrieval:
    """Handlers of what comes from the bucket."""

    def __init__(self, service: Service, indexes: Indexes, studies: Studies) -> None:
        """Answer from these."""
        self.service, self.indexes, self.studies = service, indexes, studies
        self.buckets = Buckets(service.settings)
        self.reading = streaming.Threads(_READING)
        self.decoding = streaming.Threads(os.cpu_count() or 1)

    async def retrieve_instances(self, request: Request) -> Response:
        """Give the DICOM files of a study, a series or an instance."""
        images = await self._find(request)
        as_parts, syntax = negotiation.choose_instances(request, is_single="SOPInstanceUID" in request.path_params)
        if not as_parts:
            pieces, length = await self._read_instance(images[0], syntax)
            return await streaming.answer_pieces(pieces, DICOM, length)
        base = addresses.find_base(request)
        there = [image for image in images if image.dcm_key] or images[:1]

        async def write() -> AsyncIterator[tuple[str, str, AsyncIterator[bytes]]]:
            for image in there:
                pieces, _ = await self._read_instance(image, syntax)
                yield DICOM, f"{base}{image.path}", pieces

        return await streaming.answer_parts(write(), DICOM)

    async def _read_instance(self, image: Stored, syntax: str) -> tuple[AsyncIterator[bytes], int]:
        """The bytes of a file as it is stored, or in the transfer syntax that is wanted; and how many."""
        file = await self.reading.run(self.buckets.open, image)
        if syntax != STORED:
            stored = (await self.reading.run(frames.open_header, file)).syntax
            if syntax not in (stored, EXPLICIT):
                raise NotAcceptableError(f"This object is stored in {stored}; {syntax} is not made of it.")
            file.seek(0)
            if stored != syntax:
                made = await self.decoding.run(frames.rewrite_explicit, file)
                return streaming.give_once(made), len(made)
        return self.reading.iterate(streaming.read_chunks(file)), image.size

    async def retrieve_frames(self, request: Request) -> Response:
        """Give frames, decoded or as they are stored."""
        image = (await self._find(request))[0]
        numbers = frames.parse_frame_numbers(request.path_params["frames"])
        pixels = await self._open(image)
        pixels.require(numbers)
        form = negotiation.choose_frames(negotiation.parse_accept(request), pixels.syntax, is_single=len(numbers) == 1)
        address = f"{addresses.find_base(request)}{image.path}/frames"
        return await self._send_frames(pixels, numbers, form, address)

    async def _send_frames(self, pixels: Pixels, numbers: Sequence[int], form: FrameForm, address: str) -> Response:
        read = frames.read_decoded if form.is_decoded else frames.read_stored
        if not form.is_multipart:
            frame = await self.decoding.run(read, pixels, numbers[0])
            return Response(frame, headers={"Cache-Control": "private, no-cache", "Content-Type": form.content_type})

        async def write() -> AsyncIterator[tuple[str, str, AsyncIterator[bytes]]]:
            for number in numbers:
                frame = await self.decoding.run(read, pixels, number)
                yield form.content_type, f"{address}/{number}", streaming.give_once(frame)

        return await streaming.answer_parts(write(), form.media)

    async def retrieve_bulkdata(self, request: Request) -> Response:
        """Give the value of an attribute that is not in the metadata: pixels as frames, others as bytes."""
        image = (await self._find(request))[0]
        place = request.path_params["place"]
        pixels = await self._open(image)
        accepted = negotiation.parse_accept(request)
        if place == bulkdata.PIXEL_DATA:
            form = negotiation.choose_frames(accepted, pixels.syntax, is_single=pixels.n_frames == 1)
            numbers = range(1, pixels.n_frames + 1)  # of so many as the header states
            return await self._send_frames(pixels, numbers, form, f"{addresses.find_base(request)}{image.path}/frames")
        form = negotiation.choose_frames(accepted, EXPLICIT, is_single=True)
        value = await self.decoding.run(bulkdata.read_value, pixels.dataset, place)
        if not form.is_multipart:
            return Response(value, media_type=form.media)

        async def write() -> AsyncIterator[tuple[str, str, AsyncIterator[bytes]]]:
            yield form.media, str(request.url.replace(query="")), streaming.give_once(value)

        return await streaming.answer_parts(write(), form.media)

    async def render_image(self, request: Request) -> Response:
        """Render an image, or a frame of it, for eyes."""
        return await self._render(request, rendering.parse_view(request.query_params))

    async def render_thumbnail(self, request: Request) -> Response:
        """Render a small image of a study, series, instance or frame: of its middle image."""
        given = {"viewport": f"{rendering.THUMBNAIL_SIDE},{rendering.THUMBNAIL_SIDE}", **request.query_params}
        return await self._render(request, rendering.parse_view(given))

    async def _render(self, request: Request, view: rendering.View) -> Response:
        media = negotiation.choose_image(request)
        images = await self._find(request)
        there = [image for image in images if image.dcm_key] or images
        pixels = await self._open(there[len(there) // 2])
        numbers = frames.parse_frame_numbers(request.path_params.get("frames", "1"))
        pixels.require(numbers)
        if len(numbers) > 1:
            raise NotAcceptableError(f"{media} has one frame; {len(numbers)} were asked for.")
        made = await self.decoding.run(rendering.render_frame, pixels, numbers[0], view, media)
        return Response(made, headers={"Cache-Control": "private, no-cache"}, media_type=media)

    async def _open(self, image: Stored) -> Pixels:
        def open_() -> Pixels:
            return frames.open_pixels(self.buckets.open(image))

        return await self.reading.run(open_)

    async def _find(self, request: Request) -> list[Stored]:
        """The images of a path, for somebody who may see pixels."""
        state = request.state
        self.service.require(state.caller, state.scope, Rights.pixels)
        streaming.whose.set(state.caller.name)
        uids = list(addresses.get_uids(request).values())
        images = await self.indexes.read(state.caller, state.scope, state.snapshot, self._look_up, uids)
        state.logged = {"rows": len(images)}
        return images

    def _look_up(self, warehouse: Warehouse, index: Index, uids: list[str]) -> list[Stored]:
        return self.studies.find(warehouse, index, *uids)
