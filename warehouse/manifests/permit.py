"""Whether the objects of a manifest may be taken now: checked again at every download, and before addresses are made.

A manifest that was exported under an agreement has its ID, and only what it covers; since then the agreement may have
ended. A manifest of before, or of somebody else, may have more than an agreement covers: its objects are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from warehouse.access import log, vocabulary
from warehouse.access.agreements import Agreement
from warehouse.access.coverage import Cover
from warehouse.access.enforcement import find_permit, log_refusal, log_release
from warehouse.access.switch import is_enforced
from warehouse.engine import sql_files
from warehouse.engine.faults import explain_faults
from warehouse.engine.rows import fetch_first
from warehouse.errors import AccessRefusedError, UsageError
from warehouse.lake import store
from warehouse.lake.location import parse_address
from warehouse.manifests.past import leave_out_withdrawn
from warehouse.manifests.registered import Standing, find_standing
from warehouse.query.session import ALL_GROUPS, Session, attach_as
from warehouse.settings import Settings, load_settings

if TYPE_CHECKING:
    from warehouse.manifests.manifest import Manifest


@explain_faults()
def permit_manifest(
    manifest: Manifest,
    lake_address: str = "",
    agreement: str = "",
    *,
    what: str,
    settle: Callable[[Agreement], Mapping[str, Any]] = lambda _: {},
    settings: Settings | None = None,
) -> Agreement | None:
    """Refuse to hand out the objects of a manifest unless its lake allows it; log it if it is under an agreement.

    `agreement` is by default the one that the manifest names. Returns it, or None where the lake enforces nothing and
    none is named. `settle` settles on what the log has about it, or refuses it. AccessRefusedError with the reason,
    which is logged; LakeError if it cannot be logged.
    """
    settings = settings or load_settings()
    place = parse_address(lake_address or settings.lake)
    name = agreement or str(manifest.about.get("agreement", ""))
    if not store.exists(place):
        if not name:
            return None
        raise AccessRefusedError(
            f"Whether agreement {name} is still in force can only be seen in its lake, and there is none at "
            f"{place.name}. Give --lake."
        )
    events = log.read_events(place, settings)
    if not events and not name:
        return None
    with attach_as(Session, lake_address or settings.lake, settings=settings) as session:
        found = find_permit(session.con, place, settings, name, leaves=True, what=what)
        if found is None:
            return None
        try:
            if not _was_released(events, found, manifest):
                _require_covered(session, Cover.of(found), manifest)
            settled = settle(found)
        except AccessRefusedError as error:
            log_refusal(place, settings, name, what, error)
            raise
        rows = leave_out_withdrawn(manifest, lake_address, settings, lambda _: None)
        patients = rows.get_column("patient_id").unique().to_list()
        counts = {kind: manifest.about["counts"][kind] for kind in ("objects", "images")}
        if rows.height < counts["objects"]:  # some have withdrawn: nothing of theirs is handed out
            counts = {"objects": rows.height}
        facts = {"digest": manifest.digest, "seal": manifest.seal, **counts, **settled}
        log_release(session.con, place, settings, name, what, patients, **facts)
        return found


@explain_faults()
def permit_question(manifest: Manifest, lake_address: str, settings: Settings) -> bool:
    """Whether what a manifest's question answers now may be shown; False where its lake enforces agreements.

    There only the question of a manifest that the register has may be asked again: another could be any question.
    AccessRefusedError, which is logged, for such a one.
    """
    place = parse_address(lake_address or settings.lake)
    if not store.exists(place) or not is_enforced(log.read_events(place, settings)):
        return True
    if find_standing(manifest, lake_address, settings) is not Standing.REGISTERED:
        what = "chest manifest reproduce"
        error = AccessRefusedError(
            f"{what}: this lake lets rows leave only under an agreement, and its register does not have the manifest "
            f"in {manifest.folder}, whose question could be any. Ask it yourself:  chest cohort run FILE.sql "
            "--agreement ID"
        )
        log_refusal(place, settings, "", what, error)
        raise error
    return False


def _was_released(events: Sequence[log.Event], agreement: Agreement, manifest: Manifest) -> bool:
    """Whether this very manifest was exported under the agreement."""
    return bool(manifest.seal) and any(
        event.event == vocabulary.RELEASED and event.about == agreement.id and event.body.get("seal") == manifest.seal
        for event in events
    )


def _require_covered(session: Session, cover: Cover, manifest: Manifest) -> None:
    """AccessRefusedError if a manifest has objects that an agreement does not cover."""
    about = manifest.about
    if cover.fields is not None and "clinical" in about["objects"]:
        raise AccessRefusedError(
            f"Agreement {cover.agreement} does not cover whole clinical files: it covers "
            f"{', '.join(cover.fields) or 'no field'}. Export the manifest without --objects clinical."
        )
    held = session.under(cover)
    held = held.as_of(about["as_of"]) if about["as_of"] else held
    rows = manifest.polars()
    for group in rows.get_column("group_name").unique().to_list():
        held.require_group(group)
    try:
        held = held.at_snapshot(about["snapshot"])
    except UsageError:
        held = held.fork()  # it is gone: what the newest shows
    with held:
        held.con.execute(f"set variable group_name = {sql_files.literal(ALL_GROUPS)}")
        held.con.register("manifest_objects", rows.select("uri", "object").to_arrow())
        found = fetch_first(held.con.execute(sql_files.read("access/uncovered.sql")))
    if number := int(found[0]) if found else 0:
        raise AccessRefusedError(
            f"Agreement {cover.agreement} does not cover {number:,} of the {about['counts']['objects']:,} objects of "
            f"the manifest in {manifest.folder}. Export it again under the agreement."
        )
