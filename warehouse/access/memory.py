"""What was released under each agreement: sets of patients in digest form, which new answers are compared with.

Rounding protects one number. Two numbers of sets that differ by a few patients disclose them by subtraction, whatever
lies between the two questions: a day, a parameter, a withdrawal. So the sets are kept in the lake, under the agreement,
and a new count is refused if its patients differ from those of an earlier answer, on one side or both, by fewer than
the base. Sets are of persons: a patient with ten images is one.

Rows that leave name their patients by pseudonyms, so that rows are not compared with rows: nothing is learnt from
their difference that they do not show. They are compared with counts, and counts with them.

A refusal discloses one bit. After some of them an agreement gets no new counts without two reviewers (the airlock),
whose release is remembered, but not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from warehouse.access.patient_sets import (
    DifferenceError,
    adds_up_to_nearly,
    differ_by_few,
    digest_patients,
    digest_set,
    to_array,
)
from warehouse.engine import sql_files
from warehouse.engine.faults import explain_faults
from warehouse.engine.placeholders import refuse_placeholders
from warehouse.engine.rows import fetch_dicts, fetch_first
from warehouse.errors import LakeError
from warehouse.lake import secret, store, waiting
from warehouse.settings import SUPPRESS

if TYPE_CHECKING:
    import duckdb

    from warehouse.access.patient_sets import Digests
    from warehouse.lake.location import Location
    from warehouse.settings import Settings

COUNTS, ROWS, REFUSED = "counts", "rows", "refused"
#: The name of the patients of an answer itself, beside those of its parts.
ANSWER = ""
#: Refusals of an agreement after which new counts need two reviewers.
MOST_REFUSALS = 5

_SQL = "access/releases.sql"
_CHECK = "releases"


@dataclass(frozen=True, slots=True)
class Released:
    """An answer that is to leave: the patients of each of its parts (`counted`), and whether it is counts or rows.

    A part is names of patients, or a set that `digest_names` made of them.
    """

    agreement: str
    counted: Mapping[str, Collection[str] | Digests]
    kind: str = COUNTS
    snapshot: int | None = None
    is_reviewed: bool = False


@explain_faults()
def admit(
    place: Location,
    settings: Settings,
    agreement: str,
    name: str,
    patients: Collection[str],
    base: int,
    *,
    kind: str = COUNTS,
    snapshot: int | None = None,
) -> str:
    """Remember that a set of patients is released under an agreement; returns the digest of the set.

    DifferenceError if it must not be, which is remembered too. LakeError if the lake cannot be written: then the
    answer must not leave, since it would be forgotten.
    """
    released = Released(agreement, {name: patients}, kind, snapshot)
    with waiting.open_writer(place, settings) as con:
        try:
            found = store.transact(
                con,
                f"release under {agreement}",
                lambda: admit_within(con, place, released, base),
                released=agreement,
            )
        except DifferenceError:
            store.transact(
                con, f"refusal under {agreement}", lambda: refuse_within(con, place, released), released=agreement
            )
            raise
    return found[name]


def admit_within(con: duckdb.DuckDBPyConnection, place: Location, released: Released, base: int) -> dict[str, str]:
    """Do the same on a writer within its transaction, for an answer with several parts; returns the digest of each.

    DifferenceError if one of them must not be released; then roll back, and call `refuse_within` in another
    transaction. A base below 5 counts as 5, since exact counts need it more than rounded ones.
    """
    key = _read_key(con, place, released.agreement)
    digests = {}
    for name, patients in released.counted.items():
        found = _digest(key, patients)
        digests[name] = digest_set(found).hex()
        known = _list_known(con, released.agreement, name)
        # Whoever has the rows can count them; whoever has the count has not seen the rows.
        if any(digest == digests[name] and kind in (ROWS, released.kind) for digest, kind, _ in known):
            continue
        if not released.is_reviewed:
            _compare(con, released, found, known, max(base, SUPPRESS))
        _insert(con, key, released, name=name, kind=released.kind, digest=digests[name], patients=found.tolist())
    return digests


def digest_names(con: duckdb.DuckDBPyConnection, place: Location, patients: Collection[str]) -> Digests:
    """The set of patients in the digest form of this lake; LakeError without its secret."""
    return digest_patients(_read_key(con, place, ""), patients)


def find_difference(con: duckdb.DuckDBPyConnection, place: Location, released: Released, base: int) -> str:
    """Why an answer would be refused, "" if it would not; nothing is remembered."""
    key = _read_key(con, place, released.agreement)
    try:
        for name, patients in released.counted.items():
            known = _list_known(con, released.agreement, name)
            _compare(con, released, _digest(key, patients), known, max(base, SUPPRESS))
    except DifferenceError as error:
        return str(error)
    return ""


def plan_refusal(place: Location, agreement: str) -> Callable[[duckdb.DuckDBPyConnection], None]:
    """What remembers, on a writer within its transaction, that an answer was refused."""
    return lambda con: refuse_within(con, place, Released(agreement, {}))


def refuse_within(con: duckdb.DuckDBPyConnection, place: Location, released: Released) -> None:
    """Remember, on a writer within its transaction, that an answer was refused."""
    key = _read_key(con, place, released.agreement)
    _insert(con, key, released, name=ANSWER, kind=REFUSED, digest=None, patients=None)


def list_releases(con: duckdb.DuckDBPyConnection, agreement: str) -> list[dict[str, Any]]:
    """List what was released under an agreement, oldest first: when, what, of how many patients."""
    return fetch_dicts(con.execute(sql_files.read_statements(_SQL)["list"], {"agreement": agreement}))


def _digest(key: bytes, patients: Collection[str] | Digests) -> Digests:
    import numpy as np

    return patients if isinstance(patients, np.ndarray) else digest_patients(key, patients)


def _compare(
    con: duckdb.DuckDBPyConnection, released: Released, found: Digests, known: list[tuple[str, str, Digests]], base: int
) -> None:
    row = fetch_first(con.execute(sql_files.read_statements(_SQL)["refusals"], {"agreement": released.agreement}))
    advice = "Ask for sets that differ by more, or have it reviewed:  chest airlock request"
    if row and row[0] >= MOST_REFUSALS and released.kind == COUNTS:
        raise DifferenceError(
            f"No new counts are released under agreement {released.agreement}: {MOST_REFUSALS} were refused since they "
            "differed by too few patients. Have this one reviewed:  chest airlock request"
        )
    for _, kind, earlier in known:
        if COUNTS in (kind, released.kind) and differ_by_few(found, earlier, base):
            raise DifferenceError(
                f"This answer is refused under agreement {released.agreement}: it differs from an earlier one by fewer "
                f"than {base} patients, who could be disclosed by the difference. {advice}"
            )
    counts = [earlier for _, kind, earlier in known if COUNTS in (kind, released.kind)]
    if adds_up_to_nearly(found, counts, base):
        raise DifferenceError(
            f"This answer is refused under agreement {released.agreement}: it and two earlier ones add up, but for "
            f"fewer than {base} patients, who could be disclosed by the difference. {advice}"
        )


def _list_known(con: duckdb.DuckDBPyConnection, agreement: str, name: str) -> list[tuple[str, str, Digests]]:
    query = sql_files.read_statements(_SQL)["known"]
    found = con.execute(query, {"agreement": agreement, "name": name}).to_arrow_table()
    return [
        (digest, kind, to_array(patients.values.to_numpy()))
        for digest, kind, patients in zip(
            found["digest"].to_pylist(), found["kind"].to_pylist(), found["patients"], strict=True
        )
    ]


def _read_key(con: duckdb.DuckDBPyConnection, place: Location, agreement: str) -> bytes:
    """Read the secret of the lake; LakeError if the digests of this agreement were made with another one."""
    key = secret.read_secret(con, place)
    checks = con.execute(sql_files.read_statements(_SQL)["key checks"], {"agreement": agreement}).fetchall()
    if key is None or any(check != secret.compute_digest(key, _CHECK) for (check,) in checks):
        raise LakeError(
            f"The secret of {place.name} cannot be read, or is not the one that its memory of {agreement} was "
            f"made with, so nothing can be compared. Restore {secret.KEY} from a backup."
        )
    return key


def _insert(con: duckdb.DuckDBPyConnection, key: bytes, released: Released, **values: object) -> None:
    same = {
        "agreement": released.agreement,
        "snapshot": released.snapshot,
        "reviewed": released.is_reviewed,
        "released_at": datetime.now(UTC),
        "key_check": secret.compute_digest(key, _CHECK),
    }
    refuse_placeholders("The name of what is released", *values.values())
    con.execute(sql_files.read_statements(_SQL)["insert"], {**same, **values})
