"""Changes the standing list: withdrawals, the renewed opt-out list, named permissions, and giving patients back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import duckdb

from warehouse.access import log
from warehouse.access.naming import refuse_names
from warehouse.engine import sql_files
from warehouse.engine.faults import explain_faults
from warehouse.engine.placeholders import refuse_placeholders
from warehouse.engine.rows import fetch_first
from warehouse.errors import RemovalsError, UsageError
from warehouse.lake import store, waiting
from warehouse.lake.location import Location
from warehouse.lake.read_copy import drop_read_copy
from warehouse.settings import Settings
from warehouse.withdrawal import matching, recording, standing_list
from warehouse.withdrawal.digests import Key, open_key
from warehouse.withdrawal.standing_list import Entry

_SQL = "withdrawal/standing_list.sql"


@dataclass(frozen=True, slots=True)
class Changed:
    """What a command changed: the version of the list, and patients by what became of them.

    `unknown` are those given whom the lake has no object of: they are on the list all the same, and may arrive later.
    """

    version: int
    added: int
    ended: int
    unchanged: int
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A change to the entry of one patient."""

    action: str
    digest: str
    reason: str | None = None
    allowed_by: str | None = None
    certificate: str | None = None


Plan = Callable[[dict[str, Entry], set[str]], list[Change]]


def withdraw(place: Location, settings: Settings, patients: Sequence[str], reason: str = "") -> Changed:
    """Put patients on the list until they are given back. UsageError if the reason names one of them."""
    _refuse_names(patients, reason)

    def plan(entries: dict[str, Entry], given: set[str]) -> list[Change]:
        new = [digest for digest in given if not (digest in entries and entries[digest].is_withdrawn)]
        return [Change("withdrawn", digest, reason or None) for digest in new]

    return _apply(place, settings, patients, plan)


def replace_opt_outs(
    place: Location, settings: Settings, patients: Sequence[str], reason: str = "", *, allow_returns: bool = False
) -> Changed:
    """Replace the list of those who have opted out: who is no longer on it comes back with the next refresh.

    RemovalsError, unless `allow_returns`, if over `max_removals_percent` of the earlier list are missing: a file that
    was cut off must not bring people back.
    """
    _refuse_names(patients, reason)

    def plan(entries: dict[str, Entry], given: set[str]) -> list[Change]:
        before = {digest for digest, entry in entries.items() if entry.is_opted_out}
        gone, limit = before - given, settings.max_removals_percent
        if len(gone) > len(before) * limit / 100 and not allow_returns:
            raise RemovalsError(
                f"{len(gone):,} of the {len(before):,} patients who had opted out are not on the new list, more than "
                f"{limit:g} %. Check that it is complete. If they really no longer opt out:  --allow-returns"
            )
        return [
            *(Change("opt-out ended", digest) for digest in gone),
            *(Change("opted out", digest, reason or None) for digest in given - before),
        ]

    return _apply(place, settings, patients, plan)


def permit(place: Location, settings: Settings, patients: Sequence[str], allowed_by: str, reason: str) -> Changed:
    """Include patients although they have opted out, by permission of a named person, for a reason; all without names.

    Whoever has withdrawn stays out. UsageError without a name or a reason.
    """
    if not allowed_by.strip() or not reason.strip():
        raise UsageError("Including patients who have opted out needs who allowed it and why: --allowed-by, --reason.")
    _refuse_names(patients, f"{allowed_by} {reason}")

    def plan(entries: dict[str, Entry], given: set[str]) -> list[Change]:
        opted_out = {digest for digest, entry in entries.items() if entry.is_opted_out}
        if stray := len(given - opted_out):
            raise UsageError(f"{stray:,} of those given have not opted out, so there is nothing to permit.")
        new = {d for d in (given or opted_out) if not entries[d].is_permitted}
        return [Change("permitted", digest, reason, allowed_by) for digest in new]

    return _apply(place, settings, patients, plan)


def end_permission(place: Location, settings: Settings, patients: Sequence[str], reason: str = "") -> Changed:
    """End permissions to include patients who have opted out; all without names."""
    _refuse_names(patients, reason)

    def plan(entries: dict[str, Entry], given: set[str]) -> list[Change]:
        permitted = {digest for digest, entry in entries.items() if entry.is_permitted}
        return [Change("permission ended", d, reason or None) for d in permitted & (given or permitted)]

    return _apply(place, settings, patients, plan)


