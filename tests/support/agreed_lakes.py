"""A small lake with agreements in its log: what the tests of enforcement, credentials and the service ask of."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from conftest import start_lake, write_objects

import warehouse
from warehouse.access import log, switch, vocabulary
from warehouse.access.programme import get_today
from warehouse.lake import location
from warehouse.settings import Settings

LEEDS, YORK = "Leeds North", "York East"
#: Everything of the group training, for a year around today.
TERMS: dict[str, Any] = {
    "applicant": "Ada Young",
    "orcid": "0000-0002-1825-0097",
    "organisation": "University of Leeds",
    "team": [],
    "title": "Risk on chest films",
    "purpose": "image processing software",
    "duo": ["DUO:0000007"],
    "mondo": ["MONDO:0100096"],
    "groups": ["training"],
    "modalities": ["all"],
    "centres": [],
    "fields": ["all"],
    "starts": str(get_today() - timedelta(days=100)),
    "ends": str(get_today() + timedelta(days=100)),
    "output": "a model",
}
#: Agreements by ID: how each differs from that.
AGREEMENTS: dict[str, dict[str, Any]] = {
    "2026-0001": {},
    "2026-0002": {"modalities": ["CT"]},
    "2026-0003": {"centres": [LEEDS]},
    "2026-0004": {"fields": ["age"]},
    "2026-0005": {"ends": str(get_today() - timedelta(days=1))},
    "2026-0006": {"starts": str(get_today() + timedelta(days=1))},
    "2026-0007": {},  # revoked
    "2026-0008": {"duo": ["DUO:0000042"]},
    "2026-0009": {"fields": []},
    "2026-0010": {"groups": ["all"]},
}
REVOKED = "2026-0007"


def make_objects() -> dict[str, bytes | str]:
    """PatA of Leeds has a CT and a film, PatB of York a film, PatC has a film and no record; PatV is held back."""
    return {
        **_image("training", "PatA", 1, "CT"),
        **_image("training", "PatA", 2, "CR"),
        **_record("training", "PatA", LEEDS, 60),
        **_image("training", "PatB", 3, "CR"),
        **_record("training", "PatB", YORK, 50),
        **_image("training", "PatC", 4, "DX"),
        **_image("validation", "PatV", 5, "CT"),
        **_record("validation", "PatV", LEEDS, 40),
    }


def _image(group: str, patient: str, number: int, modality: str) -> dict[str, bytes | str]:
    name, study, day = f"1.2.{number}", f"1.9.{patient[-1]}.{number}".replace("A", "10"), "2020-03-02"
    study = f"1.9.{ord(patient[-1])}.{number}"
    tags = {
        "00080018": ("UI", name),
        "0020000D": ("UI", study),
        "0020000E": ("UI", f"{study}.1"),
        "00080020": ("DA", "20200301"),
        "00080060": ("CS", modality),
        "00100020": ("LO", patient),
    }
    header = json.dumps({tag: {"vr": vr, "Value": [value]} for tag, (vr, value) in tags.items()})
    return {
        f"{group}/{patient}/images_metadata/{day}/{name}.json": header,
        f"{group}/{patient}/images/{day}/{name}.dcm": f"pixels of {name} ".encode() * 100,
    }


def _record(group: str, patient: str, centre: str, age: int) -> dict[str, bytes | str]:
    content = {"Pseudonym": patient, "SubmittingCentre": centre, "Age": str(age), "Sex": "F", "ITU admission": "Yes"}
    day = "2020-03-05"
    return {f"{group}/{patient}/data/{day}/data.json": json.dumps({**content, "Date of admission": "03/02/2020"})}


def make_lake(root: Path, *, enforced: bool = True, bucket: str = "") -> str:
    """A lake of the objects, in a folder or in a bucket that has them, with the agreements in its log."""
    if not bucket:
        write_objects(root / "bucket", make_objects())
    lake = str(start_lake(root / "lake"))
    warehouse.refresh(bucket or str(root / "bucket"), lake)
    granted = [log.NewEvent(vocabulary.APPROVED, id_, {**TERMS, **more}) for id_, more in AGREEMENTS.items()]
    append(lake, *granted, log.NewEvent(vocabulary.REVOKED, REVOKED))
    if enforced:
        append(lake, switch.switch_enforcement(True))
    return lake


def append(lake: str, *events: log.NewEvent) -> None:
    """Append events to the log of a lake."""
    log.append(location.parse_address(lake), Settings(), *events)


def read_log(lake: str) -> list[log.Event]:
    """The log of a lake."""
    return log.read_events(location.parse_address(lake), Settings())


def find_last(lake: str, event: str) -> log.Event:
    """The last event of a kind in the log of a lake."""
    return next(each for each in reversed(read_log(lake)) if each.event == event)


def end_of(agreement: str) -> date:
    """The last day of an agreement."""
    return date.fromisoformat({**TERMS, **AGREEMENTS[agreement]}["ends"])
