"""Finds or makes the manifest of a patient, a study or a series, for a download without a cohort.

It is the manifest of a small included cohort (sql/downloads), exported and recorded as any other, and kept in the
folder of the download, so that a second run resumes it.
"""

from __future__ import annotations

import contextlib
import shlex
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.cohorts import CohortAnswer, parsing
from warehouse.engine import sql_files
from warehouse.engine.faults import explain_faults
from warehouse.engine.placeholders import refuse_placeholders
from warehouse.errors import NotFoundError, UsageError
from warehouse.manifests import paths
from warehouse.manifests.document import escape_for_message
from warehouse.manifests.download_folder import MANIFEST
from warehouse.manifests.export import export_manifest
from warehouse.manifests.manifest import Manifest, open_manifest
from warehouse.manifests.rows import DEFAULT_OBJECTS, collect_rows
from warehouse.manifests.sealing import DOCUMENT
from warehouse.query.session import Session

if TYPE_CHECKING:
    from warehouse.cohorts import Definition

KINDS = ("patient", "study", "series")
#: The columns of images that layouts often need and that no manifest has by itself.
COLUMNS = ("StudyDate", "SeriesNumber", "InstanceNumber")


def is_manifest(word: str) -> bool:
    """Whether a word is the folder of a manifest."""
    return (Path(word) / DOCUMENT).exists()


@explain_faults()
def find_kind(session: Session, word: str, kind: str = "") -> str:
    """Find what a word names: patient, study or series; `kind` decides where it names several.

    NotFoundError if the session has nothing of that name, UsageError if it is ambiguous or not of that kind.
    """
    if kind and kind not in KINDS:
        raise UsageError(f"--kind is {', '.join(KINDS)}, not {escape_for_message(kind)}.")
    refuse_placeholders("The name", word)
    sql = sql_files.read_statements("manifests/resolving.sql")["kinds"]
    found = [name for (name,) in session.con.execute(sql, {"id": word}).fetchall()]
    shown = escape_for_message(word)
    if not found:
        raise NotFoundError(
            f"{shown} is neither the folder of a manifest, nor a patient, StudyInstanceUID or SeriesInstanceUID in "
            f"group {session.group_name!r}{session.shown}. Names are case-sensitive. "
            "Look for it:  chest sql 'from patients'"
        )
    if kind and kind not in found:
        raise NotFoundError(f"{shown} is not a {kind}, but a {' and a '.join(found)}.")
    if len(found) > 1 and not kind:
        raise UsageError(f"{shown} is a {' and a '.join(found)}. Give --kind {' or --kind '.join(found)}.")
    return kind or str(found[0])


@explain_faults()
def make_manifest(
    session: Session,
    word: str,
    kind: str,
    data: Path,
    *,
    objects: tuple[str, ...] = DEFAULT_OBJECTS,
    warn: Callable[[str], object] = warnings.warn,
) -> Manifest:
    """The manifest of a patient, a study or a series, in the folder of its download: opened if it is there, else made.

    UsageError if the folder has that of another question, or one that does not have the answer of the lake.
    """
    folder = data / paths.OWN / MANIFEST
    definition = parsing.parse(sql_files.read(f"downloads/{kind}.sql"), f"sql/downloads/{kind}.sql")
    if is_manifest(str(folder)):
        kept = open_manifest(folder, warn=warn)
        _require_same(kept, session, word, kind, objects, data)
        _require_answer(kept, session, definition, word, data)
        return kept
    answer = CohortAnswer.ask(session, definition, {"id": word})
    return export_manifest(answer, folder, objects=objects, columns=COLUMNS, warn=warn)


def _require_answer(kept: Manifest, session: Session, definition: Definition, word: str, data: Path) -> None:
    """UsageError unless a manifest has what the lake answers: an untrusted one may name other objects."""
    number, objects = kept.about["snapshot"], tuple(kept.about["objects"])
    columns = tuple(kept.about.get("columns", ()))
    with contextlib.ExitStack() as held:
        try:
            at = session if number == session.snapshot.number else held.enter_context(session.at_snapshot(number))
        except UsageError as error:
            raise UsageError(
                f"The manifest in {kept.folder} cannot be compared with the lake. {error} Choose another folder."
            ) from None
        answer = CohortAnswer.ask(at, definition, {"id": word})
        rows = held.enter_context(contextlib.closing(collect_rows(answer, objects, columns=columns)))
        places = rows.con.execute("select uri, etag, object from manifest_rows").fetchall()
        # The digest does not cover where the objects are.
        is_same = set(places) == set(kept.polars().select("uri", "etag", "object").iter_rows())
        if rows.digest != kept.digest or not is_same:
            raise UsageError(
                f"The manifest in {kept.folder} does not have the objects that snapshot {number} of this lake has of "
                f"{escape_for_message(word)}: it is of another lake, or was altered. Choose another folder than {data}."
            )


def _require_same(kept: Manifest, session: Session, word: str, kind: str, objects: tuple[str, ...], data: Path) -> None:
    about = kept.about
    there = (about["cohort"]["name"], about["cohort"]["parameters"].get("id"), about["as_of"], about["group"])
    asked = (kind, word, str(session.day) if session.day else None, session.group_name)
    if there == asked and list(objects) == about["objects"]:
        return
    name, given, day, group = there
    when = f" as of {day}" if day else ""
    raise UsageError(
        f"{data} has the download of {name} {escape_for_message(str(given))} ({', '.join(about['objects'])}; group "
        f"{group}{when}), which is a different download. Choose another folder, or resume that one:  "
        "chest manifest download "
        f"{shlex.quote(str(kept.folder))} -o {shlex.quote(str(data))}"
    )
