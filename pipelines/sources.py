"""The sources of a deployment by their names, from CHEST_SOURCES: the names become those of assets."""

import re

from warehouse.errors import UsageError
from warehouse.settings import Settings

SOURCES_VARIABLE = "CHEST_SOURCES"
_NAME = re.compile("[a-z][a-z0-9_]*")
#: Names that would be those of other assets of this code location.
_TAKEN = ("cohorts", "manifests", "published", "views")


def parse_sources(settings: Settings) -> dict[str, str]:
    """The buckets of CHEST_SOURCES by their names, in its order; {} where it is empty and CHEST_SOURCE names the one.

    UsageError names the error in the text and shows the syntax.
    """
    found: dict[str, str] = {}
    for part in settings.sources.split():
        name, sign, address = part.partition("=")
        wrong = ""
        if not sign or not address:
            wrong = f"{part!r} is not NAME=BUCKET"
        elif not _NAME.fullmatch(name):
            wrong = f"{name!r} is not a valid name: small letters, digits and _ after a letter"
        elif name in _TAKEN:
            wrong = f"the name {name!r} is taken by the warehouse itself"
        elif name in found:
            wrong = f"the name {name!r} is given twice"
        elif address.rstrip("/") in (other.rstrip("/") for other in found.values()):
            wrong = f"{address} is given twice"
        if wrong:
            raise UsageError(f'{SOURCES_VARIABLE}: {wrong}. Write  "training=s3://a validation=s3://b".')
        found[name] = address
    return found
