"""The dictionary of DICOM (PS3.6, as pydicom has it): keyword, tag, VR and name of every attribute."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple


class Attribute(NamedTuple):
    """An attribute; `tag` as eight hex digits, `vr` as the dictionary writes it (`US or SS`)."""

    keyword: str
    tag: str
    vr: str
    name: str
    is_retired: bool


@cache
def list_attributes() -> tuple[Attribute, ...]:
    """Every attribute that has a keyword, by keyword.

    Attributes of repeating groups (overlays, curves) are listed under their first group.
    """
    dictionary = _import_dictionary()
    known = [
        Attribute(keyword, f"{tag:08X}", vr, name, retired == "Retired")
        for tag, (vr, _, name, retired, keyword) in dictionary.DicomDictionary.items()
        if keyword
    ]
    keywords = {attribute.keyword for attribute in known}
    repeated = [
        Attribute(keyword, tag.replace("x", "0").upper(), vr, name, retired == "Retired")
        for tag, (vr, _, name, retired, keyword) in dictionary.RepeatersDictionary.items()
        if keyword and keyword not in keywords
    ]
    return tuple(sorted(known + repeated))


@cache
def map_tags_to_vrs() -> dict[str, str]:
    """The value representation of every tag that the dictionary knows."""
    return {attribute.tag: attribute.vr for attribute in list_attributes()}


@cache
def map_keywords_to_tags() -> dict[str, str]:
    """The tag of every keyword."""
    return {attribute.keyword: attribute.tag for attribute in list_attributes()}


def find_vr(tag: str) -> str:
    """The value representation of a tag (eight upper-case hex digits); "UN" if the dictionary does not list it.

    In private groups, elements 0010 to 00FF name their creator and are LO (PS3.5 7.8.1).
    """
    if int(tag[3], 16) % 2:
        return "LO" if tag[4:6] == "00" and tag[6:] >= "10" else "UN"
    known = map_tags_to_vrs()
    if tag in known:
        return known[tag]
    if tag[:2] in ("50", "60"):  # curves and overlays repeat in even groups up to 1E
        return known.get(tag[:2] + "00" + tag[4:], "UN")
    return "UN"


def search_attributes(words: str) -> list[Attribute]:
    """The attributes whose keyword, tag, VR or name has every one of the words, whatever their case."""
    wanted = [word.strip("(),").replace(",", "").upper() for word in words.split()]
    return [
        attribute
        for attribute in list_attributes()
        if all(
            word == attribute.vr
            or word in attribute.tag
            or word in attribute.keyword.upper()
            or word in attribute.name.upper()
            for word in wanted
        )
    ]


def _import_dictionary() -> ModuleType:
    """pydicom's dictionary alone: importing all of pydicom takes a fifth of a second."""
    package = importlib.util.find_spec("pydicom")
    assert package is not None
    assert package.origin is not None
    spec = importlib.util.spec_from_file_location("dicom_dictionary", Path(package.origin).with_name("_dicom_dict.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
