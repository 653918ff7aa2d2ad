"""The kinds of objects that a refresh loads, headers and clinical files: the tables, rules and statements of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
)
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
)
#: By their steps, by which a unit names its kind to another process.
KINDS = {kind.step: kind for kind in (IMAGES, CLINICAL)}
