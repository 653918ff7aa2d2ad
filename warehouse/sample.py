"""Make a bucket of invented patients: any size, and the same seed gives the same bytes.

Every patient comes from a random generator of its own, so patient 5 of 10 is patient 5 of 10,000, in both key
layouts. Only invented facts are written; the headers have the structure of public test headers
(sample_headers.json). The clinical side is in sample_clinical.py.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from importlib import resources
from pathlib import Path
from typing import Any, Literal, cast

from warehouse.errors import UsageError
from warehouse.keys import ObjectKey
from warehouse.keys import format as format_key
from warehouse.sample_clinical import (
    FIRST_DAY,
    LAST_DAY,
    LAST_RECORD,
    Person,
    Record,
    invent_person,
    invent_records,
)

LAYOUTS = ("dated", "published")
GROUP = "training"
FOLDERS = {"CR": "xray", "DX": "xray", "CT": "ct", "MR": "mri"}
STUB = b"DICM"

# Spread over the range; the last one sees everything.
AS_OF = (date(2020, 3, 31), date(2020, 7, 1), date(2020, 12, 31), date(2021, 6, 30), LAST_RECORD)

Layout = Literal["dated", "published"]
Header = dict[str, Any]
Values = dict[str, object]
Series = tuple[Values, list[Values]]
"""What the headers of a series share, by keyword, and what each of its images has of its own."""


@dataclass(frozen=True, slots=True)
class Image:
    """One image: its ids, the day it was uploaded, its header (or none) and whether there is a .dcm."""

    modality: str
    study: str
    series: str
    image: str
    day: date
    header: bytes | None
    has_dcm: bool


def make(
    out: Path,
    patients: int,
    layout: str = "dated",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, object]:
    """Write a bucket into the new folder `out` and return its truth (also written as out/truth.json).

    The truth says what a correct warehouse answers; it is the same for both layouts. `progress` is called
    with the patients done and their total.
    """
    _check(out, patients, layout)
    tally = _Tally()
    for number in range(1, patients + 1):
        rng = random.Random(f"{seed}/{number}")
        person = invent_person(rng, number)
        share = rng.random()  # few have no images, and few have no clinical record
        records = invent_records(rng, person) if share >= 0.03 else []
        images = list(_invent_images(rng, person)) if share < 0.98 else []
        _store(out, layout, person.patient_id, images, records)
        tally.add(person.patient_id, images, records)
        if progress:
            progress(number, patients)
    truth = tally.truth()
    _write(out / "truth.json", json.dumps(truth, indent=1).encode(), LAST_RECORD)
    return truth


def _check(out: Path, patients: int, layout: str) -> None:
    """Refuse what cannot be made, before anything is written."""
    if layout not in LAYOUTS:
        raise UsageError(f"layout {layout!r}: there is no such key layout; choose one of {', '.join(LAYOUTS)}")
    if patients < 1:
        raise UsageError(f"patients {patients}: a bucket needs at least one patient; give a number from 1 up")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: already exists and is not an empty folder; name a new folder, or empty this one")
    out.mkdir(parents=True, exist_ok=True)


# ---- images ----


def _invent_images(rng: random.Random, person: Person) -> Iterator[Image]:
    """Draw the studies of a patient, about 2.9 of them, most of them X-rays soon after the onset."""
    more = 2.5 if person.positive else 1.55
    studies = 1 + min(25, int(rng.expovariate(math.log(1 + 1 / more))))
    for _ in range(studies):
        after = -rng.randint(1, 60) if rng.random() < 0.12 else int(rng.expovariate(1 / 9))
        day = min(LAST_DAY, max(FIRST_DAY, person.onset + timedelta(days=after)))
        kind = rng.choices(("xray", "ct", "mri"), (818, 180, 2))[0]
        yield from _invent_study(rng, person, day, kind)


def _invent_study(rng: random.Random, person: Person, day: date, kind: str) -> Iterator[Image]:
    """Draw one study: what its headers share, then its series, image by image."""
    rooms, weights = _equipment(person.centre, kind)
    modality, maker, model, rows, columns, station = rng.choices(rooms, weights)[0]
    study = _uid(rng)
    common = _template(modality, maker)
    _put(
        common, StudyInstanceUID=study, StudyDate=f"{day:%Y%m%d}", AcquisitionDate=f"{day:%Y%m%d}",
        StudyTime=_clock(rng), AccessionNumber=f"{station[:3]}{rng.randrange(10**7):07}", Modality=modality,
        Manufacturer=maker, ManufacturerModelName=model, StationName=station, Rows=rows, Columns=columns,
        PatientID=person.patient_id, PatientName={"Alphabetic": person.patient_id}, PatientSex=person.sex,
        PatientBirthDate=f"{day.year - int(person.age)}0101", PatientAge=_dicom_age(rng, person.age),
    )  # fmt: skip
    _put(common, StudyDescription=rng.choice(_catalogue()["studies"][kind]))
    uploaded = day + timedelta(days=min(20, int(rng.expovariate(1 / 5))))
    finish = _numbers_as_text if _sends_text(person.centre) else dict
    invent_series = {"xray": _xray_series, "ct": _ct_series, "mri": _mr_series}[kind]
    for number, (shared, instances) in enumerate(invent_series(rng), 1):
        series, header = _uid(rng), dict(common)
        _put(header, SeriesInstanceUID=series, SeriesNumber=number, **shared)
        for instance, values in enumerate(instances, 1):
            image = _uid(rng)
            _put(header, SOPInstanceUID=image, InstanceNumber=instance, **values)
            content = json.dumps(finish(header)).encode()
            yield Image(modality, study, series, image, uploaded, content, rng.random() >= 0.01)
            if rng.random() < 0.005:  # an image whose header never came
                yield Image(modality, study, series, _uid(rng), uploaded, None, True)


def _xray_series(rng: random.Random) -> Iterator[Series]:
    """One film or two; the second most often in a series of its own."""
    windows = ((2048, 4096), (1600, 2800), ([2048, 1850], [4096, 3100]))
    center, width = rng.choice(windows)
    shared: Values = {
        "SeriesDescription": rng.choice(_catalogue()["series"]["xray"]),
        "ViewPosition": rng.choices(("AP", "PA", None), (62, 35, 3))[0],
        "KVP": rng.choice((80, 85.0, 90, 110, 125)),
        "XRayTubeCurrent": rng.choice((200, 250, 320, 400, 500)),
        "WindowCenter": center,
        "WindowWidth": width,
    }
    if rng.random() < 0.6:
        yield shared, [{}]
    elif rng.random() < 0.3:
        yield shared, [{}, {}]
    else:
        yield shared, [{}]
        yield shared, [{}]


def _ct_series(rng: random.Random) -> Iterator[Series]:
    """A scout, then reconstructions of which a few slices each are kept."""
    kvp, current = rng.choice((100, 120, 120, 140)), rng.randint(80, 520)
    spacing = round(rng.uniform(0.6, 0.95), 6)
    left, top = round(-256 * spacing, 3), round(-256 * spacing - rng.uniform(0, 40), 3)
    windows = ((40, 400), (-600, 1500), ([40, -600], [400, 1500]))
    for number in range(rng.choices((2, 3, 4), (35, 45, 20))[0]):
        kind, most = ("ct", 6) if number else ("scout", 2)
        thickness = rng.choice((0.625, 1, 1.25, 2.0, 3, 5))
        center, width = rng.choice(windows)
        shared: Values = {
            "SeriesDescription": rng.choice(_catalogue()["series"][kind]),
            "KVP": kvp,
            "XRayTubeCurrent": current,
            "SliceThickness": thickness,
            "PixelSpacing": [spacing, spacing],
            "WindowCenter": center,
            "WindowWidth": width,
        }
        foot = rng.uniform(-420, -60)
        heights = [round(foot + thickness * n, 3) for n in range(rng.randint(1, most))]
        yield shared, [{"ImagePositionPatient": [left, top, z], "SliceLocation": z} for z in heights]


def _mr_series(rng: random.Random) -> Iterator[Series]:
    """A few cardiac series."""
    for _ in range(rng.randint(3, 5)):
        shared: Values = {
            "SeriesDescription": rng.choice(_catalogue()["series"]["mri"]),
            "SliceThickness": rng.choice((6, 8.0)),
            "RepetitionTime": round(rng.uniform(2.5, 1200), 2),
            "EchoTime": round(rng.uniform(1.1, 80), 2),
        }
        heights = [round(rng.uniform(-90, 90), 3) for _ in range(rng.randint(2, 5))]
        yield shared, [{"ImagePositionPatient": [-170.0, -140.6, z], "SliceLocation": z} for z in heights]


@functools.cache
def _catalogue() -> dict[str, Any]:
    """Header templates, machines, and the names of studies and series."""
    text = resources.files("warehouse").joinpath("sample_headers.json").read_text(encoding="utf-8")
    catalogue: dict[str, Any] = json.loads(text)
    return catalogue


def _template(modality: str, maker: str) -> Header:
    """The header to start from: GE scanners have private tags of their own."""
    name = "CT_GE" if modality == "CT" and maker.startswith("GE") else modality
    return dict(_catalogue()["templates"][name])


@functools.cache
def _equipment(centre: str, kind: str) -> tuple[list[list[Any]], list[int]]:
    """The machines of a centre and how busy each is: the same in every sample bucket."""
    rng = random.Random(f"{kind} at {centre}")
    machines = _catalogue()["machines"][kind]
    letters = "".join(word[0] for word in centre.split() if word[0].isupper())[:3]
    chosen = rng.sample(machines, {"xray": 4, "ct": 2, "mri": 1}[kind])
    rooms = [[*machine, f"{letters}{machine[0]}{room:02}"] for room, machine in enumerate(chosen, 1)]
    return rooms, [rng.randint(1, 10) * (2 if room[0] == "CR" else 1) for room in rooms]


@functools.cache
def _sends_text(centre: str) -> bool:
    """Whether the gateway of a centre writes numbers (IS, DS) as text."""
    return random.Random(f"gateway of {centre}").random() < 0.15


def _numbers_as_text(header: Header) -> Header:
    return {
        tag: {"vr": e["vr"], "Value": [v if v is None else str(v) for v in e["Value"]]}
        if e and e["vr"] in ("IS", "DS") and "Value" in e
        else e
        for tag, e in header.items()
    }


@functools.cache
def _attribute(keyword: str) -> tuple[str, str]:
    """The tag and the value representation of an attribute."""
    from pydicom.datadict import dictionary_VR
    from pydicom.tag import Tag

    tag = Tag(keyword)
    return f"{tag:08X}", dictionary_VR(tag)


def _put(header: Header, **values: object) -> None:
    """Set attributes by keyword; None empties an element. Elements are replaced, never changed in place."""
    for keyword, value in values.items():
        tag, vr = _attribute(keyword)
        if value is None:
            header[tag] = {"vr": vr}
        else:
            header[tag] = {"vr": vr, "Value": value if isinstance(value, list) else [value]}


def _uid(rng: random.Random) -> str:
    return f"2.25.{rng.getrandbits(128)}"


def _clock(rng: random.Random) -> str:
    seconds = int(min(86399, max(0, rng.gauss(13, 4.5) * 3600)))
    clock = f"{seconds // 3600:02}{seconds // 60 % 60:02}{seconds % 60:02}"
    return clock + rng.choice(("", "", ".000", ".437000"))


def _dicom_age(rng: random.Random, age: float) -> str | None:
    """The age as headers give it: years, months for the smallest, now and then bare or missing."""
    if age < 2:
        return f"{int(age * 12):03}M"
    roll = rng.random()
    return None if roll < 0.01 else f"{int(age)}" if roll < 0.03 else f"{int(age):03}Y"


# ---- files and truth ----


def _store(out: Path, layout: str, patient_id: str, images: list[Image], records: list[Record]) -> None:
    """Write the objects of one patient."""
    where = functools.partial(ObjectKey, layout=cast(Layout, layout), group_name=GROUP, patient_id=patient_id)
    for image in images:
        at = functools.partial(
            where,
            key_date=image.day.isoformat(),
            folder=FOLDERS[image.modality],
            study_id=image.study,
            series_id=image.series,
            image_id=image.image,
        )
        if image.header is not None:
            _write(out / format_key(at(kind="header")), image.header, image.day)
        if image.has_dcm:
            _write(out / format_key(at(kind="dcm")), STUB, image.day)
    for record in records:
        key = where(kind="clinical", key_date=record.day.isoformat(), record=record.kind)
        _write(out / format_key(key), json.dumps(record.fields).encode(), record.day)


def _write(path: Path, content: bytes, day: date) -> None:
    """Write a file as if at noon (UTC) of `day`."""
    try:
        path.write_bytes(content)
    except FileNotFoundError:  # the folder's first file; cheaper than to look before every file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    noon = int(datetime.combine(day, time(12), UTC).timestamp())
    os.utime(path, (noon, noon))


@dataclass
class _Tally:
    """Counts what is written, patient by patient; keeps one date for each patient and as-of day, no more."""

    counts: Counter[str] = field(default_factory=Counter)
    modality: Counter[str] = field(default_factory=Counter)
    uploads: Counter[date] = field(default_factory=Counter)
    latest: dict[date, dict[str, str]] = field(default_factory=lambda: {day: {} for day in AS_OF})

    def add(self, patient_id: str, images: list[Image], records: list[Record]) -> None:
        headers = [image for image in images if image.header is not None]
        self.counts["objects"] += len(headers) + sum(image.has_dcm for image in images) + len(records)
        self.counts["image_json"] += len(headers)
        self.counts["clinical_json"] += len(records)
        self.counts["patients"] += bool(headers or records)
        self.counts["studies"] += len({image.study for image in headers})
        self.counts["series"] += len({image.series for image in headers})
        self.modality.update(image.modality for image in headers)
        self.uploads.update(image.day for image in headers)
        for day in AS_OF:
            available = [record for record in records if record.day <= day]
            if available:
                # A data file counts before any status file; among equals the newest.
                chosen = max(available, key=lambda record: (record.kind == "data", record.day))
                self.latest[day][patient_id] = chosen.day.isoformat()

    def truth(self) -> dict[str, object]:
        names = ("objects", "image_json", "clinical_json", "patients", "studies", "series")
        return {
            "as_of": {day.isoformat(): self._as_of(day) for day in AS_OF},
            **{name: self.counts[name] for name in names},
            "modality": dict(sorted(self.modality.items())),
        }

    def _as_of(self, day: date) -> dict[str, object]:
        latest = self.latest[day]
        return {
            "patients": len(latest),
            "images": sum(count for uploaded, count in self.uploads.items() if uploaded <= day),
            "latest_digest": hashlib.sha256(json.dumps(latest, sort_keys=True).encode()).hexdigest(),
        }
