"""The images of a study, each once, with where their pixels are; the studies that were read last are remembered."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from warehouse.engine import sql_files
from warehouse.errors import NotFoundError
from warehouse.service.dicomweb.index import Index, find_patient

if TYPE_CHECKING:
    from warehouse.api import Warehouse

#: Bytes that an image takes, about; and images of all remembered studies.
BYTES_OF_IMAGE = 600
_MOST_IMAGES = 100_000
#: What is the same when it is quoted, as nearly all UIDs are.
_PLAIN = re.compile(r"[0-9A-Za-z._~-]*")


def write_path(uids: Iterable[str]) -> str:
    """The path of a study, of a series or of an instance, by its UIDs, which are what headers state: quoted."""
    return "".join(
        f"/{name}/{_quote(uid)}" for name, uid in zip(("studies", "series", "instances"), uids, strict=False)
    )


def _quote(uid: str) -> str:
    return uid if _PLAIN.fullmatch(uid) else quote(uid, safe="")


@dataclass(frozen=True, slots=True)
class Stored:
    """An image of a study: its UIDs, the key of its header, and its .dcm object, if it was there ("" if not)."""

    study: str
    series: str
    instance: str
    source: str
    key: str
    patient_id: str
    dcm_key: str
    size: int
    etag: str

    @property
    def path(self) -> str:
        """Its path below the address of the service."""
        return write_path((self.study, self.series, self.instance))


class Studies:
    """Remembers the images of studies. Safe to use from several threads."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, int, str, str], tuple[Stored, ...]] = OrderedDict()
        self._n_images = 0

    def find(
        self, warehouse: Warehouse, index: Index, study: str, series: str = "", instance: str = "", *, patient: str = ""
    ) -> list[Stored]:
        """The images of a study, or of a series or instance of it; NotFoundError if none is shown.

        `patient` is that of the study, if it was looked up before.
        """
        key = _make_key(warehouse, index, study)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
        if kept is None:
            kept = read_study(warehouse, index, study, patient)
            self._keep(key, kept)
        found = [image for image in kept if series in ("", image.series) and instance in ("", image.instance)]
        if not found:
            what = "instance" if instance else "series" if series else "study"
            raise NotFoundError(f"There is no such {what} in what is shown here.")
        return found

    def knows(self, warehouse: Warehouse, index: Index, study: str) -> bool:
        """Whether the images of a study are remembered."""
        return _make_key(warehouse, index, study) in self._kept

    def _keep(self, key: tuple[int, int, str, str], images: tuple[Stored, ...]) -> None:
        with self._lock:
            if key in self._kept or len(images) > _MOST_IMAGES:
                return
            self._kept[key] = images
            self._n_images += len(images) + 1
            while self._n_images > _MOST_IMAGES:
                self._n_images -= len(self._kept.popitem(last=False)[1]) + 1


def _make_key(warehouse: Warehouse, index: Index, study: str) -> tuple[int, int, str, str]:
    return index.snapshot, warehouse.standing_list, index.name, study


def read_study(warehouse: Warehouse, index: Index, study: str, patient: str = "") -> tuple[Stored, ...]:
    """Read the images of a study from the lake, each once: of those that were sent twice the one that was there first.

    By its patient too, since files are sorted by patients.
    """
    con, texts = warehouse.con, sql_files.read_statements("dicomweb/search.sql")
    owner = patient or find_patient(warehouse, index, study)
    if owner is None:
        return ()
    text = sql_files.fill(texts["study"], is_member=index.is_member)
    rows = con.execute(text, {"patient": owner, "study": study}).fetchall()
    first: dict[tuple[str, str], tuple[Any, ...]] = {}
    for row in sorted(rows, key=_order_sent):
        first.setdefault(row[:2], row)
    return tuple(
        Stored(study, series, instance, source, key, patient_id, dcm_key or "", size or 0, etag or "")
        for series, instance, source, key, patient_id, dcm_key, size, etag, *_ in sorted(
            first.values(), key=_order_in_study
        )
    )


def _order_sent(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """By the day that an image was there, its key and its source."""
    return row[9], row[3], row[2]


def _order_in_study(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """By series, number and UID; those without a number come last in their series."""
    return row[0], row[8] is None, row[8] or 0, row[1]
