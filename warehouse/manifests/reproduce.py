"""Repeats a manifest: asks its cohort again, at its snapshot and as of its day, and holds the answers together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from warehouse.engine.faults import explain_faults
from warehouse.errors import ManifestError, UsageError, WarehouseError
from warehouse.filesystem import files
from warehouse.manifests import past
from warehouse.manifests.compare import Difference, compare_manifests
from warehouse.manifests.document import to_utc
from warehouse.manifests.export import write_files
from warehouse.manifests.manifest import Manifest, open_manifest
from warehouse.manifests.permit import permit_question
from warehouse.manifests.rows import collect_rows
from warehouse.manifests.tables import read_again
from warehouse.manifests.verify import find_missing_patients
from warehouse.settings import Settings, load_settings

if TYPE_CHECKING:
    from warehouse.cohorts.tables import Given
    from warehouse.query.session import Session


@dataclass(frozen=True, slots=True)
class Reproduction:
    """The outcome. `digest` is that of the new answer, `difference` how it differs; where the lake enforces agreements,
    only whether it does: without objects, numbers, and the digest of another answer."""

    digest: str
    is_same_csv: bool
    difference: Difference
    patients_gone: tuple[str, ...]
    withdrawn: past.Withdrawn = field(default_factory=past.Withdrawn)  # who are left out of the new answer

    @property
    def holds(self) -> bool:
        """Whether the answer is the same, all its patients are still in the warehouse, and none has withdrawn."""
        return self.difference.is_same and not self.patients_gone and not self.withdrawn.uris


@explain_faults()
def reproduce(
    manifest: Manifest,
    lake_address: str = "",
    *,
    newest: bool = False,
    settings: Settings | None = None,
    tables: Given | None = None,
) -> Reproduction:
    """Run a manifest's cohort again on the lake it was made from; `newest`: on any lake, at its newest snapshot.

    `tables` are the user's own that it was made with, by name; without them, the copies in its folder are read.
    Raises ManifestError when the snapshot is gone, when the lake is another one, or when the manifest was altered;
    AccessRefusedError where the lake enforces agreements and its register does not have the manifest.
    """
    from warehouse.cohorts import parsing
    from warehouse.cohorts.answer import CohortAnswer
    from warehouse.cohorts.split import Split

    settings = settings or load_settings()
    about, _ = manifest.about, manifest.contents  # all of it is checked before its SQL is run
    is_shown = permit_question(manifest, lake_address, settings)
    with (
        _open_session(manifest, lake_address, newest, settings) as wh,
        files.open_temporary_folder() as folder,
        _hiding_reasons(manifest, is_shown),
    ):
        asked = wh.group(about["group"])
        asked = asked.as_of(about["as_of"]) if about["as_of"] else asked
        known = parsing.parse(about["cohort"]["sql"], f"{manifest.name}.sql")
        own = read_again(manifest.folder, about, known, tables or {}, asked.settings)
        answer = CohortAnswer.ask(asked, known, about["cohort"]["parameters"], own)
        answer = answer.split(Split.from_json(about["split"])) if "split" in about else answer
        objects, columns = tuple(about["objects"]), tuple(about.get("columns", ()))
        with contextlib.closing(collect_rows(answer, objects, folder, columns)) as rows:
            write_files(answer, rows, objects, folder, columns)
        again = open_manifest(folder)
        difference = compare_manifests(manifest, again, settings)
        if not is_shown:
            difference = replace(difference, counts={}, objects=difference.objects.slice(0, 0))
        return Reproduction(
            digest=again.digest if is_shown or difference.is_same else "",
            is_same_csv=_find_csv_hash(manifest) == _find_csv_hash(again),
            difference=difference,
            patients_gone=tuple(find_missing_patients(manifest, lake_address, settings)),
            withdrawn=past.find_withdrawn(manifest, lake_address, settings),
        )


@contextlib.contextmanager
def _hiding_reasons(manifest: Manifest, is_shown: bool) -> Iterator[None]:
    """Raise no error of a question whose answer may not be shown: it may quote rows, of all that the lake has."""
    import duckdb

    try:
        yield
    except (WarehouseError, duckdb.Error):
        if is_shown:
            raise
        raise ManifestError(
            f"{manifest.folder}: its question can no longer run. Where agreements are enforced, the reason is not "
            "shown: ask it under one,  chest cohort run FILE.sql --agreement ID"
        ) from None


@contextlib.contextmanager
def _open_session(manifest: Manifest, lake_address: str, newest: bool, settings: Settings) -> Iterator[Session]:
    from warehouse.query.session import Session, attach_as

    number, time = manifest.about["snapshot"], manifest.about["snapshot_time"]
    try:
        wh = attach_as(Session, lake_address, snapshot=None if newest else number, settings=settings, trusted=False)
    except UsageError as error:
        raise ManifestError(
            f"{manifest.folder}: snapshot {number} of {time}, which it was made from, is gone. {error} "
            "Ask the newest one:  chest manifest reproduce DIR --newest"
        ) from None
    with wh:
        if not newest and to_utc(wh.snapshot.time) != time:
            raise ManifestError(
                f"{manifest.folder} was made from snapshot {number} of {time}, but that of {wh.location.name} is of "
                f"{to_utc(wh.snapshot.time)}: it is another lake. Name the one it was made from with --lake, or ask "
                "this one:  chest manifest reproduce DIR --newest"
            )
        yield wh


def _find_csv_hash(manifest: Manifest) -> str:
    return str(manifest.about["files"]["manifest.csv"]["sha256"])
