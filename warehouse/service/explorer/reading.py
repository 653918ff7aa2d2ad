"""Reads the facets of a lake into memory (table.py)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from warehouse.engine import sql_files
from warehouse.service.explorer.facets import AGE_BANDS, FACETS, MISSING
from warehouse.service.explorer.table import FacetTable
from warehouse.service.preparing import Progress

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from warehouse.api import Warehouse


@dataclass(frozen=True, slots=True)
class ImageRows:
    """What differs among the images of each patient, and since when: places in `patient_ids` and in `levels`."""

    patient_ids: pa.Array
    patient: NDArray[np.int32]
    study: NDArray[np.int32]
    n_images: NDArray[np.int32]
    available: NDArray[np.int32]
    levels: dict[str, list[str]]
    codes: dict[str, NDArray[np.int16]]


def read_images(warehouse: Warehouse, progress: Progress) -> ImageRows:
    """Read what differs among the images of a session: one query over all of them."""
    import numpy as np

    query = sql_files.read_statements("explorer/facets.sql")["images"]
    with progress.follow(warehouse.con, 0.8):
        rows = warehouse.con.execute(query).to_arrow_table()
    patient, patient_ids = _encode(rows["patient_id"])
    order = np.argsort(patient, kind="stable")
    study, _ = _encode(rows["StudyInstanceUID"])
    levels, codes = {}, {}
    for name in (name for name, facet in FACETS.items() if not facet.is_partition):
        found, levels[name] = _encode_facet(rows[name])
        codes[name] = found[order]
    n_images = rows["n_images"].to_numpy().astype(np.int32)
    available = rows["available_date"].cast("int32").to_numpy()
    return ImageRows(patient_ids, patient[order], study[order], n_images[order], available[order], levels, codes)


def read_table(warehouse: Warehouse, images: ImageRows, progress: Progress) -> FacetTable:
    """Read what is known of the patients of a session, and put the images to them that were available on its day."""
    import numpy as np
    import pyarrow.compute as pc

    query = sql_files.read_statements("explorer/facets.sql")["patients"]
    with progress.follow(warehouse.con, 0.8):
        rows = warehouse.con.execute(query).to_arrow_table()
    patient_ids = rows["patient_id"].combine_chunks()
    levels, of_patients = {**images.levels}, {}
    for name in (name for name, facet in FACETS.items() if facet.is_partition):
        found = _band_ages(rows["age"].to_numpy()) if name == "age" else _encode_facet(rows[name])
        of_patients[name], levels[name] = found
    places = pc.index_in(images.patient_ids, value_set=patient_ids).fill_null(-1).to_numpy(zero_copy_only=False)
    patient = places.astype(np.int32)[images.patient]
    kept = patient >= 0
    if warehouse.day:
        kept &= images.available <= (warehouse.day - date(1970, 1, 1)).days
    alone = np.ones(len(patient_ids), dtype=bool)  # patients without an image have a row too
    alone[patient[kept]] = False
    n_alone = int(alone.sum())
    patient = np.concatenate([patient[kept], np.flatnonzero(alone).astype(np.int32)])
    codes = {
        name: np.concatenate([found[kept], np.full(n_alone, len(levels[name]) - 1, dtype=np.int16)])
        for name, found in images.codes.items()
    }
    return FacetTable(
        patient_ids,
        rows["digest"].to_numpy(),
        patient,
        np.concatenate([images.study[kept], np.full(n_alone, -1, dtype=np.int32)]),
        np.concatenate([images.n_images[kept], np.zeros(n_alone, dtype=np.int32)]),
        levels,
        of_patients,
        codes,
        {name: found.astype(np.int32) * len(patient_ids) + patient for name, found in codes.items()},
    )


def _encode(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], pa.Array]:
    """The place of each value in the list of values; -1 for null."""
    import numpy as np

    encoded = column.combine_chunks().dictionary_encode()
    return encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32), encoded.dictionary


def _encode_facet(column: pa.ChunkedArray) -> tuple[NDArray[np.int16], list[str]]:
    """The place of each value in the levels of its facet, of which the last is for missing values."""
    import numpy as np

    found, values = _encode(column)
    return np.where(found < 0, len(values), found).astype(np.int16), [*values.to_pylist(), MISSING]


def _band_ages(ages: NDArray[np.float64]) -> tuple[NDArray[np.int16], list[str]]:
    import numpy as np

    names = [name for name, *_ in AGE_BANDS]
    places = np.searchsorted([least for _, least, _ in AGE_BANDS], ages, side="right") - 1
    return np.where(np.isnan(ages) | (places < 0), len(names), places).astype(np.int16), [*names, MISSING]
