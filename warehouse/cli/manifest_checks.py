"""chest manifest verify, reproduce and compare: whether a manifest is still valid, and what differs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from warehouse.cli import options
from warehouse.cli.cohort_options import Tables, parse_tables
from warehouse.cli.manifest_options import Bucket, Folder, Seal, open_checked
from warehouse.cli.output import Format, print_line, print_note, write_json

if TYPE_CHECKING:
    from warehouse.manifests.compare import Difference
    from warehouse.manifests.manifest import Manifest
    from warehouse.manifests.past import Withdrawn
    from warehouse.manifests.registered import Standing
    from warehouse.manifests.verify import VerificationResult

#: The most differences listed; --format json has all of them.
_SHOWN = 20


def verify(
    folder: Folder,
    source: Bucket = None,
    seal: Seal = "",
    lake: options.Lake = options.DEFAULT_LAKE,
    form: options.TableOrJson = Format.TABLE,
    quiet: options.Quiet = False,
) -> None:
    """Compare a manifest with its bucket: objects present, missing, changed and superseded by newer ones.

    With a lake, also reports patients who are no longer in it and whether the lake exported the manifest. A bucket that
    the lake does not have is listed only with --source. Exit code 1 if anything differs.

    \b
    Example:
    $ chest manifest verify ./covid-2020-06 --source s3://chest-data-warehouse
    """
    from warehouse.cli.progress import show_progress
    from warehouse.cohorts.leaks import describe_leaks
    from warehouse.manifests import verify as verifying
    from warehouse.manifests.files import abbreviate

    opened = open_checked(folder, seal)
    with show_progress(quiet=quiet) as report:
        found = verifying.verify(opened, source=source or (), lake_address=verifying.find_lake(lake), progress=report)
    if form is Format.JSON:
        write_json(_verification_to_json(opened, found))
    else:
        print_line(f"{folder}: " + ", ".join(f"{count:,} {status}" for status, count in found.counts.items()))
        if found.by_size:
            print_note(
                f"{found.by_size:,} could be compared by size alone, because the etags are those of another bucket."
            )
        _show(found.problems.to_pylist(), "status")
    if found.patients_gone:
        print_note(
            f"No longer in the lake: {len(found.patients_gone):,} patients: {abbreviate(found.patients_gone, 20)}"
        )
    _note_withdrawn(found.withdrawn)
    if found.leaks:
        print_note(f"Its split leaks: {describe_leaks(found.leaks)}.")
    _note_standing(found.standing, folder, lake, is_known=bool(seal))
    if not found.holds:
        raise typer.Exit(1)


def _verification_to_json(opened: Manifest, found: VerificationResult) -> dict[str, Any]:
    return {
        "manifest": str(opened.folder),
        "digest": opened.digest,
        "seal": opened.seal or None,
        "holds": found.holds,
        "register": found.standing,
        **found.counts,
        "by_size": found.by_size,
        "patients_gone": found.patients_gone,
        **_withdrawn_to_json(found.withdrawn),
        "leaks": [dataclasses.asdict(leak) for leak in found.leaks],
        "problems": found.problems.to_pylist(),
    }


def _withdrawn_to_json(withdrawn: Withdrawn) -> dict[str, Any]:
    return {"withdrawn": withdrawn.patients, "withdrawn_objects": len(withdrawn.uris)}


def _note_withdrawn(withdrawn: Withdrawn) -> None:
    """Note who has withdrawn, and what follows from it."""
    from warehouse.manifests.past import explain_withdrawn

    if withdrawn.uris:
        print_note(explain_withdrawn(withdrawn, "The lake leaves them out: delete your copies of their data."))


def _note_standing(standing: Standing | None, folder: Path, lake: str, *, is_known: bool) -> None:
    """Note how the lake's register knows a manifest, unless it has this very manifest or the reader gave its seal."""
    from warehouse.lake import location
    from warehouse.manifests.registered import Standing

    name = location.parse_address(lake).name
    if standing is Standing.OTHER_ROWS:
        print_note(
            f"The lake {name} exported this content with other paths or etags: {folder} was recreated or altered."
        )
    elif standing is Standing.SAME_ROWS and not is_known:
        print_note(
            f"The lake {name} exported the same rows in another manifest: anything but the rows may have been altered."
        )
    elif standing is Standing.UNKNOWN and not is_known:
        print_note(
            f"This manifest is not in the register of the lake {name}, so its origin is unknown. "
            "Compare its seal with the one that the sender's export printed:  --seal sha256:…"
        )