def give_back(place: Location, settings: Settings, patients: Sequence[str], reason: str) -> Changed:
    """Take patients off the list again, by their own wish or because it was a mistake; UsageError for one not on it.

    Their data come back with the next refresh: what was purged, from the bucket, into new snapshots only.
    """
    if not reason.strip():
        raise UsageError("Giving patients back needs a reason: --reason.")
    _refuse_names(patients, reason)

    def plan(entries: dict[str, Entry], given: set[str]) -> list[Change]:
        held = {d for d in given if d in entries and (entries[d].is_withdrawn or entries[d].is_purged)}
        if stray := len(given - held):
            raise UsageError(f"{stray:,} of those given are not withdrawn. See the list:  chest withdraw list")
        return [Change("returned", digest, reason) for digest in held]

    return _apply(place, settings, patients, plan)


def record_purge(con: duckdb.DuckDBPyConnection, key: Key, digests: Iterable[str], certificate: str = "") -> int:
    """Record that a purge of patients has begun, or with the certificate's digest that it is done; on a writer.

    Returns the version of the list.
    """
    action = "purged" if certificate else "purge begun"
    changes = [Change(action, digest, certificate=certificate or None) for digest in digests]
    return commit_changes(con, key, changes)


@explain_faults()
def _apply(place: Location, settings: Settings, patients: Sequence[str], plan: Plan) -> Changed:
    for patient in patients:
        check_patient(patient)
    with waiting.open_writer(place, settings) as con:
        entries = {entry.digest: entry for entry in standing_list.read_entries(con)}
        key = open_key(con, place, {entry.key_check for entry in entries.values()})
        given = {key.digest_patient(patient): patient for patient in patients}
        changes = plan(entries, set(given))
        texts = {text for change in changes for text in (change.reason, change.allowed_by)}
        refuse_placeholders("The reason", *texts)
        refuse_names(con, place, texts)
        drop_read_copy(place)  # readers see the change from its commit on
        version = commit_changes(con, key, changes) if changes else _find_newest(con)
        there = key.find_patients(matching.list_names(con), set(given))
    ended = sum(change.action in ("returned", "opt-out ended", "permission ended") for change in changes)
    touched = {change.digest for change in changes}
    return Changed(
        version,
        len(changes) - ended,
        ended,
        len(given.keys() - touched),
        tuple(sorted(patient for digest, patient in given.items() if digest not in there.values())),
    )


def check_patient(patient: str) -> None:
    """Raise UsageError for a text that no key can have as a pseudonym."""
    refuse_placeholders("A patient", patient)
    if not patient.strip() or patient != patient.strip() or "/" in patient or not patient.isprintable():
        raise UsageError(f"{patient!r} is not a pseudonym: it is a part of a key, without / and spaces around it.")


def _refuse_names(patients: Iterable[str], text: str) -> None:
    words = set(text.replace(",", " ").replace(".", " ").replace(";", " ").split())
    if any(patient in words for patient in patients):
        raise UsageError("The reason names a patient. It is kept for good: write it without pseudonyms.")


def commit_changes(con: duckdb.DuckDBPyConnection, key: Key, changes: Sequence[Change]) -> int:
    """Commit a version of the list, with its entry in the log of access; returns the version."""
    import pyarrow as pa

    version = _find_newest(con) + 1
    same = {
        "version": version,
        "changed_at": datetime.now(UTC),
        "changed_by": store.get_author(),
        "key_check": key.check,
    }
    rows = [{**same, **asdict(change)} for change in changes]
    there = log.read_rows(con)
    made = log.chain_events(there[-1] if there else None, [recording.describe_change(con, there, rows)])
    con.register("changes_of_list", pa.Table.from_pylist(rows))

    def work() -> None:
        con.execute(sql_files.read_statements(_SQL)["insert"])
        log.insert_events(con, made)

    try:
        facts = {"withdrawals": version, "changes": len(changes)}
        store.transact(con, f"standing list {version}", work, access=log.describe_head(made), **facts)
    finally:
        con.unregister("changes_of_list")
    return version


def _find_newest(con: duckdb.DuckDBPyConnection) -> int:
    row = fetch_first(con.execute(sql_files.read_statements(_SQL)["newest"]))
    return int(row[0]) if row else 0
