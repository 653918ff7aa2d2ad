"""The addresses of DICOMweb: the base that a client has, and the UIDs in a path."""

from __future__ import annotations

from starlette.requests import Request

from warehouse.errors import UsageError

#: Where the service is, below the day, snapshot, group or cohort of a path.
PATH = "/dicomweb"


def find_base(request: Request) -> str:
    """The address of the service as the client has it, with the day, snapshot, group or cohort of its path."""
    return f"{str(request.base_url).rstrip('/')}{PATH}"


def get_uids(request: Request) -> dict[str, str]:
    """The UIDs of a path; UsageError for one that cannot be a UID (PS3.5 9)."""
    found = {name: value for name, value in request.path_params.items() if name.endswith("UID")}
    for value in found.values():
        if not value or len(value) > 128 or not value.isascii() or not value.isprintable():
            raise UsageError("A UID in the path is not valid.")
    return found
