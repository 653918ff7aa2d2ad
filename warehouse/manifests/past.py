"""Past manifests: who holds the data of a patient, which models were trained on them, and who has withdrawn since."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from warehouse.access import log, vocabulary
from warehouse.engine import sql_files
from warehouse.engine.faults import explain_faults
from warehouse.engine.placeholders import refuse_placeholders
from warehouse.engine.rows import fetch_dicts, fetch_first
from warehouse.errors import NotFoundError, UsageError
from warehouse.lake import connection, store, waiting
from warehouse.lake.location import Location, parse_address
from warehouse.manifests.contents import connect
from warehouse.manifests.files import abbreviate
from warehouse.object_store.keys import parse_key
from warehouse.settings import Settings, load_settings
from warehouse.withdrawal import standing_list
from warehouse.withdrawal.digests import open_key

if TYPE_CHECKING:
    import duckdb
    import polars as pl

    from warehouse.manifests.manifest import Manifest

_SQL = "manifests/past.sql"


@dataclass(frozen=True, slots=True)
class Holding:
    """A registered manifest: its holder, the agreements it was released under, how many of the patients asked for it
    has (None: not known, as it was registered before that was kept), and the models trained from it."""

    created_at: datetime
    created_by: str
    cohort: str
    digest: str
    seal: str | None
    snapshot: int
    n_patients: int
    n_found: int | None
    agreements: tuple[str, ...]
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UsedBy:
    """Who holds the data of patients: those asked for, or all who have withdrawn; and whether they have."""

    is_withdrawn: bool
    holdings: list[Holding]


def describe_patients(
    con: duckdb.DuckDBPyConnection, place: Location, manifest: Manifest, settings: Settings
) -> dict[str, Any]:
    """The patients of a manifest as they are kept: by keyed digest."""
    key = open_key(con, place)
    found = sorted(map(key.digest_patient, _list_patients(manifest, settings)))
    return {"manifest": manifest.digest, "seal": manifest.seal, "patients": found}


def insert_patients(con: duckdb.DuckDBPyConnection, values: dict[str, Any]) -> None:
    """Keep the patients of a manifest; within the transaction that registers it."""
    con.execute(_read("insert"), values)


@explain_faults()
def find_withdrawn(manifest: Manifest, lake_address: str, settings: Settings) -> tuple[str, ...]:
    """The patients of a manifest who have withdrawn or opted out, according to a lake; none without a lake."""
    place = parse_address(lake_address or settings.lake)
    if not store.exists(place):
        return ()
    with _open(place, settings) as con:
        digests, checks = standing_list.list_excluded(con)
        if not digests:
            return ()
        key = open_key(con, place, checks)
    return tuple(sorted(key.find_patients(_list_patients(manifest, settings), digests)))


def leave_out_withdrawn(
    manifest: Manifest,
    lake_address: str,
    settings: Settings,
    warn: Callable[[str], object],
) -> pl.DataFrame:
    """The rows of a manifest without those of patients who have withdrawn since; `warn` is called with who they are."""
    import polars as pl

    rows = manifest.polars()
    withdrawn = find_withdrawn(manifest, lake_address, settings)
    if not withdrawn:
        return rows
    warn(explain_withdrawn(withdrawn, "Their objects are left out."))
    return rows.filter(~pl.col("patient_id").is_in(list(withdrawn)))


def refuse_withdrawn(con: duckdb.DuckDBPyConnection, rows: str, patients: Sequence[str]) -> dict[str, str]:
    """The URIs of their objects in a manifest's rows, and why these are not fetched."""
    if not patients:
        return {}
    query = sql_files.fill(_read("of_withdrawn"), rows=rows)
    found = con.execute(query, {"patients": list(patients)}).fetchall()
    return {uri: "of a patient who has withdrawn" for (uri,) in found}


def explain_withdrawn(patients: Sequence[str], advice: str) -> str:
    """One line on patients who have withdrawn."""
    n = len(patients)
    return f"WITHDRAWN: {n:,} {'patient has' if n == 1 else 'patients have'} withdrawn or opted out since: " \
           f"{abbreviate(patients, 20)}. {advice}"  # fmt: skip


