"""chest access policy: what lets the holder of an agreement read its buckets on AWS, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from warehouse.cli import options
from warehouse.cli.output import print_note, write_json
from warehouse.errors import AccessRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import duckdb

    from warehouse.access.agreements import Agreement
    from warehouse.access.coverage import Cover

_PRESIGN = "Export a manifest under the agreement, and make addresses of it:  chest manifest presign FOLDER -o FILE"


def policy(
    name: Annotated[str, typer.Argument(metavar="ID", help="The agreement (chest access list).")],
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", help="Only the patients of this manifest: a prefix for each, instead of groups."),
    ] = None,
    principal: Annotated[
        str, typer.Option("--principal", metavar="ARN", help="Write the policy of a bucket, for this user or role.")
    ] = "",
    deny_others: Annotated[
        bool, typer.Option("--deny-others", help="Also deny the other groups, whatever else the user is allowed.")
    ] = False,
    grantee: Annotated[
        str, typer.Option("--grantee", metavar="ARN", help="Where a policy is too long: grants to this user or role.")
    ] = "",
    lake: options.Lake = options.DEFAULT_LAKE,
) -> None:
    """Write the AWS policy of an agreement: it lists and reads what the agreement covers, until its end.

    A policy knows buckets and prefixes of keys. Where an agreement is limited to modalities, centres or fields, or a
    manifest has too many patients for a policy, the command states what does it instead: presigned addresses, or with
    --grantee grants of S3 Access Grants. Exit code 1 if no policy can do it.

    \b
    Examples:
    $ chest access policy 2026-0001 > policy.json
    $ chest access policy 2026-0001 --manifest ./covid-2020-06 --principal arn:aws:iam::111122223333:role/reader
    """
    from warehouse.access import policy as policies
    from warehouse.access.coverage import Cover
    from warehouse.access.enforcement import find_end, find_permit
    from warehouse.query.session import Session, attach_as

    with attach_as(Session, lake) as session:
        found = find_permit(
            session.con, session.location, session.settings, name, leaves=True, what="chest access policy"
        )
        assert found
        cover = Cover.of(found)
        _require_prefixes(cover)
        sources = _list_sources(session.con)
    prefixes = _list_prefixes(manifest, found, cover, sources, lake)
    period = policies.Period(datetime.combine(found.starts, time(), UTC), find_end(found))
    made = policies.build_policy(prefixes, period, principal=principal, denies_others=deny_others)
    size, number = policies.measure(made), sum(map(len, prefixes.values()))
    until = f"until {policies.format_time(period.ends)}"
    if places := policies.find_places(size, is_of_bucket=bool(principal)):
        write_json(made)
        print_note(f"{number:,} prefixes, {until}. {size:,} characters: it fits {', or '.join(places)}.")
        return
    longest = policies.find_longest(is_of_bucket=bool(principal))
    _write_grants(
        prefixes, period, grantee, f"A policy of {number:,} prefixes has {size:,} characters, and AWS takes {longest:,}"
    )


def _list_sources(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The sources of a lake, each with the layout of its keys."""
    import duckdb

    from warehouse.engine import sql_files
    from warehouse.object_store.layouts import STANDARD

    found = {source: STANDARD for (source,) in con.execute(sql_files.read("access/sources.sql")).fetchall()}
    try:
        return found | dict(con.execute(sql_files.read("access/source_layouts.sql")).fetchall())
    except duckdb.CatalogException:  # a lake of before there were others
        return found


def _require_standard(sources: Mapping[str, str], needed: Iterable[str]) -> None:
    """AccessRefusedError unless the keys of all sources begin with group and patient, as prefixes have them."""
    from warehouse.object_store.layouts import Layout

    for source in sorted(needed):
        if source not in sources:
            raise AccessRefusedError(f"No policy is made for {source}, which the lake does not have. {_PRESIGN}")
        if not Layout(sources[source]).is_standard:
            raise AccessRefusedError(
                f"No policy can be made for {source}: its keys are laid out by {sources[source]!r}, so that a prefix "
                f"may have other groups and patients too. {_PRESIGN}"
            )


def _require_prefixes(cover: Cover) -> None:
    """AccessRefusedError unless prefixes of keys can express what an agreement covers."""
    limited = {"modalities": cover.modalities, "centres": cover.centres, "fields": cover.fields}
    if kinds := [kind for kind, names in limited.items() if names is not None]:
        raise AccessRefusedError(
            f"No policy can express agreement {cover.agreement}: it is limited to {' and '.join(kinds)}, which are not "
            f"in the prefixes of keys. {_PRESIGN}"
        )


def _list_prefixes(
    manifest: Path | None, agreement: Agreement, cover: Cover, sources: Mapping[str, str], lake: str
) -> dict[str, list[str]]:
    from warehouse.access import policy as policies

    if manifest is None:
        if cover.groups is not None:
            _require_standard(sources, sources)
        return policies.list_group_prefixes(sources, cover.groups)
    from warehouse.cli.manifest_options import open_checked
    from warehouse.manifests.past import leave_out_withdrawn
    from warehouse.manifests.permit import permit_manifest
    from warehouse.settings import load_settings

    opened = open_checked(manifest)
    _require_standard(sources, opened.sources)
    permit_manifest(opened, lake, agreement.id, what="chest access policy")
    left = leave_out_withdrawn(opened, lake, load_settings(), print_note)
    rows = left.select("uri", "key").unique().iter_rows()
    return policies.list_patient_prefixes((uri.removesuffix(f"/{key}"), key) for uri, key in rows)


def _write_grants(prefixes: Mapping[str, Sequence[str]], period: Any, grantee: str, why: str) -> None:
    """Write grants, if a grantee is named; else state what does it instead of a policy."""
    from warehouse.access import policy as policies

    number = sum(map(len, prefixes.values()))
    if not grantee or number > policies.MOST_GRANTS:
        raise AccessRefusedError(
            f"{why}. Give --grantee ARN for S3 Access Grants (a grant for each prefix, up to "
            f"{policies.MOST_GRANTS:,}), or: {_PRESIGN}"
        )
    role = policies.build_policy({bucket: [""] for bucket in prefixes}, period)
    write_json({"location_role_policy": role, "grants": policies.list_grants(prefixes, grantee)})
    print_note(f"{why}: these are {number:,} grants of S3 Access Grants (aws s3control create-access-grant).")
    print_note("A grant has no end: the policy of the location's role has it. Delete the grants when it has come.")
