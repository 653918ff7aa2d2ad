"""Conditions of use in the terms of the Data Use Ontology (DUO) of GA4GH, and of MONDO for diseases."""

from __future__ import annotations

from typing import Any

from warehouse.access import duo_terms
from warehouse.errors import UsageError

#: What CHEST_DATA_USE may have: permissions and modifiers, and the disease of this database.
TERMS = {**duo_terms.CONDITIONS, **duo_terms.DISEASES}


def parse_conditions(text: str) -> tuple[str, ...]:
    """Parse the codes of CHEST_DATA_USE, separated by white space; UsageError names an unknown one."""
    codes = tuple(text.upper().split())
    for code in codes:
        if code not in TERMS:
            raise UsageError(f"CHEST_DATA_USE has {code!r}, which is not known. Known are {', '.join(TERMS)}.")
    return codes


def describe_condition(code: str) -> dict[str, Any]:
    """Describe a condition as schema.org's DefinedTerm, which Croissant asks for in `usageInfo`."""
    prefix, _, number = code.partition(":")
    return {
        "@type": "sc:DefinedTerm",
        "name": TERMS[code],
        "termCode": f"{prefix}_{number}",
        "url": f"http://purl.obolibrary.org/obo/{prefix}_{number}",
    }
