"""Repeats a manifest: asks its cohort again, at its snapshot and as of its day, and holds the answers together."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse.errors import ManifestError, UsageError
from warehouse.filesystem import files
from warehouse.manifests.compare import Difference, compare
from warehouse.manifests.document import utc
from warehouse.manifests.export import write
from warehouse.manifests.manifest import Manifest, open_manifest
from warehouse.manifests.rows import collect
from warehouse.manifests.verify import patients_gone
from warehouse.settings import Settings, load

if TYPE_CHECKING:
    from warehouse.query.session import Session


@dataclass(frozen=True, slots=True)
class Repeated:
    """What came of it. `digest` is that of the new answer; `difference` says in what it differs."""

    digest: str
    is_same_csv: bool
    difference: Difference
    patients_gone: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether the answer is the same, and all its patients are still in the warehouse."""
        return self.difference.is_same and not self.patients_gone


def repeat(
    manifest: Manifest, lake_address: str = "", *, newest: bool = False, settings: Settings | None = None
) -> Repeated:
    """Ask a manifest's cohort again on the lake it was made from; `newest`: on any lake, at its newest snapshot.

    Raises ManifestError when the snapshot is gone, when the lake is another one, or when the manifest was altered.
    """
    from warehouse.cohorts import answer as run
    from warehouse.cohorts import definition

    about, _ = manifest.about, manifest.contents  # all of it is checked before its SQL is run
    with _opened(manifest, lake_address, newest, settings or load()) as wh, files.temporary_folder() as folder:
        asked = wh.group(about["group"])
        asked = asked.as_of(about["as_of"]) if about["as_of"] else asked
        known = definition.parse(about["cohort"]["sql"], f"{manifest.name}.sql")
        answer = run.CohortAnswer.ask(asked, known, about["cohort"]["parameters"])
        objects = tuple(about["objects"])
        with contextlib.closing(collect(answer, objects, folder)) as rows:
            write(answer, rows, objects, folder)
        again = open_manifest(folder)
        return Repeated(
            digest=again.digest,
            is_same_csv=_csv_hash(manifest) == _csv_hash(again),
            difference=compare(manifest, again, settings),
            patients_gone=tuple(patients_gone(manifest, lake_address, settings)),
        )


@contextlib.contextmanager
def _opened(manifest: Manifest, lake_address: str, newest: bool, settings: Settings) -> "Iterator[Session]":
    from warehouse.query.session import Session

    number, time = manifest.about["snapshot"], manifest.about["snapshot_time"]
    try:
        wh = Session.open(lake_address, snapshot=None if newest else number, settings=settings, trusted=False)
    except UsageError as error:
        raise ManifestError(
            f"{manifest.folder}: snapshot {number} of {time}, which it was made from, is gone. {error} "
            "Ask the newest one:  chest manifest repeat DIR --newest"
        ) from None
    with wh:
        if not newest and utc(wh.snapshot.time) != time:
            raise ManifestError(
                f"{manifest.folder} was made from snapshot {number} of {time}, but that of {wh.location.name} is of "
                f"{utc(wh.snapshot.time)}: it is another lake. Name the one it was made from with --lake, or ask this "
                "one:  chest manifest repeat DIR --newest"
            )
        yield wh


def _csv_hash(manifest: Manifest) -> str:
    return str(manifest.about["files"]["manifest.csv"]["sha256"])
