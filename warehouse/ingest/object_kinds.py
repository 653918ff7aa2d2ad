"""The kinds of objects that a refresh loads, headers and clinical files: the tables, rules and statements of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from warehouse import cleaning
from warehouse.dicom import normal_form
from warehouse.ingest import extraction, header_extraction, record_extraction, reject_reasons

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class ObjectKind:
    """The tables and rules of a kind of object."""

    step: str
    kind: str
    wanted: str
    flag: str
    extract: Callable[[extraction.Extractor, pa.Table], tuple[pa.Table, ...]]
    #: The names by which the statements of sql/ingest/loading.sql know what was extracted.
    relations: tuple[str, ...]
    #: The tables with rows of an object, its typed rows first, and the statement with the rows of each.
    rows: dict[str, str]
    #: The digest of the rules that read it.
    rules: Callable[[], str]
    #: Extraction threads; with one, headers and the writer keep two cores busy. As many units are in memory at once, so
    #: each is correspondingly smaller.
    extractors: int = 1
    #: What distinguishes it from others of its step, and the condition on the keys of its objects.
    name: str = ""
    of_keys: str = "true"
    #: Whether its headers are read from .dcm objects; and how many other objects it takes the time of.
    is_dcm: bool = False
    weight: int = 1

    @property
    def table(self) -> str:
        """The table of its typed rows."""
        return next(iter(self.rows))


IMAGES = ObjectKind(
    "images",
    "header",
    reject_reasons.HEADER,
    "is_header",
    header_extraction.extract_headers,
    ("rows_read", "readings_read"),
    {"core.images": "image_rows", "raw.headers": "header_rows"},
    normal_form.compute_rules_digest,
    name="images",
    of_keys="ends_with(objects.key, '.json')",
)
#: Headers that are read from .dcm objects.
DCM = replace(IMAGES, name="dcm", of_keys="not ends_with(objects.key, '.json')", is_dcm=True, weight=16)
CLINICAL = ObjectKind(
    "clinical",
    "clinical",
    reject_reasons.RECORD,
    "is_record",
    record_extraction.extract_records,
    ("rows_read", "issues_read"),
    {"core.clinical": "clinical_rows", "core.clinical_issues": "issue_rows", "raw.records": "record_rows"},
    cleaning.compute_rules_digest,
    extractors=2,
    name="clinical",
)
#: By their names, by which a unit names its kind to another process.
KINDS = {kind.name: kind for kind in (IMAGES, DCM, CLINICAL)}
