"""Why a request of DICOMweb cannot be answered, where HTTP has a status of its own for it (PS3.18 8.5)."""

from __future__ import annotations

from warehouse.errors import WarehouseError


class NotAcceptableError(WarehouseError):
    """None of the media types that are accepted can be made."""

    http = (406, "None of the accepted media types can be made")


class ChangedError(WarehouseError):
    """The object in the bucket is not the one that the lake has listed."""

    http = (409, "The object has changed in the bucket")


class GoneError(WarehouseError):
    """The object is no longer in the bucket."""

    http = (410, "The object is gone from the bucket")


class UndecodableError(WarehouseError):
    """The pixels of an object cannot be decoded."""

    http = (422, "The pixels cannot be decoded")


class MissingIndexError(WarehouseError):
    """The index was closed with its snapshot, or made room for another: it is made again."""

    http = (503, "The lake is being opened")
    heals = True
