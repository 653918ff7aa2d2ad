"""chest status, chest rejects, chest describe: the contents of a lake, its rejects, and the data dictionary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from warehouse.cli import options
from warehouse.cli.output import Format, format_count, format_size, print_note, write_json, write_rows
from warehouse.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

#: The note beside figures that were rounded without being asked to.
ROUNDED = "This lake enforces agreements: numbers of patients are rounded to {base}, and others to what hides as many."
#: The width that a meaning should get in a table, and the least width of a name.
_MEANING, _NAME = 38, 26
_GAP = 2  # between two columns


def add_to(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command()(status)
    app.command()(rejects)
    app.command()(describe)


def status(
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
    form: options.TableOrJson = Format.TABLE,
) -> None:
    """Show sources, the published snapshot, counts, rejects and the last refreshes.

    The inventory counts the whole lake; patients, studies, series and images follow --as-of and --group. Where the lake
    enforces agreements, numbers are rounded, so that no small one is disclosed.

    \b
    Example:
    $ chest status --as-of 2020-06-01 --format json
    """
    from warehouse.access.programme import summarise_access
    from warehouse.query.status import measure_status

    with options.open_session(lake, as_of, snapshot, group) as warehouse:
        found = measure_status(warehouse)
        found |= summarise_access(warehouse.location, warehouse.settings)
        if base := options.find_base(warehouse):
            from warehouse.query.rounded_status import round_status

            found = round_status(warehouse, found, base)
            print_note(ROUNDED.format(base=base))
    if form is Format.JSON:
        write_json(found)
    else:
        _show_status(found, lake)


def _show_status(found: dict[str, Any], lake: str) -> None:
    from warehouse.cli.terminal import create_console

    out = create_console(soft_wrap=True)
    _show_snapshot(out, found, lake)
    _show_counts(out, found)
    _show_refreshes(out, found["refreshes"])


def _show_snapshot(out: Console, found: dict[str, Any], lake: str) -> None:
    """Print the snapshot, the checks that block a newer one, and the sources."""
    from warehouse.lake.encryption import describe_keys
    from warehouse.lake.location import parse_address
    from warehouse.lake.snapshots import BLOCKED_ADVICE

    out.print(f"lake       {found['lake']}", markup=False)
    if found["encrypted"]:
        out.print(f"encrypted  {describe_keys(parse_address(lake))}", markup=False)
    out.print(f"snapshot   {found['snapshot']}, published {found['published_at']:%Y-%m-%d %H:%M} UTC")
    for row in found["blocked"]:
        out.print(
            f"BLOCKED    by {row['check']} since {row['at']:%Y-%m-%d %H:%M} UTC: {row['rows']:,} rows. {row['title']}.",
            style="bold red",
            markup=False,
        )
    if found["blocked"]:
        newest = found["newest_published"]
        out.print(
            f"           Readers keep snapshot {newest}. {BLOCKED_ADVICE.format(check=found['blocked'][0]['check'])}"
        )
    elif found["unpublished_commits"]:
        out.print(
            f"           {format_count(found['unpublished_commits'], 'commit')} unpublished: "
            "a refresh is running or was interrupted"
        )
    if line := found.get("access", {}).get("summary"):
        out.print(f"access     {line}", markup=False)
    if found["unfinished_purges"]:
        out.print("UNFINISHED a purge of withdrawn patients. Finish it:  chest withdraw --purge", style="bold red")
    for source in found["sources"]:
        out.print(
            f"source     {source['source']}  "
            f"({format_count(source['objects'], 'object')}"
            + (f", {format_size(source['bytes'])})" if source["bytes"] is not None else ")"),
            markup=False,
        )


def _show_counts(out: Console, found: dict[str, Any]) -> None:
    """Print the counts: all objects, what the session shows, rejects and tables."""
    day = next(iter(found["as_of"]), None)
    scope = f"group {found['group']}" + (f", as of {day}" if day else "")
    for title, names in (
        (
            "inventory of the whole snapshot",
            ("objects", "image_json", "clinical_json", "dcm", "other", "rejected"),
        ),
        (scope, ("patients", "studies", "series", "images")),
    ):
        out.print("")
        out.print(title, markup=False)
        for name in names:
            out.print(f"  {name:<14}{found[name]:>14,}")
        if found["withheld"] and "rejected" in names:
            out.print(f"  {'withheld':<14}{found['withheld']:>14,}  of withdrawn patients, not among the objects")
    for name, images in found["modality"].items():
        out.print(f"    {name:<12}{images:>14,}", markup=False)
    if found["reject_reasons"]:
        out.print("")
        out.print("rejects (chest rejects lists the objects)")
        for row in found["reject_reasons"]:
            out.print(f"  {row['objects']:>8,}  {row['reason']}", markup=False)
    out.print("")
    out.print("tables")
    for name, n_rows in found["tables"].items():
        out.print(f"  {name:<20}{n_rows:>8,}")


def _show_refreshes(out: Console, refreshes: list[dict[str, Any]]) -> None:
    out.print("")
    out.print("last refreshes")
    for row in refreshes:
        outcome = f"snapshot {row['snapshot']}" if row["published"] else "blocked by checks"
        out.print(
            f"  {row['finished_at']:%Y-%m-%d %H:%M}  {outcome}: +{row['added']:,} ~{row['changed']:,} "
            f"-{row['removed']:,} objects, {row['images']:,} images, {row['clinical']:,} clinical, "
            f"{row['rejected']:,} rejected",
            markup=False,
        )


def rejects(
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
    agreement: options.Agreement = "",
    form: options.Answer = None,
    output: options.Target = None,
) -> None:
    """List the objects that could not be read, and why. Their keys name patients: where the lake enforces agreements,
    it needs one of everything, and chest status counts them by reason.

    \b
    Example:
    $ chest rejects --format csv -o rejects.csv
    """
    from warehouse.query.origin import describe_origin

    with options.open_session(lake, as_of, snapshot, group, agreement=agreement, leaves=True) as warehouse:
        rows = warehouse.rejects()
        options.log_release(warehouse, rows=len(rows))
        write_rows(rows, form, output, origin=describe_origin(warehouse))


def describe(
    table: Annotated[str | None, typer.Argument(help="A view or table (images, raw.objects), or dicom.")] = None,
    word: Annotated[list[str] | None, typer.Argument(help="After dicom: a keyword, tag, VR or part of a name.")] = None,
    form: options.TableOrJson = Format.TABLE,
) -> None:
    """Show the data dictionary: tables and views, or the columns of one with type, unit, limits and meaning.

    \b
    Examples:
    $ chest describe images
    $ chest describe dicom exposure

    `dicom` searches the DICOM dictionary, whose keywords tag(header, keyword) takes. To list the attributes that a
    lake has, private ones included:
    chest sql "select tag, count(*) from (select unnest(json_keys(header)) as tag from headers) group by all"
    """
    import difflib

    from warehouse.catalog import columns
    from warehouse.docs import data_dictionary

    known = columns.load_relations()
    rows: list[dict[str, Any]]
    if word and table != "dicom":
        raise UsageError(f"Only the DICOM dictionary can be searched:  chest describe dicom {word[0]}")
    if table == "dicom":
        from warehouse.catalog.dicom_dictionary import search_attributes

        rows = [attribute._asdict() for attribute in search_attributes(" ".join(word or []))]
        if not rows:
            raise NotFoundError(f"The DICOM dictionary has no attribute that matches {' '.join(word or [])!r}.")
    elif table is None:
        rows = [
            {"name": r.name, "kind": r.kind, "columns": len(r.columns), "meaning": r.meaning} for r in known.values()
        ]
    elif table in known:
        list_columns = data_dictionary.list_rows if form is Format.JSON else data_dictionary.format_rows
        rows = [*list_columns(known[table])]
    else:
        near = difflib.get_close_matches(table, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(f"There is no table {table!r}.{hint} List them:  chest describe")
    if form is Format.JSON:
        write_json(rows)
    else:
        _show_rows(rows)


def _show_rows(rows: list[dict[str, Any]]) -> None:
    """Print a table whose first and last columns wrap on a narrow terminal."""
    from warehouse.cli.terminal import create_console, create_table

    out = create_console()
    rows_shown = create_table()
    first, *names, last = rows[0]
    width = {name: max(len(name), *(len(str(row[name])) for row in rows)) for name in rows[0]}
    room = out.width - sum(width[name] + _GAP for name in names)
    name_width = min(width[first], max(_NAME, room - _MEANING))
    rows_shown.add_column(first, overflow="fold", width=name_width)
    for name in names:
        rows_shown.add_column(name, no_wrap=True)
    rows_shown.add_column(last, overflow="fold", max_width=max(12, room - name_width - _GAP))
    for row in rows:
        rows_shown.add_row(*(str(value) for value in row.values()))
    out.print(rows_shown)
