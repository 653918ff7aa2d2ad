"""DICOM JSON headers: templates from public test headers (headers.json), machines, and setting attributes."""

from __future__ import annotations

import functools
import json
import random
from importlib import resources
from typing import Any

Header = dict[str, Any]


@functools.cache
def load_catalogue() -> dict[str, Any]:
    """Header templates, machines, and the names of studies and series."""
    text = resources.files("warehouse.synthetic").joinpath("headers.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def load_template(modality: str, maker: str) -> Header:
    """The header template: GE scanners have their own private tags."""
    name = "CT_GE" if modality == "CT" and maker.startswith("GE") else modality
    return dict(load_catalogue()["templates"][name])


@functools.cache
def assign_equipment(centre: str, kind: str) -> tuple[list[list[Any]], list[int]]:
    """The machines of a centre and their weights: the same in every synthetic bucket."""
    rng = random.Random(f"{kind} at {centre}")
    machines = load_catalogue()["machines"][kind]
    letters = "".join(word[0] for word in centre.split() if word[0].isupper())[:3]
    chosen = rng.sample(machines, {"xray": 4, "ct": 2, "mri": 1}[kind])
    rooms = [[*machine, f"{letters}{machine[0]}{room:02}"] for room, machine in enumerate(chosen, 1)]
    return rooms, [rng.randint(1, 10) * (2 if room[0] == "CR" else 1) for room in rooms]


@functools.cache
def sends_text(centre: str) -> bool:
    """Whether the gateway of a centre writes numbers (IS, DS) as text."""
    return random.Random(f"gateway of {centre}").random() < 0.15


def convert_numbers_to_text(header: Header) -> Header:
    """The header as sent by a gateway that writes numbers as text."""
    return {
        tag: {"vr": e["vr"], "Value": [v if v is None else str(v) for v in e["Value"]]}
        if e and e["vr"] in ("IS", "DS") and "Value" in e
        else e
        for tag, e in header.items()
    }


@functools.cache
def _find_attribute(keyword: str) -> tuple[str, str]:
    """The tag and the value representation of an attribute."""
    from pydicom.datadict import dictionary_VR
    from pydicom.tag import Tag

    tag = Tag(keyword)
    return f"{tag:08X}", dictionary_VR(tag)


def set_attributes(header: Header, **values: object) -> None:
    """Set attributes by keyword; None empties an element. Elements are replaced, never changed in place."""
    for keyword, value in values.items():
        tag, vr = _find_attribute(keyword)
        if value is None:
            header[tag] = {"vr": vr}
        else:
            header[tag] = {"vr": vr, "Value": value if isinstance(value, list) else [value]}


def draw_uid(rng: random.Random) -> str:
    """Draw a unique identifier."""
    return f"2.25.{rng.getrandbits(128)}"


def draw_time(rng: random.Random) -> str:
    """Draw a time of day, mostly around noon, with or without a fraction."""
    seconds = int(min(86399, max(0, rng.gauss(13, 4.5) * 3600)))
    whole = f"{seconds // 3600:02}{seconds // 60 % 60:02}{seconds % 60:02}"
    return whole + rng.choice(("", "", ".000", ".437000"))
