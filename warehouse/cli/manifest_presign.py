"""chest manifest presign: addresses of a manifest's objects, for those who have no login of the bucket."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from warehouse.cli import interruption, options
from warehouse.cli.manifest_options import Bucket, Seal, open_checked
from warehouse.cli.output import print_line, print_note
from warehouse.errors import UsageError

if TYPE_CHECKING:
    from warehouse.access.agreements import Agreement
    from warehouse.manifests.manifest import Manifest

#: The forms of a file of addresses, by its extension, and how to fetch from each.
_FORMS = {
    ".csv": ("csv", "a column url"),
    ".aria2": ("aria2", "aria2c -i {file} -d DATA"),
    ".curl": ("curl", "curl --create-dirs --fail -K {file}, into a folder data"),
}


def presign(
    name: Annotated[
        str,
        typer.Argument(metavar="DIGEST|FOLDER", help="Folder of a manifest, or digest of a registered one."),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="File of the addresses: .csv, .aria2 (aria2c -i) or .curl (curl -K).")
    ],
    length: Annotated[
        str,
        typer.Option("--for", metavar="TIME", help="How long they are valid: 45m, 12h, 7d; max: while they may be."),
    ] = "1h",
    source: Bucket = None,
    seal: Seal = "",
    lake: options.Lake = options.DEFAULT_LAKE,
    agreement: options.Agreement = "",
) -> None:
    """Sign an address for each object of a manifest: whoever has it can read the object, without a login.

    No address outlives the agreement, the token of the credentials that sign it, or seven days. If that is before what
    --for asks for, nothing is signed: exit code 1. Keep the file as you keep the data. Only objects of sources that the
    lake has, or that --source names, are signed: a manifest of somebody else may name any object that you can read.

    \b
    Examples:
    $ chest manifest presign ./covid-2020-06 -o addresses.csv --for 12h
    $ chest manifest presign 4aea399f7ecf -o addresses.csv
    $ chest manifest presign ./covid-2020-06 -o addresses.aria2 && aria2c -i addresses.aria2 -d ./data
    """
    from warehouse.manifests import presigning

    if output.suffix not in _FORMS:
        raise UsageError(f"{output}: the extension is {', '.join(_FORMS)}.")
    form = _FORMS[output.suffix][0]
    asked = None if length == "max" else presigning.parse_length(length)
    interruption.mark_writing()
    with _open_manifest(name, seal, lake, agreement) as opened:
        _sign(opened, output, form, asked, source or (), lake, agreement)


@contextlib.contextmanager
def _open_manifest(name: str, seal: str, lake: str, agreement: str) -> Iterator[Manifest]:
    """Open a manifest in its folder; or make one that the lake's register has, by its digest."""
    from warehouse.manifests import remaking

    if not remaking.is_digest(name):
        yield open_checked(Path(name), seal)
        return
    from warehouse.filesystem import files

    entry = remaking.find_entry(lake, name)
    at = (None, entry["snapshot"], entry["group_name"])
    with (
        files.open_temporary_folder() as above,
        options.open_session(lake, *at, trusted=False, agreement=agreement, leaves=True) as session,
    ):
        yield remaking.remake_manifest(session, entry, above / "manifest")


def _sign(
    opened: Manifest,
    output: Path,
    form: str,
    asked: timedelta | None,
    given: Sequence[str],
    lake: str,
    agreement: str,
) -> None:
    """Write the addresses of a manifest's objects."""
    from warehouse.access.enforcement import find_end
    from warehouse.filesystem import files
    from warehouse.manifests import presigning
    from warehouse.manifests.past import leave_out_withdrawn
    from warehouse.manifests.permit import permit_manifest
    from warehouse.manifests.sources import resolve_sources
    from warehouse.settings import load_settings

    settings = load_settings()
    places = resolve_sources(opened, opened.sources, given, lake, settings)
    if not all(place.startswith("s3://") for place in places.values()):
        raise UsageError("Its objects are in a folder, and have no addresses. Use chest manifest download.")
    signer, now = presigning.Signer(), datetime.now(UTC)

    def find_ends(agreed: Agreement | None) -> presigning.End:
        latest = find_end(agreed) if agreed else None
        return presigning.compute_end(now, asked, agreement=latest, token=signer.token_end)

    found = permit_manifest(
        opened,
        lake,
        agreement,
        what=options.name_command(),
        settle=lambda agreed: {"to": str(output), "ends": presigning.format_moment(find_ends(agreed).at)},
    )
    end = find_ends(found)
    left = leave_out_withdrawn(opened, lake, settings, print_note)
    rows = left.select("uri", "key", "object", "size", "etag").iter_rows()
    with files.write_text_atomically(output) as file:
        for line in presigning.render_addresses(presigning.sign_rows(signer, rows, places, end.at), form, end.at):
            file.write(line)
    print_line(f"{output}: {left.height:,} addresses, valid until {presigning.format_moment(end.at)}")
    how = _FORMS[output.suffix][1].format(file=output)
    print_note(f"They end with {end.by}. To fetch:  {how}")
