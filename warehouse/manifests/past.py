"""Past manifests: who holds the data of a patient, which models were trained on them, and who has withdrawn since."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from warehouse.access import log, vocabulary
from warehouse.access.naming import mask_names
from warehouse.access.switch import is_enforced
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
from warehouse.withdrawal import removal, standing_list
from warehouse.withdrawal.digests import open_key

if TYPE_CHECKING:
    import duckdb
    import polars as pl

    from warehouse.manifests.manifest import Manifest
    from warehouse.withdrawal.digests import Key

_SQL = "manifests/past.sql"
_BATCH = 50_000


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


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Who of a manifest has withdrawn or opted out, as far as it names them, and the URIs of their objects; `n_strays`
    of these are filed under another patient, and name the one who has withdrawn by their content alone."""

    patients: tuple[str, ...] = ()
    uris: frozenset[str] = frozenset()
    n_strays: int = 0


def describe_patients(
    con: duckdb.DuckDBPyConnection, place: Location, manifest: Manifest, settings: Settings
) -> dict[str, Any]:
    """The patients of a manifest as they are kept: by keyed digest. Those too whom only an object's content names."""
    key = open_key(con, place)
    with contextlib.closing(connect(settings, manifest.contents)) as own:
        rows = manifest.contents.rows
        names = {name for (name,) in own.execute(sql_files.fill(_read("patients"), rows=rows)).fetchall()}
        between = {"first_patient": min(names, default=None), "last_patient": max(names, default=None)}
        strays = con.execute(_read("strays"), between).to_arrow_table()
        if strays.num_rows:
            own.register("strays", strays)
            names |= {name for (name,) in own.execute(sql_files.fill(_read("among"), rows=rows)).fetchall()}
    found = sorted(map(key.digest_patient, names))
    return {"manifest": manifest.digest, "seal": manifest.seal, "patients": found}


def insert_patients(con: duckdb.DuckDBPyConnection, values: dict[str, Any]) -> None:
    """Keep the patients of a manifest; within the transaction that registers it."""
    con.execute(_read("insert"), values)


@explain_faults()
def find_withdrawn(manifest: Manifest, lake_address: str, settings: Settings) -> Withdrawn:
    """What a manifest has of patients who have withdrawn or opted out, according to a lake; nothing without a lake.

    Its rows may be somebody else's: keys count as well as the patients that they state, and what the lake knows of the
    content of an object.
    """
    place = parse_address(lake_address or settings.lake)
    if not store.exists(place):
        return Withdrawn()
    with _open(place, settings) as con:
        digests, checks = standing_list.list_excluded(con)
        if not digests:
            return Withdrawn()
        key = open_key(con, place, checks)
        objects = removal.find_strays(con, key, digests)
    with contextlib.closing(connect(settings, manifest.contents)) as con:
        rows = manifest.contents.rows
        texts = (text for (text,) in con.execute(sql_files.fill(_read("named"), rows=rows)).fetchall())
        patients = sorted(key.find_patients(texts, digests))
        query = sql_files.fill(_read("of_withdrawn"), rows=rows)
        uris = {uri for (uri,) in con.execute(query, {"patients": patients}).fetchall()}
        strays = _find_strays(con, rows, key, objects) - uris if objects else set()
    return Withdrawn(tuple(patients), frozenset(uris | strays), len(strays))


def _find_strays(con: duckdb.DuckDBPyConnection, rows: str, key: Key, objects: set[str]) -> set[str]:
    """The URIs of the rows whose object has one of these digests."""
    con.execute(sql_files.fill(_read("places"), rows=rows))
    found = set()
    while batch := con.fetchmany(_BATCH):
        found |= {uri for uri, name in batch if key.digest_object(uri.removesuffix(f"/{name}"), name) in objects}
    return found


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
    if not withdrawn.uris:
        return rows
    warn(explain_withdrawn(withdrawn, "Their objects are left out."))
    return rows.filter(~pl.col("uri").is_in([*withdrawn.uris]))


def explain_withdrawn(withdrawn: Withdrawn, advice: str) -> str:
    """One line on patients who have withdrawn."""
    n, n_strays, parts = len(withdrawn.patients), withdrawn.n_strays, []
    if n:
        parts.append(
            f"{n:,} {'patient has' if n == 1 else 'patients have'} withdrawn or opted out since: "
            f"{abbreviate(withdrawn.patients, 20)}."
        )
    if n_strays:
        parts.append(
            f"{n_strays:,} {'object' if n_strays == 1 else 'objects'} filed under another patient "
            f"{'is' if n_strays == 1 else 'are'} of one who has withdrawn or opted out."
        )
    return f"WITHDRAWN: {' '.join(parts)} {advice}"


@explain_faults()
def find_used_by(lake_address: str, wanted: str = "", settings: Settings | None = None) -> UsedBy:
    """Who holds the data of a patient, or of the patient of an object's key; without either, of all who have withdrawn.

    NotFoundError for a key whose patient is not known.
    """
    settings = settings or load_settings()
    place = parse_address(lake_address or settings.lake)
    store.require(place)
    events = log.read_events(place, settings)
    agreements = _find_agreements(events)
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
        if is_enforced(events):
            rows = [row | mask_names(con, place, {"cohort": row["cohort"]}) for row in rows]
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


def _find_agreements(events: Sequence[log.Event]) -> defaultdict[str, list[str]]:
    """The agreements under which manifests were released, by the digest of the manifest."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for event in events:
        if event.event == vocabulary.RELEASED:
            for value in event.body.values():
                if isinstance(value, str) and value.startswith("sha256:") and event.about not in found[value]:
                    found[value].append(event.about)
    return found


@contextlib.contextmanager
def _open(place: Location, settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    with contextlib.closing(connection.connect(settings, place)) as con:
        connection.attach(con, place, "read_only")
        yield con


def _read(name: str) -> str:
    return sql_files.read_statements(_SQL)[name]
