"""Facets in memory: one row per patient, study and what differs among its images, with every value as a small number.

8 million images are three million such rows at most. They are read once for a snapshot and a group, with the day on
which each became available: an earlier day has some of them. What is known of patients depends on the day, and is read
for each. Counting is then arithmetic over arrays, some milliseconds for each facet, whatever the lake is stored in.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from warehouse.service.explorer.facets import FACETS
from warehouse.service.explorer.selection import Selection

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Counted:
    """What is left of a facet if all other facets are as chosen: patients by value, and patients in all."""

    patients: dict[str, int]
    whole: int
    members: NDArray[np.bool_]


@dataclass(frozen=True)
class FacetTable:
    """The facets of all patients, as of a day.

    `of_patients` has the place in `levels` of each patient's value, for facets of which a patient has one; `codes` that
    of each row's value, for the others; `cells` the place of its value and patient in a table of both, so that setting
    it marks the patient as having the value.
    """

    patient_ids: pa.Array
    digests: NDArray[np.uint64]
    patient: NDArray[np.int32]
    study: NDArray[np.int32]
    n_images: NDArray[np.int32]
    levels: dict[str, list[str]]
    of_patients: dict[str, NDArray[np.int16]]
    codes: dict[str, NDArray[np.int16]]
    cells: dict[str, NDArray[np.int32]]

    @property
    def n_patients(self) -> int:
        """The number of all patients."""
        return len(self.patient_ids)

    @cached_property
    def described(self) -> NDArray[np.uint64]:
        """A number for each patient that changes with their digest, and with every value that a facet counts of them.

        It is of the texts of values: their places in `levels` differ between days.
        """
        import numpy as np

        found, of_rows = self.digests.copy(), np.zeros(len(self.patient), np.uint64)
        for name, levels in self.levels.items():
            hashes = np.array([_hash_text(f"{name} {level}") for level in levels], np.uint64)
            if name in self.of_patients:
                found += hashes[self.of_patients[name]]
            else:
                of_rows += hashes[self.codes[name]]
        # Multiplied, so that two rows do not add up to two others that have exchanged their values.
        np.add.at(found, self.patient, (of_rows ^ (of_rows >> np.uint64(31))) * np.uint64(0x9E37_79B9_7F4A_7C15))
        return found

    def choose(self, selection: Selection) -> dict[str, NDArray[np.bool_]]:
        """For each facet of which values are chosen, the rows that have one of them."""
        import numpy as np

        rows = {}
        for name in selection.active:
            chosen = selection.chosen(name, self.levels[name])
            allowed = np.array([level in chosen for level in self.levels[name]], dtype=bool)
            found = self.of_patients.get(name)
            rows[name] = allowed[self.codes[name]] if found is None else allowed[found][self.patient]
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


def _hash_text(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