@explain_faults()
def find_used_by(lake_address: str, wanted: str = "", settings: Settings | None = None) -> UsedBy:
    """Who holds the data of a patient, or of the patient of an object's key; without either, of all who have withdrawn.

    NotFoundError for a key whose patient is not known.
    """
    settings = settings or load_settings()
    place = parse_address(lake_address or settings.lake)
    store.require(place)
    agreements = _find_agreements(place, settings)
    with _open(place, settings) as con:
        if not fetch_first(con.execute(_read("tables"))):
            return UsedBy(False, [])
        excluded, checks = standing_list.list_excluded(con)
        digests = [*excluded]
        if wanted:
            digests = [open_key(con, place, checks).digest_patient(_find_patient(con, wanted))]
        models: dict[str, list[str]] = defaultdict(list)
        for row in fetch_dicts(con.execute(_read("models"))):
            models[row["manifest"]].append(row["name"])
        rows = fetch_dicts(con.execute(_read("holding"), {"digests": digests}))
    holdings = [
        Holding(**row, agreements=tuple(agreements[row["digest"]]), models=tuple(models[row["digest"]]))
        for row in rows
        if row["n_found"] is None or row["n_found"]
    ]
    return UsedBy(bool(wanted) and digests[0] in excluded, holdings)


def add_model(lake_address: str, manifest: str, name: str, settings: Settings | None = None) -> str:
    """Register a model as trained from a registered manifest, by its digest or the beginning of it; returns the digest.

    UsageError without a name, or if the beginning fits several; NotFoundError if none is registered.
    """
    settings = settings or load_settings()
    place = parse_address(lake_address or settings.lake)
    if not name.strip():
        raise UsageError("The model has no name.")
    refuse_placeholders("The name of the model", name)
    with waiting.open_writer(place, settings) as con:
        known = [digest for (digest,) in con.execute(_read("registered")).fetchall()]
        start = manifest.removeprefix("sha256:")
        found = [digest for digest in known if start and digest.removeprefix("sha256:").startswith(start)]
        if not found:
            raise NotFoundError(
                f"No manifest with the digest {manifest} is registered. List them:  chest manifest list"
            )
        if len(found) > 1:
            raise UsageError(f"The digest {manifest} fits {len(found):,} manifests. Give more of it.")
        values = {"author": store.get_author(), "manifest": found[0], "name": name.strip()}
        work = _read("add_model")
        store.transact(con, f"model of {found[0]}", lambda: con.execute(work, values), manifest=found[0])
    return str(found[0])


def _find_patient(con: duckdb.DuckDBPyConnection, wanted: str) -> str:
    """The patient meant: a pseudonym as it is, of a key the patient in it."""
    if "/" not in wanted:
        return wanted
    row = fetch_first(con.execute(_read("owner"), {"key": wanted}))
    if found := (str(row[0]) if row else parse_key(wanted).patient_id):
        return found
    raise NotFoundError(f"The object {wanted} names no patient. Give its key below the bucket, or the pseudonym.")


def _find_agreements(place: Location, settings: Settings) -> defaultdict[str, list[str]]:
    """The agreements under which manifests were released, by the digest of the manifest."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for event in log.read_events(place, settings):
        if event.event == vocabulary.RELEASED:
            for value in event.body.values():
                if isinstance(value, str) and value.startswith("sha256:") and event.about not in found[value]:
                    found[value].append(event.about)
    return found


def _list_patients(manifest: Manifest, settings: Settings) -> list[str]:
    with contextlib.closing(connect(settings, manifest.contents)) as con:
        query = sql_files.fill(_read("patients"), rows=manifest.contents.rows)
        return [patient for (patient,) in con.execute(query).fetchall()]


@contextlib.contextmanager
def _open(place: Location, settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    with contextlib.closing(connection.connect(settings, place)) as con:
        connection.attach(con, place, "read_only")
        yield con


def _read(name: str) -> str:
    return sql_files.read_statements(_SQL)[name]
