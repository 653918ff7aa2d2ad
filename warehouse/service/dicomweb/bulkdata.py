"""The value of an attribute, by the path that metadata give it: a tag, or the tags and items that lead to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.errors import NotFoundError

if TYPE_CHECKING:
    from pydicom import Dataset

PIXEL_DATA = "7FE00010"


def read_value(dataset: Dataset, place: str) -> bytes:
    """The bytes of an attribute, as 00420011 or 00400275/0/00400007; NotFoundError if the file has none there."""
    *steps, last = place.split("/")
    try:
        for tag, number in zip(steps[::2], steps[1::2], strict=True):
            dataset = dataset[int(tag, 16)].value[int(number)]
        value = dataset[int(last, 16)].value
    except (KeyError, ValueError, IndexError, TypeError, AttributeError, OverflowError):
        raise NotFoundError("The image has no such attribute.") from None
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise NotFoundError("The attribute has no bytes: it is in the metadata.")
