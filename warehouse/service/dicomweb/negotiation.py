"""Chooses the media type of a response from those that a request accepts (PS3.18 8.7, 8.3.3.1; RFC 9110 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from starlette.requests import Request

from warehouse.service.dicomweb.errors import NotAcceptableError

JSON = "application/dicom+json"
DICOM = "application/dicom"
OCTETS = "application/octet-stream"
EXPLICIT = "1.2.840.10008.1.2.1"
#: Any transfer syntax: that in which the object is stored (PS3.18 8.7.3.5.2).
STORED = "*"

#: The media types of compressed frames, by transfer syntax (PS3.18 table 8.7.3-2).
MEDIA_OF_SYNTAX = {
    "1.2.840.10008.1.2.5": "image/dicom-rle",
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70)), "image/jpeg"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (80, 81)), "image/jls"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (90, 91)), "image/jp2"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (92, 93)), "image/jpx"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (201, 202, 203)), "image/jphc"),
}
#: The transfer syntax that a media type means where none is named (PS3.18 table 8.7.3-2).
_DEFAULT_SYNTAX = {
    "image/dicom-rle": "1.2.840.10008.1.2.5",
    "image/jpeg": "1.2.840.10008.1.2.4.70",
    "image/jls": "1.2.840.10008.1.2.4.80",
    "image/jp2": "1.2.840.10008.1.2.4.90",
    "image/jpx": "1.2.840.10008.1.2.4.92",
    "image/jphc": "1.2.840.10008.1.2.4.201",
}
_ANY = ("*/*", "application/*")
#: A quote that is not closed runs to the end. Nothing is tried twice: a long header takes no longer than its length.
_OUTSIDE_QUOTES = r'(?:[^{separator}"]|"(?:[^"\\]|\\.)*+(?:"|\\?\Z))++'
_PARTS = {separator: re.compile(_OUTSIDE_QUOTES.format(separator=separator)) for separator in ",;"}


@dataclass(frozen=True, slots=True)
class Accepted:
    """A media type that a request accepts; within multipart/related, that of the parts."""

    media: str
    is_multipart: bool = False
    syntax: str = ""
    quality: float = 1.0
    parameters: dict[str, str] = field(default_factory=dict, compare=False)


def parse_accept(request: Request) -> list[Accepted]:
    """The accepted media types, best first: of the parameter `accept` or of the header; any, if neither is there."""
    text = request.query_params.get("accept") or ",".join(request.headers.getlist("accept")) or "*/*"
    found = [_parse_one(part.strip()) for part in _PARTS[","].findall(text) if part.strip()]
    return sorted((each for each in found if each.quality > 0), key=lambda each: -each.quality)


def _parse_one(text: str) -> Accepted:
    media, *words = (word.strip() for word in _PARTS[";"].findall(text) or [""])
    given: dict[str, str] = {}
    for word in words:
        name, _, value = word.partition("=")
        given[name.strip().lower()] = value.strip().strip('"')
    media = media.lower()
    is_multipart = media == "multipart/related"
    try:
        quality = float(given.get("q", "1"))
    except ValueError:
        quality = 0.0
    inner = given.get("type", "*/*").lower() if is_multipart else media
    return Accepted(inner, is_multipart, given.get("transfer-syntax", ""), quality, given)


def require_json(request: Request) -> str:
    """The media type of JSON that is accepted (PS3.18 10.6.4); NotAcceptableError if only XML is."""
    for each in parse_accept(request):
        if not each.is_multipart and each.media in (JSON, *_ANY):
            return JSON
        if not each.is_multipart and each.media == "application/json":
            return each.media
    raise NotAcceptableError(f"Searches and metadata are {JSON}; XML is not offered.")


def choose_instances(request: Request, *, is_single: bool) -> tuple[bool, str]:
    """Whether instances come as parts, and in which transfer syntax: EXPLICIT or STORED or one by its UID.

    Explicit VR Little Endian is what is meant where none is named (PS3.18 8.7.3.5.2).
    """
    for each in parse_accept(request):
        if each.media not in (DICOM, *_ANY) or not (each.is_multipart or is_single or each.media in _ANY):
            continue
        as_parts = each.is_multipart or not is_single
        return as_parts, each.syntax or EXPLICIT
    raise NotAcceptableError(f'Instances are multipart/related; type="{DICOM}", a single one also {DICOM}.')


@dataclass(frozen=True, slots=True)
class FrameForm:
    """How frames are sent: as parts or alone, in which media type and transfer syntax, decoded or as stored."""

    is_multipart: bool
    media: str
    syntax: str
    is_decoded: bool

    @property
    def content_type(self) -> str:
        """The Content-Type of a frame."""
        return f"{self.media}; transfer-syntax={self.syntax}"


def choose_frames(accepted: Iterable[Accepted], stored: str, *, is_single: bool) -> FrameForm:
    """How the frames of an object are sent, of which `stored` is the transfer syntax."""
    is_native = stored in (EXPLICIT, "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")
    for each in accepted:
        as_parts = each.is_multipart or not is_single
        if each.media not in (OCTETS, *_ANY, "image/*", MEDIA_OF_SYNTAX.get(stored)) or (
            not each.is_multipart and not is_single and each.media not in _ANY
        ):
            continue
        if each.media in (OCTETS, *_ANY):
            if each.syntax in ("", EXPLICIT) or (each.syntax == STORED and is_native):
                return FrameForm(as_parts, OCTETS, EXPLICIT, is_decoded=True)
            if each.syntax in (STORED, stored) and not is_native:
                return FrameForm(as_parts, OCTETS, stored, is_decoded=False)
        elif not is_native and (
            each.syntax in (STORED, stored) or (not each.syntax and _DEFAULT_SYNTAX.get(each.media) == stored)
        ):
            return FrameForm(as_parts, MEDIA_OF_SYNTAX[stored], stored, is_decoded=False)
    raise NotAcceptableError(
        f"The frames are stored in transfer syntax {stored}: accept {OCTETS} for decoded frames, or "
        f'multipart/related; type="{MEDIA_OF_SYNTAX.get(stored, OCTETS)}"; transfer-syntax=*'
    )


def choose_image(request: Request) -> str:
    """The media type of a rendered image (PS3.18 8.7.4): JPEG, or PNG if that is preferred."""
    for each in parse_accept(request):
        if not each.is_multipart and each.media in ("image/jpeg", "image/png"):
            return each.media
        if not each.is_multipart and each.media in ("*/*", "image/*"):
            return "image/jpeg"
    raise NotAcceptableError("Rendered images are image/jpeg or image/png.")
