"""The steps of a request: files are taken in and inspected, two reviewers decide, and the files are released."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.access import enforcement, log, memory, naming, vocabulary
from warehouse.access.agreements import find_agreement
from warehouse.access.airlock import holding, parquet, patterns
from warehouse.access.airlock.inspection import Finding, inspect_file
from warehouse.access.airlock.requests import REVIEWERS, AirlockRequest, find_request, list_next_ids, list_requests
from warehouse.access.patient_sets import digest_set, to_array
from warehouse.access.programme import read_programme_end
from warehouse.engine import sql_files
from warehouse.errors import AccessRefusedError, ManifestError, UsageError
from warehouse.filesystem.files import open_temporary_folder, write_folder_atomically
from warehouse.lake import store
from warehouse.settings import SUPPRESS

if TYPE_CHECKING:
    from collections.abc import Set

    import duckdb

    from warehouse.access.patient_sets import Digests
    from warehouse.lake.location import Location
    from warehouse.settings import Settings

#: Beside the files of a request: whose data they are, as a set of digests that are keyed with the secret of the lake,
#: which is not in this folder (patient_sets.py). The event of the request has the digest of the set.
_PATIENTS = ".patients"


def request(
    place: Location,
    settings: Settings,
    agreement: str,
    paths: Sequence[Path],
    reason: str,
    requester: str,
    patients: Collection[str] | None = None,
    is_withdrawn: Callable[[str], bool] | None = None,
) -> AirlockRequest:
    """Take in files that somebody wants to release under an agreement, with what the checks find in them.

    `patients` are those whom the files count, if the requester has stated them; otherwise those whom they name.
    `is_withdrawn` tells who has withdrawn, and may no longer be a patient of the newest state.
    AccessRefusedError if the agreement is not in force, UsageError for files that cannot be read or named.
    """
    with open_temporary_folder() as private:
        # What waits is what was inspected, although somebody changes their file in between.
        copies = holding.copy_files(private, paths)
        for path in copies:
            parquet.write_anew(path)
        folder = holding.find_folder(place, settings)
        events = log.read_events(place, settings)
        enforcement.require_in_force(
            find_agreement(events, agreement, read_programme_end(settings)),
            settings.data_use.split(),
            enforcement.find_day(events),
        )
        with _open_lake(place, settings) as (con, there_now):
            known = patterns.Patients(there_now, is_withdrawn)
            _refuse_names([reason, *(path.name for path in copies)], known)
            inspected = [inspect_file(path, known, SUPPRESS) for path in copies]
            named = {patient for one in inspected for patient in one.patients}
            counted = set(patients) if patients is not None else named or None
            findings = [*(finding for one in inspected for finding in one.findings)]
            findings.append(_compare(con, place, agreement, counted))
            digests = memory.digest_names(con, place, counted) if counted is not None else None
        held: tuple[holding.Held, ...] = ()
        taken = ""

        def decide(there: Sequence[log.Event]) -> list[log.NewEvent]:
            nonlocal held, taken
            # What is there under the next ID may wait for another lake that shares the folder.
            taken = holding.reserve(folder, list_next_ids(there, find_year()))
            held = holding.hold_files(folder, taken, copies)
            if digests is not None:
                holding.hold_bytes(folder, taken, _PATIENTS, digests.tobytes())
            return [_to_event(agreement, taken, reason, requester, held, findings, digests)]

        try:
            made = log.append_decided(place, settings, decide)
        except BaseException:
            if taken:
                holding.discard(folder, taken)
            raise
        return list_requests(made)[taken]


def review(
    place: Location,
    settings: Settings,
    name: str,
    reviewer: str,
    *,
    approves: bool,
    comment: str,
    is_withdrawn: Callable[[str], bool] | None = None,
) -> AirlockRequest:
    """Record a review. UsageError if this person may not, or gives no reason; nothing is released yet."""
    if not comment.strip():
        raise UsageError("A review needs its reasons: --comment.")
    with _open_lake(place, settings) as (_, known):
        _refuse_names([comment], patterns.Patients(known, is_withdrawn))

    def decide(events: Sequence[log.Event]) -> list[log.NewEvent]:
        found = find_request(events, name)
        found.require_reviewer(reviewer)
        body = {"request": name, "decision": "approve" if approves else "reject", "comment": comment.strip()}
        return [log.NewEvent(vocabulary.AIRLOCK_REVIEWED, found.agreement, body, reviewer, "airlock reviewer")]

    log.append_decided(place, settings, decide)
    return find_request(log.read_events(place, settings), name)


def release(
    place: Location,
    settings: Settings,
    name: str,
    target: Path,
    actor: str,
    is_withdrawn: Callable[[str], bool] | None = None,
) -> AirlockRequest:
    """Copy the files of a request that two reviewers approved into a new folder, and log it first.

    What was counted is remembered under the agreement. UsageError if it is not approved, ManifestError if a file is not
    what was reviewed, AccessRefusedError if the agreement has ended meanwhile, or a file names somebody who has
    withdrawn (`is_withdrawn` tells): then nothing is released.
    """
    folder = holding.find_folder(place, settings)
    events = log.read_events(place, settings)
    found = _require_approved(events, name)
    enforcement.require_in_force(
        find_agreement(events, found.agreement, read_programme_end(settings)),
        settings.data_use.split(),
        enforcement.find_day(events),
    )
    digests = _read_counted(folder, found)
    to = naming.mask_text(place, settings, str(target))

    def remember(con: duckdb.DuckDBPyConnection) -> None:
        if digests is not None:
            counted = {memory.ANSWER: digests}
            memory.admit_within(con, place, memory.Released(found.agreement, counted, is_reviewed=True), SUPPRESS)

    def decide(there: Sequence[log.Event]) -> list[log.NewEvent]:
        _require_approved(there, name)
        files = [{"name": file.name, "sha256": file.sha256} for file in found.files]
        body = {
            "request": name,
            "to": to,
            "files": files,
            "reviewers": [r.reviewer for r in found.reviews],
            "patients": found.n_patients,
            "patients_set": found.patients_set or None,
        }
        return [log.NewEvent(vocabulary.AIRLOCK_RELEASED, found.agreement, body, actor)]

    with write_folder_atomically(target) as part:
        holding.release_files(folder, name, found.files, part)
        _refuse_withdrawn(part, found, is_withdrawn)
        log.append_decided(place, settings, decide, also=remember)
    return find_request(log.read_events(place, settings), name)


def _refuse_withdrawn(part: Path, found: AirlockRequest, is_withdrawn: Callable[[str], bool] | None) -> None:
    """Raise AccessRefusedError if a file names a patient who has withdrawn, maybe after it was reviewed."""
    if is_withdrawn is None:
        return
    excluded = patterns.Patients(frozenset(), is_withdrawn)
    for file in found.files:
        if inspect_file(part / file.name, excluded, SUPPRESS).patients:
            raise AccessRefusedError(
                f"{file.name} of request {found.id} names a patient who has withdrawn or opted out. Request it again "
                "without them."
            )


def _read_counted(folder: Path, found: AirlockRequest) -> Digests | None:
    """The set of those whom the files count; ManifestError if it is not the one of the request."""
    import numpy as np

    content = holding.read_bytes(folder, found.id, _PATIENTS)
    digests = None if content is None else to_array(np.frombuffer(content, np.uint64))
    if found.patients_set and (digests is None or digest_set(digests).hex() != found.patients_set):
        raise ManifestError(
            f"Whose data request {found.id} counts is not what was requested: {_PATIENTS} was altered or removed. "
            "Request it again."
        )
    return digests


def find_year() -> int:
    """The year of new IDs, in UTC."""
    return datetime.now(UTC).year


def _require_approved(events: Sequence[log.Event], name: str) -> AirlockRequest:
    found = find_request(events, name)
    if found.state == "waiting":
        left = REVIEWERS - len(found.reviews)
        people = "one more reviewer" if left == 1 else f"{left} reviewers"
        raise UsageError(f"Request {name} waits for {people}:  chest airlock review {name}")
    if found.state != "approved":
        raise UsageError(f"Request {name} was {found.state} already.")
    return found


def _to_event(
    agreement: str,
    name: str,
    reason: str,
    requester: str,
    held: Sequence[holding.Held],
    findings: Sequence[Finding],
    counted: Digests | None,
) -> log.NewEvent:
    body = {
        "request": name,
        "reason": reason.strip(),
        "files": [asdict(file) for file in held],
        "findings": [asdict(finding) for finding in findings],
        "patients": None if counted is None else len(counted),
        "patients_set": None if counted is None else digest_set(counted).hex(),
        "user": store.get_author(),
    }
    return log.NewEvent(vocabulary.AIRLOCK_REQUESTED, agreement, body, requester, "applicant")


def _compare(con: duckdb.DuckDBPyConnection, place: Location, agreement: str, counted: Set[str] | None) -> Finding:
    if counted is None:
        detail = "Not compared with what left before: whose data it counts was not stated (--cohort)."
        return Finding("differences", "look", detail)
    released = memory.Released(agreement, {memory.ANSWER: counted})
    if reason := memory.find_difference(con, place, released, SUPPRESS):
        return Finding("differences", "problem", reason.partition(". ")[0].rstrip(".") + ".")
    return Finding("differences", "fine", "no earlier answer under the agreement differs by few patients")


def _refuse_names(texts: Sequence[str], known: Set[str]) -> None:
    """Raise UsageError if a text that goes into the log names a patient."""
    if any(patterns.find_pseudonyms(text, known) for text in texts):
        raise UsageError(
            "A reason, comment or file name names a patient. The log keeps it for good: write it without pseudonyms."
        )


@contextlib.contextmanager
def _open_lake(place: Location, settings: Settings) -> Iterator[tuple[duckdb.DuckDBPyConnection, frozenset[str]]]:
    """A reader's connection at the newest snapshot of all, and the patients that the lake knows."""
    con, _ = store.open_reader(place, settings, unpublished=True)
    with contextlib.closing(con):
        rows = con.execute(sql_files.read_statements("access/airlock.sql")["patients"]).fetchall()
        yield con, frozenset(name for (name,) in rows)
