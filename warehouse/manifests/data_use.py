"""Conditions of use in the terms of the Data Use Ontology (DUO) of GA4GH, and of MONDO for diseases."""

from __future__ import annotations

from typing import Any

from warehouse.errors import UsageError

#: Permissions and modifiers of DUO (http://purl.obolibrary.org/obo/duo.owl), and the disease of this database.
TERMS = {
    "DUO:0000004": "no restriction",
    "DUO:0000006": "health or medical or biomedical research",
    "DUO:0000007": "disease specific research",
    "DUO:0000011": "population origins or ancestry research only",
    "DUO:0000012": "research specific restrictions",
    "DUO:0000015": "no general methods research",
    "DUO:0000016": "genetic studies only",
    "DUO:0000018": "not for profit, non commercial use only",
    "DUO:0000019": "publication required",
    "DUO:0000020": "collaboration required",
    "DUO:0000021": "ethics approval required",
    "DUO:0000022": "geographical restriction",
    "DUO:0000024": "publication moratorium",
    "DUO:0000025": "time limit on use",
    "DUO:0000026": "user specific restriction",
    "DUO:0000027": "project specific restriction",
    "DUO:0000028": "institution specific restriction",
    "DUO:0000029": "return to database or resource",
    "DUO:0000042": "general research use",
    "DUO:0000043": "clinical care use",
    "DUO:0000044": "population origins or ancestry research prohibited",
    "DUO:0000045": "not for profit organisation use only",
    "DUO:0000046": "non-commercial use only",
    "MONDO:0100096": "COVID-19",
}


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