def reproduce(
    folder: Folder,
    table: Tables = None,
    seal: Seal = "",
    lake: options.Lake = options.DEFAULT_LAKE,
    newest: Annotated[bool, typer.Option("--newest", help="Use the newest snapshot, of any lake.")] = False,
    form: options.TableOrJson = Format.TABLE,
) -> None:
    """Run a manifest's cohort again, at its snapshot and as-of date: the digest must be the same.

    A manifest made with your own tables needs them again (--table), unless it has a copy of them. Where the lake
    enforces agreements, it is one that the lake's register has, and only whether the answer is the same is shown.
    Exit code 1 if it differs, if the snapshot no longer exists, or if a patient is no longer in the warehouse.

    \b
    Example:
    $ chest manifest reproduce ./covid-2020-06
    """
    from warehouse import settings
    from warehouse.engine import limits
    from warehouse.manifests.files import abbreviate
    from warehouse.manifests.reproduce import reproduce as reproduce_manifest

    opened = open_checked(folder, seal)
    with limits.limit_resources(settings.load_settings()):
        found = reproduce_manifest(opened, lake, newest=newest, tables=parse_tables(table))
    if form is Format.JSON:
        write_json(
            {
                "manifest": str(folder),
                "digest": opened.digest,
                "repeated_digest": found.digest or None,
                "is_same_digest": found.difference.is_same,
                "is_same_csv": found.is_same_csv,
                "patients_gone": found.patients_gone,
                **_withdrawn_to_json(found.withdrawn),
                "differences": found.difference.objects.to_pylist(),
            }
        )
    else:
        csv = "the CSV is identical" if found.is_same_csv else "the CSV differs (etags or paths)"
        if found.difference.is_same:
            print_line(f"{folder}: the same digest, {csv}")
        else:
            print_line(", ".join(filter(None, (f"{folder}: a different answer", found.digest))))
            _show_difference(found.difference)
    if found.patients_gone:
        print_note(
            f"No longer in the lake: {len(found.patients_gone):,} patients: {abbreviate(found.patients_gone, 20)}"
        )
    _note_withdrawn(found.withdrawn)
    if not found.holds or not (found.is_same_csv or newest):
        raise typer.Exit(1)


def compare(
    old: Annotated[Path, typer.Argument(metavar="DIR1", help="Folder of a manifest.")],
    new: Annotated[Path, typer.Argument(metavar="DIR2", help="Folder of the other manifest.")],
    form: options.TableOrJson = Format.TABLE,
) -> None:
    """Compare two manifests: what was asked, and which objects were added, removed or changed.

    Exit code 1 if their contents or etags differ.

    \b
    Example:
    $ chest manifest compare ./covid-2020-06 ./covid-2020-07
    """
    from warehouse.manifests.compare import compare_manifests

    found = compare_manifests(open_checked(old), open_checked(new))
    if form is Format.JSON:
        write_json(
            {
                "is_same": found.is_same,
                "asked": found.asked,
                **found.counts,
                "differences": found.objects.to_pylist(),
            }
        )
    else:
        same = "The same content." if found.is_unchanged else "The same digest, different etags."
        print_line(same if found.is_same else "Different content.")
        _show_difference(found)
    if not found.is_unchanged:
        raise typer.Exit(1)


def _show_difference(found: Difference) -> None:
    for words, (before, after) in found.asked.items():
        print_line(f"  {words}: {before} is now {after}")
    if found.counts:
        print_line("  " + ", ".join(f"{count:,} {change}" for change, count in found.counts.items()))
    _show(found.objects.to_pylist(), "change")


def _show(rows: list[dict[str, Any]], what: str) -> None:
    for row in rows[:_SHOWN]:
        print_line(f"  {row[what]:<11} {row['key']}  {row['detail'] or ''}".rstrip())
    if len(rows) > _SHOWN:
        print_note(f"{len(rows) - _SHOWN:,} more: --format json lists all of them.")
