"""Creates a bucket of synthetic patients, of any size; the same seed gives the same bytes.

Every patient has its own random generators, so patient 5 of 10 is patient 5 of 10,000, in both key layouts. All facts
are invented; the headers have the structure of public test headers (headers.json). Errors in the data are recorded
where they are made: see truth.py.

    patients         demographics         entries, numbers, codes, units   how values are written, and their meaning
    clinical_course  admission, outcome   records                          the clinical files
    images           studies, uploads     headers, series, stacks, defects the content of their headers
    dicom_files      frames              the .dcm: the header's attributes and small pixels
"""

from __future__ import annotations

import functools
import json
import os
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Literal, cast

from warehouse.errors import UsageError
from warehouse.filesystem import files
from warehouse.object_store.keys import ANSWERS, ObjectKey, format_key
from warehouse.synthetic.entries import RecordWriter
from warehouse.synthetic.images import Image, invent_face, invent_images
from warehouse.synthetic.patients import LAST_RECORD, choose_habits, invent_person
from warehouse.synthetic.records import Record, invent_records
from warehouse.synthetic.truth import Truth

LAYOUTS = ("dated", "published")
GROUP = "training"
FOLDERS = {"CR": "xray", "DX": "xray", "CT": "ct", "MR": "mri"}
RENAMED = date(2020, 4, 16)
"""Until this day the folder xray was spelt x-ray."""

Layout = Literal["dated", "published"]


def make_bucket(
    out: Path,
    patients: int,
    layout: str = "dated",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    *,
    clean: bool = False,
    stubs: bool = False,
) -> dict[str, object]:
    """Write a bucket into the new folder `out` and return its truth (also written as out/truth.json).

    The truth has the answers of a correct warehouse; it is the same for both layouts. A `clean` bucket has no errors in
    records or images. With `stubs` a .dcm has four bytes instead of a small DICOM file. `progress` is called with the
    patients done and their total.
    """
    _check_arguments(patients, layout)
    try:
        with files.write_folder_atomically(out, is_settled=True) as part:
            return _fill_bucket(part, patients, layout, seed, progress, clean=clean, stubs=stubs)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}.") from None


def _fill_bucket(
    out: Path,
    patients: int,
    layout: str,
    seed: int,
    progress: Callable[[int, int], None] | None,
    *,
    clean: bool,
    stubs: bool,
) -> dict[str, object]:
    answers, clinical, people = (out / name for name in ANSWERS)
    for path in (clinical, people):
        files.write_new(path, b"")
    with clinical.open("w", encoding="utf-8") as clinical_file, people.open("w", encoding="utf-8") as people_file:
        truth = Truth(clinical_file, people_file)
        for number in range(1, patients + 1):
            draw = functools.partial(_create_generator, seed, number)
            person = invent_person(draw("person"), number)
            pen = RecordWriter(draw("slips"), choose_habits(person.centre), clean)
            share = pen.rng.random()  # a few have no images, and a few no clinical record
            records = invent_records(draw("records"), pen, person) if share >= 0.03 or clean else []
            face = invent_face(pen, person)
            images = list(invent_images(draw("images"), pen, person, face, stubs=stubs)) if share < 0.98 else []
            _write_objects(out, layout, person.patient_id, images, records)
            truth.add(person.patient_id, face, images, records)
            if progress:
                progress(number, patients)
    found = truth.answers()
    _write_file(answers, json.dumps(found, indent=1).encode(), LAST_RECORD)
    for path in (clinical, people):
        _set_time(path, LAST_RECORD)
    return found


def _create_generator(seed: int, number: int, use: str) -> random.Random:
    """Create a generator for a single use, so that draws from one do not affect another."""
    return random.Random(f"{seed}/{number}/{use}")


def _check_arguments(patients: int, layout: str) -> None:
    """Raise UsageError for invalid arguments, before anything is written."""
    if layout not in LAYOUTS:
        raise UsageError(f"There is no key layout {layout!r}. Choose one of {', '.join(LAYOUTS)}.")
    if patients < 1:
        raise UsageError(f"A bucket cannot have {patients} patients. Give a number from 1.")


def _write_objects(out: Path, layout: str, patient_id: str, images: list[Image], records: list[Record]) -> None:
    """Write the objects of one patient."""
    where = functools.partial(ObjectKey, layout=cast(Layout, layout), group_name=GROUP, patient_id=patient_id)
    for image in images:
        at = functools.partial(
            where,
            key_date=image.day.isoformat(),
            folder=_find_folder(image),
            study_id=image.study,
            series_id=image.series,
            image_id=image.image,
        )
        if image.header is not None:
            _write_file(out / format_key(at(kind="header")), image.header, image.day)
        if image.body is not None:
            _write_file(out / format_key(at(kind="dcm")), image.body, image.day)
    for record in records:
        key = where(kind="clinical", key_date=record.day.isoformat(), record=record.kind)
        _write_file(out / format_key(key), json.dumps(record.fields).encode(), record.day)


def _find_folder(image: Image) -> str:
    folder = FOLDERS.get(image.modality, "unknown")
    return "x-ray" if folder == "xray" and image.day < RENAMED else folder


def _write_file(path: Path, content: bytes, day: date) -> None:
    """Write a file with a modification time of noon (UTC) on `day`."""
    try:
        files.write_new(path, content)
    except FileNotFoundError:  # the folder's first file; cheaper than checking before every file
        files.make_folder(path.parent)
        files.write_new(path, content)
    _set_time(path, day)


def _set_time(path: Path, day: date) -> None:
    noon = int(datetime.combine(day, time(12), UTC).timestamp())
    os.utime(path, (noon, noon))
