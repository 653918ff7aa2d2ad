"""Facets in memory: one row per patient, study and what differs among its images, with every value as a small number.

8 million images of 100,000 patients are less than a million such rows. They are read once for a snapshot, an as-of date
and a group; counting is then arithmetic over arrays, some milliseconds for each facet, whatever the lake is stored in.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warehouse.engine import sql_files
from warehouse.service.explorer.facets import AGE_BANDS, FACETS, MISSING
from warehouse.service.explorer.selection import Selection

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from warehouse.api import Warehouse

#: Tables that are kept: each day and group that somebody looks at has one.
_MOST_TABLES = 6


@dataclass(frozen=True, slots=True)
class Counted:
    """What is left of a facet if all other facets are as chosen: patients by value, and patients in all."""

    patients: dict[str, int]
    whole: int
    members: NDArray[np.bool_]


@dataclass(frozen=True)
class FacetTable:
    """The facets of all patients, sorted by patient.

    `codes` has, for each facet, the place of a row's value in `levels`; `of_patients` the same of each patient for
    those of which a patient has one value; `cells` the place of a row's patient and value in a table of both for the
    others, so that setting it marks the patient as having the value.
    """

    patient_ids: pa.Array
    digests: NDArray[np.uint64]
    patient: NDArray[np.int32]
    study: NDArray[np.int32]
    n_images: NDArray[np.int32]
    levels: dict[str, list[str]]
    codes: dict[str, NDArray[np.int16]]
    of_patients: dict[str, NDArray[np.int16]]
    cells: dict[str, NDArray[np.int64]]

    @property
    def n_patients(self) -> int:
        """The number of all patients."""
        return len(self.patient_ids)

    def choose(self, selection: Selection) -> dict[str, NDArray[np.bool_]]:
        """For each facet of which values are chosen, the rows that have one of them."""
        import numpy as np

        rows = {}
        for name in selection.active:
            chosen = selection.chosen(name, self.levels[name])
            allowed = np.array([level in chosen for level in self.levels[name]], dtype=bool)
            rows[name] = allowed[self.codes[name]]
        return rows

    def find_members(self, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The patients of rows, as a truth value for each patient."""
        import numpy as np

        members = np.zeros(self.n_patients, dtype=bool)
        members[self.patient[rows]] = True
        return members

    def find_rows(self, selection: Selection) -> NDArray[np.bool_]:
        """The rows that fit all that is chosen."""
        return self._join([*self.choose(selection).values()])

    def count(self, selection: Selection) -> dict[str, Counted]:
        """Count the patients of every value of every facet, as all other facets are chosen."""
        chosen = self.choose(selection)
        shared = self._join([*chosen.values()])
        all_members = self.find_members(shared)
        counted = {}
        for name in FACETS:
            rows, members = shared, all_members
            if name in chosen:
                rows = self._join([mask for other, mask in chosen.items() if other != name])
                members = self.find_members(rows)
            counted[name] = Counted(self._count_values(name, rows, members), int(members.sum()), members)
        return counted

    def count_objects(self, rows: NDArray[np.bool_]) -> tuple[int, int]:
        """The studies and the images of rows."""
        import numpy as np

        studies = self.study[rows]
        return len(np.unique(studies[studies >= 0])), int(self.n_images[rows].sum())

    def list_patients(self, members: NDArray[np.bool_], first: int, most: int) -> list[str]:
        """Some of the patients, in the order of their pseudonyms."""
        import numpy as np

        return self.patient_ids.take(np.flatnonzero(members)[first : first + most]).to_pylist()  # type: ignore[no-any-return]

    def digest(self, members: NDArray[np.bool_]) -> Any:
        """A number for each patient, as `counted_patients` makes them of cohorts."""
        return self.digests[members]

    def _join(self, masks: list[NDArray[np.bool_]]) -> NDArray[np.bool_]:
        import numpy as np

        return np.logical_and.reduce(masks) if masks else np.ones(len(self.patient), dtype=bool)

    def _count_values(self, name: str, rows: NDArray[np.bool_], members: NDArray[np.bool_]) -> dict[str, int]:
        """Count the patients with each value: a patient with several rows of it counts once."""
        import numpy as np

        levels = self.levels[name]
        if name in self.of_patients:
            numbers = np.bincount(self.of_patients[name][members], minlength=len(levels))
        else:
            seen = np.zeros((len(levels), self.n_patients), dtype=bool)
            seen.ravel()[self.cells[name][rows]] = True
            numbers = np.array([np.count_nonzero(patients) for patients in seen])
        return {level: int(n) for level, n in zip(levels, numbers, strict=True) if n}


def read_table(warehouse: Warehouse) -> FacetTable:
    """Read the facets of a session's day and group: one query over all its images."""
    query = sql_files.read_statements("explorer/facets.sql")["facets"]
    return build_table(warehouse.con.execute(query).to_arrow_table())


def build_table(rows: pa.Table) -> FacetTable:
    """Build the table from the rows of sql/explorer/facets.sql."""
    import numpy as np

    patients, patient_ids = _encode(rows["patient_id"])
    studies, _ = _encode(rows["StudyInstanceUID"])
    digests = np.zeros(len(patient_ids), dtype=np.uint64)
    digests[patients] = rows["digest"].to_numpy()
    made = FacetTable(
        patient_ids, digests, patients, studies, rows["n_images"].to_numpy().astype(np.int32), {}, {}, {}, {}
    )
    for name, facet in FACETS.items():
        if name == "age":
            codes, made.levels[name] = _band_ages(rows["age"].to_numpy())
        else:
            found, values = _encode(rows[name])
            made.levels[name] = [*values.to_pylist(), MISSING]
            codes = np.where(found < 0, len(values), found)
        made.codes[name] = codes.astype(np.int16)
        if facet.is_partition:
            made.of_patients[name] = np.zeros(len(patient_ids), dtype=np.int16)
            made.of_patients[name][patients] = codes
        else:
            made.cells[name] = codes.astype(np.int64) * len(patient_ids) + patients
    return made


def _encode(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], pa.Array]:
    """The place of each value in the list of values; -1 for null."""
    import numpy as np

    encoded = column.combine_chunks().dictionary_encode()
    return encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32), encoded.dictionary


def _band_ages(ages: NDArray[np.float64]) -> tuple[NDArray[np.int64], list[str]]:
    import numpy as np

    names = [name for name, *_ in AGE_BANDS]
    places = np.searchsorted([least for _, least, _ in AGE_BANDS], ages, side="right") - 1
    return np.where(np.isnan(ages) | (places < 0), len(names), places), [*names, MISSING]


class FacetTables:
    """The tables that were read, by snapshot, as-of date and group; a table is read once, however many wait for it."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._tables: OrderedDict[object, FacetTable] = OrderedDict()
        self._reading: dict[object, threading.Lock] = {}

    def find(self, warehouse: Warehouse) -> FacetTable:
        """The table of a session; read now if nobody asked for it before."""
        key = (warehouse.snapshot.number, warehouse.day, warehouse.group_name)
        with self._lock:
            if key in self._tables:
                self._tables.move_to_end(key)
                return self._tables[key]
            reading = self._reading.setdefault(key, threading.Lock())
        with reading:
            with self._lock:
                if key in self._tables:
                    return self._tables[key]
            table = read_table(warehouse)
            with self._lock:
                self._tables[key] = table
                self._reading.pop(key, None)
                while len(self._tables) > _MOST_TABLES:
                    self._tables.popitem(last=False)
            return table
