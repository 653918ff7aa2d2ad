"""The headers of images, as the metadata of DICOMweb (PS3.18 10.4.1.1.2): DICOM JSON, with addresses of what is large.

Headers are stored in normal form (warehouse/dicom). Changed here: the patient is that of the key; an attribute that is
null gets its VR, as the standard has it; bulk data are at addresses of this server, wherever they were before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from warehouse.catalog import dicom_dictionary
from warehouse.engine import sql_files
from warehouse.service.dicomweb.index import Span
from warehouse.service.dicomweb.studies import Stored

if TYPE_CHECKING:
    from warehouse.api import Warehouse

#: Headers as they are stored, by source and key.
Headers: TypeAlias = dict[tuple[str, str], str]

PIXEL_DATA = "7FE00010"
_PATIENT_ID = "00100020"
_QUOTED_PATIENT_ID = f'"{_PATIENT_ID}"'
#: What stands before a null that is no value of an attribute, or none of its bytes, or its only value. No text matches:
#: quotes in it are escaped. A null is found first, since a search for the whole is slow.
_BEFORE_NULL = re.compile(r'(?:"([0-9A-F]{8})"\s*:|(,\s*"InlineBinary"\s*:)|(,\s*"Value"\s*:\s*\[))\s*$')
_END_OF_LIST = re.compile(r"\s*\]")
_LONGEST_BEFORE = 64
#: The name of an attribute before its value, and the length of both ways to write it.
_NAME = re.compile(r'"([0-9A-F]{8})": ?$')
_LONGEST_NAME = len('"00100020": ')
#: How most headers write what stands before a null that is all bytes of an attribute, or its only value.
_BYTES, _VALUE = ', "InlineBinary": ', ', "Value": ['
#: The patient that a header names, in most headers once and as the key does.
_PATIENT = re.compile(r'\s*:\s*\{\s*"vr"\s*:\s*"LO"\s*,\s*"Value"\s*:\s*\[\s*"([^"\\]*)"\s*\]\s*\}')


def read_headers(warehouse: Warehouse, places: Iterable[tuple[str, str, str]]) -> Headers:
    """The headers of images, given by patient, source and key; by source and key."""
    places = list(places)
    if not places:
        return {}
    patients, keys = sorted({place[0] for place in places}), sorted({place[2] for place in places})
    values = {
        "first_patient": patients[0],
        "last_patient": patients[-1],
        "first_key": keys[0],
        "last_key": keys[-1],
        "keys": keys,
    }
    rows = warehouse.con.execute(sql_files.read_statements("dicomweb/search.sql")["headers"], values).fetchall()
    return {(source, key): header for source, key, header in rows}


def read_span(warehouse: Warehouse, span: Span, most: int) -> Headers | None:
    """The headers of a span, by source and key; None if it has more than so many."""
    text = sql_files.read_statements("dicomweb/search.sql")["headers between"]
    given = {"patient": span.patient, "first_key": span.first_key, "last_key": span.last_key, "most": most + 1}
    rows = warehouse.con.execute(text, given).fetchall()
    return {(source, key): header for source, key, header in rows} if len(rows) <= most else None


def read_metadata(warehouse: Warehouse, images: Sequence[Stored], base: str, found: Headers | None = None) -> list[str]:
    """The metadata of images, each as JSON; `base` is the address of the service, `found` their headers, if read."""
    if found is None:
        found = read_headers(warehouse, [(image.patient_id, image.source, image.key) for image in images])
    texts = ((found.get((image.source, image.key)), image) for image in images)
    return [write_metadata(text, image, f"{base}{image.path}") for text, image in texts if text is not None]


def write_metadata(header: str, image: Stored, address: str) -> str:
    """The metadata of an image: its header, with the patient of the key and addresses of bulk data."""
    is_single = header.count(_QUOTED_PATIENT_ID) == 1
    patient = _PATIENT.match(header, header.find(_QUOTED_PATIENT_ID) + len(_QUOTED_PATIENT_ID)) if is_single else None
    is_plain = patient is not None and patient[1] == image.patient_id
    if not is_plain or '"BulkDataURI"' in header or PIXEL_DATA in header:
        return json.dumps(_rewrite(json.loads(header), image, address), ensure_ascii=False)
    text = _fill_nulls(header)
    return f"{text.rstrip()[:-1]}, {json.dumps(_pixels(address))[1:]}" if image.dcm_key else text


def _fill_nulls(header: str) -> str:
    """A header whose attributes without a value have only their VR."""
    pieces = header.split("null")
    for number, piece in enumerate(pieces[:-1]):
        # `piece` is as it was split: what is taken away below is the beginning of the next, not its end.
        if filled := _fill_attribute(piece[-_LONGEST_NAME:]):
            pieces[number] += filled
        elif piece.endswith(_BYTES):
            pieces[number] = pieces[number][: -len(_BYTES)]
        elif piece.endswith(_VALUE) and pieces[number + 1].startswith("]"):
            pieces[number] = pieces[number][: -len(_VALUE)]
            pieces[number + 1] = pieces[number + 1][1:]
        else:
            return _fill_other_nulls(header)
    return "".join(pieces)


@lru_cache(maxsize=10_000)
def _fill_attribute(before: str) -> str:
    """What stands for a null after the name of an attribute, as most headers write it; "" where there is none."""
    found = _NAME.search(before)
    return f'{{"vr": "{_find_vr(found[1])}"}}' if found else ""


def _fill_other_nulls(header: str) -> str:
    """The same for headers that are written otherwise, or that have the word elsewhere."""
    pieces, done, place = [], 0, header.find("null")
    while place >= 0:
        found, end = _BEFORE_NULL.search(header, max(done, place - _LONGEST_BEFORE), place), place + len("null")
        closed = _END_OF_LIST.match(header, end) if found and found[3] else None
        if found and found[1]:
            pieces += [header[done:place], f'{{"vr": "{_find_vr(found[1])}"}}']
            done = end
        elif found and (found[2] or closed):
            pieces.append(header[done : found.start()])
            done = closed.end() if closed else end
        place = header.find("null", end)
    return "".join([*pieces, header[done:]])


def _find_vr(tag: str) -> str:
    """The VR of a tag; the first where the dictionary gives several ("US or SS")."""
    return dicom_dictionary.find_vr(tag).split()[0]


def _pixels(address: str) -> dict[str, Any]:
    return {PIXEL_DATA: {"vr": "OW", "BulkDataURI": f"{address}/bulkdata/{PIXEL_DATA}"}}


def _rewrite(header: dict[str, Any], image: Stored, address: str) -> dict[str, Any]:
    found = rewrite_items(header, f"{address}/bulkdata")
    found[_PATIENT_ID] = {"vr": "LO", "Value": [image.patient_id]}
    found.pop(PIXEL_DATA, None)
    if image.dcm_key:
        found |= _pixels(address)
    return dict(sorted(found.items()))


def rewrite_items(data_set: dict[str, Any], place: str) -> dict[str, Any]:
    """A data set without nulls, and with bulk data at addresses below `place`: the tags and items that
    lead there; without bulk data if there is no place."""
    found: dict[str, Any] = {}
    for tag, attribute in data_set.items():
        if attribute is None:
            found[tag] = {"vr": _find_vr(tag)}
            continue
        if not isinstance(attribute, dict):  # no attribute: a member that no reader of DICOM JSON expects
            continue
        copy = dict(attribute)
        if copy.get("InlineBinary", "") is None:
            del copy["InlineBinary"]
        if copy.get("Value") == [None]:
            del copy["Value"]
        if copy.pop("BulkDataURI", None) and place:
            copy["BulkDataURI"] = f"{place}/{tag}"
        if copy.get("vr") == "SQ" and isinstance(copy.get("Value"), list):
            copy["Value"] = [
                rewrite_items(item or {}, f"{place}/{tag}/{number}") if isinstance(item, dict | None) else item
                for number, item in enumerate(copy["Value"])
            ]
        found[tag] = copy
    return found
