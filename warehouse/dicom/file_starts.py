"""Finds from its first bytes why a file is not a DICOM file."""

from __future__ import annotations

from typing import Literal

from warehouse.errors import UnreadableError

#: The bytes before the prefix of a DICOM file (PS3.10 7.1), and the prefix.
_PREAMBLE, _PREFIX = 128, b"DICM"
#: A data set without preamble begins with group 0002 or 0008, in either byte order, and a low element number.
_FIRST_TAGS = (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08")

_OTHERS = (
    ((b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"7z\xbc\xaf", b"BZh", b"\xfd7zXZ", b"Rar!"), "an archive"),
    # A CMS envelope (PS3.15 B) is a sequence of ASN.1 of more than a few bytes.
    ((b"\x30\x80\x06", b"\x30\x82", b"\x30\x83", b"\x30\x84"), "perhaps encrypted (a CMS envelope, as of PS3.15)"),
    ((b"Salted__", b"age-encryption.org", b"-----BEGIN PGP", b"\x85\x01", b"\x85\x02", b"\x8c\x0d"), "encrypted"),
    ((b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\x00", b"MM\x00*"), "a picture in another format"),
    ((b"%PDF",), "a PDF"),
    ((b"<",), "HTML or XML"),
    ((b"{", b"["), "JSON"),
)


def check_start(content: bytes, size: int) -> None:
    """Raise UnreadableError unless a file of this size, with these first bytes, may be DICOM."""
    if not size:
        raise UnreadableError("empty")
    if content[_PREAMBLE : _PREAMBLE + 4] == _PREFIX or _begins_with_tag(content):
        return
    if not content.strip(b"\0"):
        raise UnreadableError("not a DICOM file: nothing but zeros")
    for starts, what in _OTHERS:
        if content.lstrip().startswith(starts) or content.startswith(starts):
            raise UnreadableError(f"not a DICOM file, but {what}" if what != "encrypted" else "encrypted")
    if size < _PREAMBLE + 4:
        raise UnreadableError(f"not a DICOM file: {size:,} bytes, too short for one")
    raise UnreadableError("not a DICOM file: without the prefix DICM after 128 bytes")


def _begins_with_tag(content: bytes) -> bool:
    """Whether it may be a data set without preamble, as older programs wrote: an element with a length that fits."""
    if len(content) < 16 or content[:2] not in _FIRST_TAGS:
        return False
    order: Literal["little", "big"] = "little" if content[0] else "big"
    element = int.from_bytes(content[2:4], order)
    is_explicit = content[4:6].isalpha() and content[4:6].isupper()
    length = int.from_bytes(content[6:8] if is_explicit else content[4:8], order)
    return element <= 0x0100 and length <= 1024
