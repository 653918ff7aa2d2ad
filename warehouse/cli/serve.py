"""chest serve, chest token: the warehouse as a service, and who may use it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from warehouse.cli import options
from warehouse.cli.output import print_line, print_note
from warehouse.errors import UsageError
from warehouse.masking import mask_secrets
from warehouse.text import escape_controls

token = typer.Typer(no_args_is_help=True, help="Who may use a service: add and remove the tokens of a token file.")


def add_to(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command()(serve)
    app.add_typer(token, name="token")


def serve(
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    group: options.Group = options.DEFAULT_GROUP,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; others than this machine's need tokens.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 for a free one.")] = 8042,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="Who may ask, with which rights (chest token add).")
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option("--name", metavar="HOST", help="A name under which the server is addressed.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option("--allow-origin", metavar="SITE", help="A site whose pages may read answers.")
    ] = None,
    proxy_header: Annotated[
        str, typer.Option("--proxy-header", help="Header in which a reverse proxy sends the name of who asks.")
    ] = "",
    proxy: Annotated[
        list[str] | None, typer.Option("--proxy", metavar="ADDRESS", help="Address of that proxy; this machine's else.")
    ] = None,
    agreement: options.Agreement = "",
    suppress: options.Suppress = options.DEFAULT_SUPPRESS,
    viewer: Annotated[
        Path | None, typer.Option("--viewer", metavar="FOLDER", help="Serve the OHIF viewer in this folder at /ohif/.")
    ] = None,
    is_warmed: options.Warm = True,
    log: Annotated[Path | None, typer.Option("--log", help="File for the log of requests; stderr by default.")] = None,
) -> None:
    """Serve the lake, read-only, to viewers (DICOMweb), programs (HTTP), people (a page) and assistants (MCP).

    It listens on this machine alone and prints an address with a token, which is valid until it ends. With --as-of
    nothing that came later is shown; any address may narrow that further: /asof/2020-06-01/…

    \b
    Examples:
    $ chest serve --lake ./lake
    $ chest serve --lake ./lake --as-of 2020-06-01 --host 0.0.0.0 --token-file tokens.json
    """
    from warehouse.query.days import parse_day
    from warehouse.service import server
    from warehouse.service.scope import Scope
    from warehouse.settings import load_settings

    base = Scope(as_of=parse_day(as_of) if as_of else None, group=group)
    given = server.Options(
        host=host,
        port=port,
        token_file=token_file,
        origins=tuple(allow_origin or ()),
        hosts=tuple(name or ()),
        proxy_header=proxy_header,
        proxies=tuple(proxy or ()),
        log=log,
        suppress=suppress,
        viewer=viewer,
        agreement=agreement,
        is_warmed=is_warmed,
    )

    def announce(address: str) -> None:
        sys.stdout.write(
            f"Serving {escape_controls(mask_secrets(lake))} at {address}\n"
        )  # its token is meant to be seen
        sys.stdout.flush()
        if viewer:
            print_note("The OHIF viewer is at /ohif/ of it.")
        print_note("Ctrl-C stops it.")

    server.serve(lake, load_settings(), base, given, announce, print_note)


@token.command()
def add(
    file: Annotated[Path, typer.Argument(help="The token file; made if it is missing.")],
    name: Annotated[
        str, typer.Argument(help="Whose it is, for the log; with --by-proxy the name that the proxy sends.")
    ],
    rights: Annotated[str, typer.Option("--rights", help="counts, rows (and counts) or pixels (and rows).")] = "rows",
    group: Annotated[list[str] | None, typer.Option("--group", help="A group that may be seen; training else.")] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="DAY", help="The last day on which it is valid.")
    ] = None,
    agreement: Annotated[
        str,
        typer.Option("--agreement", metavar="ID", help="The agreement under which it is given: nothing else is shown."),
    ] = "",
    by_proxy: Annotated[
        bool, typer.Option("--by-proxy", help="No token: a reverse proxy vouches for the name.")
    ] = False,
) -> None:
    """Add a token and print it: once, since the file has only its hash. A server that runs knows it at once.

    \b
    Example:
    $ chest token add tokens.json radiology --rights pixels --expires 2027-01-31
    """
    from warehouse.query.days import parse_day
    from warehouse.service.tokens import Caller, Rights, add_token

    if rights not in Rights.__members__:
        raise UsageError(f"--rights is {', '.join(Rights.__members__)}, not {rights!r}.")
    day = parse_day(expires) if expires else None
    caller = Caller(name, Rights[rights], tuple(group or ("training",)), day, agreement)
    made = add_token(file, caller, by_proxy=by_proxy)
    if made:
        print_line(made)
    print_note(f"{file}: {name} may see {rights} of {', '.join(group or ['training'])}.")


@token.command()
def remove(
    file: Annotated[Path, typer.Argument(help="The token file.")],
    name: Annotated[str, typer.Argument(help="Whose token.")],
) -> None:
    """Remove a token; a server that runs refuses it from the next request on.

    \b
    Example:
    $ chest token remove tokens.json radiology
    """
    from warehouse.service.tokens import remove_token

    remove_token(file, name)
    print_note(f"{file}: {name} was removed.")


@token.command(name="list")
def list_(file: Annotated[Path, typer.Argument(help="The token file.")]) -> None:
    """List who may ask, with which rights.

    \b
    Example:
    $ chest token list tokens.json
    """
    from warehouse.cli.terminal import create_console, create_table
    from warehouse.service.tokens import list_callers

    table = create_table()
    for head in ("name", "rights", "groups", "expires", "agreement", "recognised by"):
        table.add_column(head)
    for caller, kind in list_callers(file):
        groups, expires = ", ".join(caller.groups), str(caller.expires or "")
        table.add_row(caller.name, caller.rights.name, groups, expires, caller.agreement, kind)
    create_console().print(table)
