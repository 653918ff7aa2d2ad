"""Fetches a unit of headers from .dcm objects: by ranged requests up to the pixels, converted to DICOM JSON.

The first request takes the header of nearly every image; where it does not, larger ones follow. Needs nothing but the
bucket, the settings and the planned rows, so it can run in any process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from warehouse.dicom import file_headers
from warehouse.errors import UnreadableError
from warehouse.ingest.fetching import Fetched, make_json_field
from warehouse.ingest.planning import PLAN_ONLY
from warehouse.object_store.base import NOT_TRIED, ReadFailure

if TYPE_CHECKING:
    import pyarrow as pa

    from warehouse.object_store.base import Bucket
    from warehouse.settings import Settings

#: Bytes of the first request. Headers of CT and X-ray images have 2 to 15 kB.
FIRST_BYTES = 32_768
#: How much of an object counts in the size of a unit: about what its header takes.
UNIT_BYTES = 8_192
#: Each further request reads up to this many times as far.
_GROWTH = 8
#: After this many objects in a row that the bucket did not answer for, reading stops.
_PATIENCE = 32


def fetch_headers(bucket: Bucket, settings: Settings, objects: pa.Table) -> Fetched:
    """Read the headers of the planned objects; SourceError if the bucket denies access.

    The patient is the one that the header names, where the key does not. Once the headers have twice the bytes that a
    unit may have, the rest is left for the next plan, and `Fetched` has the objects before them only.
    """
    import pyarrow as pa

    found = _read_all(bucket, settings, objects)
    objects = objects.slice(0, len(found))
    texts: list[str | None] = []
    patients: list[str | None] = []
    odd: dict[int, bytes | ReadFailure] = {}
    rows = zip(objects.column("layout").to_pylist(), objects.column("patient_id").to_pylist(), found, strict=True)
    for place, (layout, patient, header) in enumerate(rows):
        named = _name_patient(layout, patient, header)
        if isinstance(named, ReadFailure):
            odd[place] = named
        is_read = place not in odd and not isinstance(header, ReadFailure)
        texts.append(header.text if is_read and not isinstance(header, ReadFailure) else None)
        patients.append(patient if isinstance(named, ReadFailure) else named)
    column = pa.array(texts, pa.large_string())
    at = objects.schema.get_field_index("patient_id")
    batch = objects.set_column(at, objects.schema.field(at), pa.array(patients, objects.schema.field(at).type))
    batch = batch.drop_columns(PLAN_ONLY).append_column(make_json_field("content", column), column)
    return Fetched(objects, batch, odd)


def _name_patient(
    layout: str, patient: str | None, header: file_headers.FileHeader | ReadFailure
) -> str | ReadFailure | None:
    """The patient of an object, or why it has none."""
    if isinstance(header, ReadFailure) or layout != "any":
        return header if isinstance(header, ReadFailure) else patient
    named = header.patient_id
    if not named:
        return ReadFailure("names no patient: PatientID is empty, and so is the key by its layout", retry=False)
    if "\\" in named or "/" in named or not named.isprintable():
        return ReadFailure("PatientID is not a name of one patient: it has a slash or a control character", retry=False)
    return named


def _read_all(bucket: Bucket, settings: Settings, objects: pa.Table) -> list[file_headers.FileHeader | ReadFailure]:
    """Read objects concurrently, in their order, as far as they fit in a unit."""
    rows = [*zip(*(objects.column(name).to_pylist() for name in ("key", "etag", "size")), strict=True)]
    most = settings.max_object_mb * 1_000_000
    room = 2 * settings.unit_mb * 1_000_000
    found: list[file_headers.FileHeader | ReadFailure] = []
    silent = 0
    with file_headers.quiet_pydicom(), ThreadPoolExecutor(settings.fetch_threads) as pool:
        answers = _submit_ahead(pool, bucket, rows, most, 4 * settings.fetch_threads)
        for answer in answers:
            header = answer.result() if silent < max(settings.fetch_threads, _PATIENCE) else NOT_TRIED
            silent = silent + 1 if isinstance(header, ReadFailure) and header.error else 0
            found.append(header)
            room -= len(header.text) if not isinstance(header, ReadFailure) else 0
            if room < 0:
                answers.close()
                break
    return found


def _submit_ahead(
    pool: ThreadPoolExecutor, bucket: Bucket, rows: list[tuple[str, str, int]], most: int, ahead: int
) -> Generator[Future[file_headers.FileHeader | ReadFailure], None, None]:
    """Yield the readings in order, a bounded number of them begun ahead."""
    begun: deque[Future[file_headers.FileHeader | ReadFailure]] = deque()
    try:
        for row in rows:
            begun.append(pool.submit(_read_one, bucket, *row, most))
            if len(begun) > ahead:
                yield begun.popleft()
        yield from begun
    finally:
        for one in begun:
            one.cancel()


def _read_one(bucket: Bucket, key: str, etag: str, size: int, most: int) -> file_headers.FileHeader | ReadFailure:
    content = b""
    end = min(size, FIRST_BYTES)
    while True:
        more = bucket.read_range(key, etag, size, len(content), end) if end > len(content) else b""
        if isinstance(more, ReadFailure):
            return more
        content += more
        too_large = ReadFailure(
            f"a header of more than {most // 1_000_000} MB (CHEST_MAX_OBJECT_MB): not read", retry=True
        )
        try:
            found = file_headers.read_header(content, size)
            return found if len(found.text) <= most else too_large
        except UnreadableError as error:
            return ReadFailure(str(error), retry=False)
        except file_headers.NeedMoreError as short:
            if len(content) >= min(size, most):
                return too_large
            end = min(size, most, max(short.needed, _GROWTH * len(content)))
