"""Downloads a manifest's objects: in parallel, resumable, each verified before it gets its name.

    data/training/Covid1/images/2020-03-02/….dcm    an object under its key, complete or absent
    data/.chest/                                    partial objects, and the lock of a running download
    data/INCOMPLETE                                 present until every object is; lists missing objects
    data/files.parquet, data/files.csv              the path of each object, in another layout than the keys

Run again, it resumes: valid files are kept, partial ones continued, and all others fetched.
"""

from __future__ import annotations

import contextlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.engine import sql_files
from warehouse.engine.faults import explain_faults
from warehouse.errors import ManifestError, UsageError
from warehouse.filesystem import files
from warehouse.manifests import past, paths
from warehouse.manifests.contents import Contents, connect
from warehouse.manifests.document import escape_for_message
from warehouse.manifests.download_folder import check_room, choose_layout, finish_folder, open_folder, write_tables
from warehouse.manifests.download_job import Downloaded, Job, Wanted
from warehouse.manifests.files import abbreviate, name_source_folders
from warehouse.manifests.layouts import Layout, read_types, require_paths
from warehouse.manifests.manifest import Manifest
from warehouse.manifests.permit import permit_manifest
from warehouse.manifests.sources import resolve_sources
from warehouse.object_store.opening import open_bucket
from warehouse.progress import Progress, ignore_progress
from warehouse.settings import Settings, load_settings

if TYPE_CHECKING:
    import duckdb


@explain_faults()
def download(
    manifest: Manifest,
    data: Path | str,
    *,
    layout: str = "",
    workers: int = 0,
    source: str | Sequence[str] = (),
    lake_address: str = "",
    agreement: str = "",
    unsealed: bool = False,
    settings: Settings | None = None,
    progress: Progress = ignore_progress,
    warn: Callable[[str], object] = warnings.warn,
    what: str = "download",
) -> Downloaded:
    """Fetch missing objects into a folder, from the manifest's buckets or from those given.

    `layout` is keys, flat or a template (layouts.py); by default, that of the folder, or keys.

    Under an `agreement`, by default the one that the manifest names, the lake is asked whether that still covers it:
    AccessRefusedError if not, or if the lake enforces agreements and none is named.

    A bucket that is neither a source of the lake nor in `source` is not read (warehouse/manifests/sources.py), and a
    manifest without a seal is not downloaded unless `unsealed`. `warn` is called with keys that cannot be written,
    before anything is fetched. Objects that could not be fetched are in the result's `failed`; check it, or call
    `raise_for_failed`. Raises UsageError if the folder cannot be written or a source was not named, SourceError if a
    bucket does not respond, ManifestError for an altered manifest.
    """
    settings = settings or load_settings()
    data = Path(data)
    if workers < 0:
        raise UsageError("--workers must be 1 or more.")
    contents = manifest.contents
    if not manifest.seal and not unsealed:
        raise ManifestError(
            f"{manifest.folder} has no seal (format 1), so nothing proves that its objects are those of its digest. "
            "Export it again, or give --unsealed if you trust its origin."
        )
    permit_manifest(manifest, lake_address, agreement, what=what, settings=settings)
    asked = resolve_sources(manifest, manifest.sources, source, lake_address, settings)
    buckets = {home: open_bucket(place, settings) for home, place in asked.items()}
    chosen = choose_layout(data, layout)
    with (
        contextlib.closing(connect(settings, contents, folder=data / paths.OWN)) as con,
        open_folder(data, manifest, chosen),
    ):
        check_room(manifest, data)
        refused = _find_refused(con, contents, name_source_folders(manifest.sources), chosen, data)
        if not chosen.is_by_key:
            require_paths(con, chosen, refused)
        for reason, number in Counter(refused.values()).items():
            names = [uri for uri, why in refused.items() if why == reason]
            warn(f"Not fetched: {number:,} whose key {reason}: {escape_for_message(abbreviate(names), 1000)}")
        withdrawn = past.find_withdrawn(manifest, lake_address, settings)
        refused |= dict.fromkeys(withdrawn.uris, "of a patient who has withdrawn")
        if withdrawn.uris:
            warn(past.explain_withdrawn(withdrawn, "Their objects are not fetched; delete copies that are there."))
        job = Job(data, buckets, refused)
        total = manifest.about["counts"]["objects"]
        result = job.run(_iterate_objects(con), total, workers or settings.fetch_threads, progress)
        if not chosen.is_by_key:
            write_tables(con, contents.rows, data)
        finish_folder(data, manifest, chosen, result.failed)
        return result


def raise_for_failed(manifest: Manifest, data: Path, result: Downloaded) -> None:
    """Raise ManifestError with the names of missing objects, if any."""
    if not result.failed:
        return
    reasons: dict[str, list[str]] = {}
    for key, reason in result.failed:
        reasons.setdefault(reason, []).append(key)
    words = "\n".join(f"  {len(keys):,} {reason}: {abbreviate(keys)}" for reason, keys in reasons.items())
    raise ManifestError(
        f"The download is incomplete: {len(result.failed):,} of {manifest.about['counts']['objects']:,} objects are "
        f"not in {data}.\n{words}\nAll are listed in {data / paths.INCOMPLETE}."
    )


def _iterate_objects(con: duckdb.DuckDBPyConnection) -> Iterator[Wanted]:
    con.execute(sql_files.read_statements("manifests/download.sql")["objects"])
    while rows := con.fetchmany(1000):
        yield from (Wanted(*row) for row in rows)


def _find_refused(
    con: duckdb.DuckDBPyConnection, contents: Contents, folders: dict[str, str], layout: Layout, data: Path
) -> dict[str, str]:
    """Find the URIs that cannot be written, and why; names are tried in the folder itself. Makes table `targets`."""
    if layout.is_by_key:
        rows = sql_files.fill(sql_files.read_statements("manifests/download.sql")["rows"], rows=contents.rows)
    else:
        rows = layout.describe_path(read_types(con, contents.rows), contents.rows)
    with files.make_part_folder(data / paths.OWN) as trial:
        return paths.find_unwritable(con, f"({rows})", folders, data, trial, path="" if layout.is_by_key else "laid")
