"""Matches a purpose with the conditions of the data, in codes of the Data Use Ontology (DUO) of GA4GH.

The conditions are those of CHEST_DATA_USE; the codes of a request are the permission that it needs, and what it
promises of the modifiers. The rules follow the definitions of DUO (http://purl.obolibrary.org/obo/duo.owl) and the
matching of DUOS (DataBiosphere/consent-ontology, docs/Algorithms.md), with one difference: whether a disease is a kind
of another is not known here, so a person looks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from warehouse.access.verdict import Answer, Finding, Verdict

_PREFIX = "DUO:00000"
_NO_RESTRICTION, _HEALTH, _DISEASE, _ANCESTRY, _GENERAL, _CARE = (
    f"{_PREFIX}{number}" for number in ("04", "06", "07", "11", "42", "43")
)
#: The permissions: one of them is what the data are for; a purpose needs some.
PERMISSIONS = {_NO_RESTRICTION, _HEALTH, _DISEASE, _ANCESTRY, _GENERAL, _CARE}

#: What each permission of the data allows, besides itself; a purpose that needs more is refused.
_ALLOWS = {
    _NO_RESTRICTION: PERMISSIONS,
    _GENERAL: {_GENERAL, _HEALTH, _DISEASE, _ANCESTRY},
    _HEALTH: {_HEALTH, _DISEASE},
    _DISEASE: {_DISEASE},
    _ANCESTRY: {_ANCESTRY},
    _CARE: {_CARE},
}

#: Investigations, by which a purpose states what it is: the permission that each needs.
_INVESTIGATIONS = {
    f"{_PREFIX}32": _GENERAL,  # of populations
    f"{_PREFIX}33": _ANCESTRY,
    f"{_PREFIX}37": _HEALTH,  # biomedical
    f"{_PREFIX}39": _HEALTH,  # of drugs
    f"{_PREFIX}40": _DISEASE,
}
#: Development of methods, which any research may be, unless it is excluded; studies of genetics.
_METHODS, _GENETICS = f"{_PREFIX}31", f"{_PREFIX}38"
_NO_METHODS = f"{_PREFIX}15"

#: Modifiers that a promise of the same code meets, or of one of these; without a promise a person looks.
_PROMISED = {
    f"{_PREFIX}15": (),  # no general methods research
    f"{_PREFIX}18": (),  # not for profit and not commercial: or both of the next two
    f"{_PREFIX}45": (f"{_PREFIX}18",),  # not for profit organisation
    f"{_PREFIX}46": (f"{_PREFIX}18",),  # not commercial
    f"{_PREFIX}19": (),  # publication
    f"{_PREFIX}20": (),  # collaboration
    f"{_PREFIX}21": (),  # ethics approval
    f"{_PREFIX}24": (),  # publication moratorium
    f"{_PREFIX}29": (),  # return of results
}
#: Modifiers whose meaning is in words of their own, which no code has: a person looks, whatever is promised.
_IN_WORDS = {f"{_PREFIX}12": "the research", f"{_PREFIX}22": "the place"}
_GENETIC, _NO_ANCESTRY = f"{_PREFIX}16", f"{_PREFIX}44"
_END, _USER, _PROJECT, _INSTITUTION = (f"{_PREFIX}{number}" for number in ("25", "26", "27", "28"))
_BOTH = {f"{_PREFIX}45", f"{_PREFIX}46"}


@dataclass(frozen=True, slots=True)
class Purpose:
    """What somebody wants data for: DUO codes, diseases (MONDO), and whether user, organisation, project and end are
    named."""

    codes: frozenset[str] = frozenset()
    diseases: frozenset[str] = frozenset()
    names_user: bool = False
    names_organisation: bool = False
    names_project: bool = False
    has_end: bool = False

    @property
    def needed(self) -> frozenset[str]:
        """The permissions that it needs, by name or for what it is."""
        return frozenset(_INVESTIGATIONS.get(code, code) for code in self.codes) & PERMISSIONS


def match_data_use(conditions: Collection[str], purpose: Purpose) -> Verdict:
    """Whether the conditions of the data (DUO and MONDO codes) allow a purpose; a finding for each condition."""
    codes = {code.strip().upper() for code in conditions}
    allowed = sorted(codes & PERMISSIONS)
    diseases = {code for code in codes if code.startswith("MONDO:")}
    found = [*_judge_permissions(allowed, diseases, purpose)]
    for code in sorted(codes - PERMISSIONS - diseases):
        found.append(_judge_modifier(code, purpose))
    if strange := sorted(purpose.codes - PERMISSIONS - _KNOWN):
        found.append(Finding(Answer.LOOK, "purpose", f"What {', '.join(strange)} asks for is not known here."))
    return Verdict(tuple(found))


def _judge_permissions(allowed: list[str], diseases: set[str], purpose: Purpose) -> Iterable[Finding]:
    if not allowed:
        yield Finding(Answer.LOOK, "purpose", "CHEST_DATA_USE names no permission of DUO.")
    if not purpose.needed:
        yield Finding(Answer.LOOK, "purpose", "The purpose names no permission of DUO that it needs.")
    for needed in sorted(purpose.needed) if allowed else ():
        # Several permissions are alternatives: one that allows it is enough.
        yield max((_judge_permission(each, diseases, needed, purpose) for each in allowed), key=lambda f: f.answer)


def _judge_permission(allowed: str, diseases: set[str], needed: str, purpose: Purpose) -> Finding:
    if needed not in _ALLOWS[allowed]:
        return Finding(Answer.NO, "purpose", f"The data are for {allowed}, which does not include {needed}.")
    if needed != _DISEASE:
        return Finding(Answer.YES, "purpose", f"{allowed} includes {needed}.")
    if allowed != _DISEASE:
        return Finding(Answer.YES, "purpose", f"{allowed} includes research on any disease.")
    if not purpose.diseases:
        return Finding(Answer.NO, "purpose", "The data are for research on a disease, and the purpose names none.")
    if not diseases:
        return Finding(Answer.LOOK, "purpose", f"The data are for {_DISEASE}, but their disease is not named.")
    if others := sorted(purpose.diseases - diseases):
        words = f"Whether {', '.join(others)} is a kind of {', '.join(sorted(diseases))} is for a person to judge."
        return Finding(Answer.LOOK, "purpose", words)
    return Finding(Answer.YES, "purpose", f"The data are for research on {', '.join(sorted(purpose.diseases))}.")


def _judge_modifier(code: str, purpose: Purpose) -> Finding:
    """What a modifier of the data requires of a purpose. One that is not known here is for a person."""
    if code in _IN_WORDS:
        return Finding(Answer.LOOK, code, f"{code} restricts {_IN_WORDS[code]} in words, which a person must read.")
    if code == _NO_METHODS and _METHODS in purpose.codes:
        return Finding(Answer.NO, code, f"General research on methods is excluded ({code}).")
    if code in _PROMISED:
        is_met = purpose.codes & {code, *_PROMISED[code]} or (code == f"{_PREFIX}18" and purpose.codes >= _BOTH)
        if is_met:
            return Finding(Answer.YES, code, f"{code} is promised.")
        return Finding(Answer.LOOK, code, f"The data have the condition {code}, which the purpose does not promise.")
    if code == _GENETIC:
        is_met = purpose.codes & {code, _GENETICS}
        return Finding(Answer.YES if is_met else Answer.NO, code, f"The data are for genetic studies alone ({code}).")
    if code == _NO_ANCESTRY:
        return _judge_ancestry(purpose)
    for condition, is_named, words in (
        (_END, purpose.has_end, "has no end"),
        (_USER, purpose.names_user, "names no user"),
        (_PROJECT, purpose.names_project, "names no project"),
        (_INSTITUTION, purpose.names_organisation, "names no organisation"),
    ):
        if code == condition:
            answer = Answer.YES if is_named else Answer.NO
            return Finding(answer, code, f"The data have the condition {code}, and the request {words}.")
    return Finding(Answer.LOOK, code, f"What the condition {code} means is not known here.")


def _judge_ancestry(purpose: Purpose) -> Finding:
    if _ANCESTRY in purpose.needed:
        return Finding(Answer.NO, _NO_ANCESTRY, f"Research on ancestry is prohibited ({_NO_ANCESTRY}).")
    wide = purpose.needed & {_GENERAL, _NO_RESTRICTION} or not purpose.needed
    answer = Answer.LOOK if wide else Answer.YES
    return Finding(answer, _NO_ANCESTRY, f"The purpose may include ancestry, which is prohibited ({_NO_ANCESTRY}).")


#: All codes that a purpose may have.
_KNOWN = {
    *_INVESTIGATIONS,
    _METHODS,
    *_PROMISED,
    *_IN_WORDS,
    _GENETIC,
    _NO_ANCESTRY,
    _END,
    _USER,
    _PROJECT,
    _INSTITUTION,
}
