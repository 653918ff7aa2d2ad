"""Enforcement: whether something may leave now, under which agreement; refusals and releases as events of the log.

Off at first; it is switched on for a lake (switch.py), whatever the environment of a user. While it is on, rows leave
only under an agreement that is in force, and what cannot be logged does not leave.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from warehouse.access import log, vocabulary
from warehouse.access.agreements import Agreement, find_agreement
from warehouse.access.current import read_current
from warehouse.access.duo import Purpose, match_data_use
from warehouse.access.patient_sets import DifferenceError, digest_patients, digest_set
from warehouse.access.programme import get_today, read_programme_end
from warehouse.access.switch import is_enforced
from warehouse.access.verdict import Answer, Verdict
from warehouse.errors import AccessRefusedError, WarehouseError
from warehouse.lake import connection, secret

if TYPE_CHECKING:
    import duckdb

    from warehouse.access.log import Event
    from warehouse.lake.location import Location
    from warehouse.settings import Settings


def find_end(agreement: Agreement) -> datetime:
    """The moment at which an agreement is no longer in force: the end of its last day (UTC)."""
    return datetime.combine(agreement.ends + timedelta(days=1), time(), UTC)


def find_day(events: Sequence[Event]) -> date:
    """Today (UTC), but never before the last event of the log: a clock that is set back makes no agreement valid."""
    return max(get_today(), events[-1].at.astimezone(UTC).date()) if events else get_today()


def judge_purpose(agreement: Agreement, conditions: Sequence[str]) -> Verdict:
    """Whether the conditions of the data allow the purpose of an agreement."""
    purpose = Purpose(
        frozenset(code.upper() for code in agreement.duo),
        frozenset(code.upper() for code in agreement.mondo),
        names_user=bool(agreement.applicant),
        names_organisation=bool(agreement.organisation),
        names_project=bool(agreement.title),
        has_end=True,
    )
    return match_data_use(conditions, purpose)


def require_in_force(agreement: Agreement, conditions: Sequence[str], day: date | None = None) -> list[str]:
    """Refuse an agreement that is not in force on a day (today), or whose purpose the data are not for.

    AccessRefusedError with the reason. Returns what a person must look at, and has by granting it.
    """
    state = agreement.state_on(day or get_today())
    if state != "active":
        when = {
            "not started": f"starts on {agreement.starts}",
            "expired": f"ended on {agreement.ends}. Apply again:  chest access form --of {agreement.id}",
            "revoked": f"was revoked on {agreement.ended}",
            "closed": f"was closed on {agreement.ended}",
        }[state]
        raise AccessRefusedError(f"Agreement {agreement.id} {when}".rstrip(".") + ".")
    judged = judge_purpose(agreement, conditions)
    if judged.answer is Answer.NO:
        raise AccessRefusedError(
            f"The purpose of agreement {agreement.id} is not what the data are for. {judged.reasons[0]}"
        )
    return [*judged.reasons]


def find_permit(
    con: duckdb.DuckDBPyConnection, place: Location, settings: Settings, name: str, *, leaves: bool, what: str
) -> Agreement | None:
    """The agreement under which something is asked; None where none is given and none is needed.

    `con` has the lake attached, at any snapshot. `leaves`: rows, or exact counts, would leave: then one is
    needed where enforcement is on. `what` is the command, for the log. AccessRefusedError, logged, if it may not be;
    UsageError for an unknown agreement.
    """
    if not name and not leaves:
        return None
    events = read_current(con, place)
    if not name:
        if is_enforced(events):
            error = AccessRefusedError(
                f"{what}: this lake lets rows leave only under an agreement. Give --agreement ID, or ask for one:  "
                "chest access request"
            )
            log_refusal(place, settings, "", what, error)
            raise error
        return None
    return _permit(events, place, settings, name, what)


def _permit(events: Sequence[Event], place: Location, settings: Settings, name: str, what: str) -> Agreement:
    found = find_agreement(events, name, read_programme_end(settings))
    try:
        require_in_force(found, settings.data_use.split(), find_day(events))
    except AccessRefusedError as error:
        log_refusal(place, settings, name, what, error)
        raise
    return found


def log_refusal(place: Location, settings: Settings, agreement: str, what: str, error: AccessRefusedError) -> None:
    """Append a refusal; where the log cannot be written, what was refused is refused all the same."""
    if getattr(error, "is_logged", False):  # it may pass several blocks on its way
        return
    error.is_logged = True
    from warehouse.access import memory
    from warehouse.access.naming import mask_text

    also = memory.plan_refusal(place, agreement) if isinstance(error, DifferenceError) else None
    with contextlib.suppress(WarehouseError):
        reason = mask_text(place, settings, str(error))  # it may have the name of a folder
        log.append(
            place, settings, log.NewEvent(vocabulary.REFUSED, agreement, {"what": what, "reason": reason}), also=also
        )


def log_release(
    con: duckdb.DuckDBPyConnection,
    place: Location,
    settings: Settings,
    agreement: str,
    what: str,
    patients: Iterable[str] | None = None,
    *,
    parts: Mapping[str, Collection[str]] | None = None,
    counts_to: int | None = None,
    **facts: Any,
) -> None:
    """Append a release, before anything leaves; LakeError if it cannot be logged: then nothing may leave.

    AccessRefusedError if the agreement has ended since the lake was opened: it is looked at again under the
    writer's lock.
    Of the patients, if they are known, only their number and the keyed digest of all of them are logged; a name of a
    file or a cohort that has a pseudonym is not. They are
    compared with what left before under the agreement (memory.py): DifferenceError. `parts` are those of the answer
    that are counted apart, such as its steps; with `counts_to`, counts leave and no rows, rounded to that base.
    """
    from warehouse.access import memory
    from warehouse.access.naming import mask_names

    known = mask_names(con, place, {name: value for name, value in facts.items() if value is not None})
    body: dict[str, Any] = {"what": what, **known}
    if patients is not None:
        ids = sorted({*patients})
        body |= {"patients": len(ids), "patients_digest": secret.compute_keyed_digest(con, place, "\n".join(ids))}
        if key := secret.read_secret(con, place):  # by which audit.py finds the set; without a key, memory.py refuses
            body["patients_set"] = digest_set(digest_patients(key, ids)).hex()
        parts = {memory.ANSWER: ids, **(parts or {})}
    kind = memory.ROWS if counts_to is None else memory.COUNTS
    released = memory.Released(agreement, parts or {}, kind, facts.get("snapshot"))
    event = log.NewEvent(vocabulary.RELEASED, agreement, body)

    def decide(events: Sequence[Event]) -> list[log.NewEvent]:
        found = find_agreement(events, agreement, read_programme_end(settings))
        require_in_force(found, settings.data_use.split(), find_day(events))
        return [event]

    try:
        log.append_decided(
            place, settings, decide, also=lambda writer: memory.admit_within(writer, place, released, counts_to or 0)
        )
    except AccessRefusedError as error:
        log_refusal(place, settings, agreement, what, error)
        raise


def log_question(place: Location, settings: Settings, what: str, names: Sequence[str]) -> None:
    """Append that somebody asks, without an agreement, in what patients are whom they name, where a lake enforces them.

    LakeError if it cannot be logged: then it may not be answered. Who may write to the lake may know it, and the log
    has that they asked.
    """
    if not is_enforced(log.read_events(place, settings)):
        return
    with contextlib.closing(connection.connect(settings, place)) as con:
        connection.attach(con, place, "read_only")
        key = secret.require_secret(con, place, "releases are found by it")
        digest = secret.compute_digest(key, "\n".join(sorted({*names})))
    body = {"what": what, "patients": len({*names}), "patients_digest": digest}
    log.append(place, settings, log.NewEvent(vocabulary.ASKED, "", body))
