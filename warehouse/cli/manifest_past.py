"""chest manifest used-by and model: who holds a patient's data, and which models were trained on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from warehouse.cli import interruption, options
from warehouse.cli.output import Format, print_line, print_note, write_json
from warehouse.errors import UsageError

if TYPE_CHECKING:
    from warehouse.manifests.past import Holding


def used_by(
    wanted: Annotated[
        str, typer.Argument(metavar="PATIENT|OBJECT", help="A pseudonym, or the key of an object.", show_default=False)
    ] = "",
    withdrawn: Annotated[
        bool, typer.Option("--withdrawn", help="All manifests with a patient who has withdrawn or opted out.")
    ] = False,
    lake: options.Lake = options.DEFAULT_LAKE,
    form: options.TableOrJson = Format.TABLE,
) -> None:
    """List the registered manifests that have a patient: who holds them, under which agreement, and models of them.

    Manifests of a lake that their user may only read are not registered, and so are not listed. Where the lake enforces
    agreements, the log has who asked about a patient.

    \b
    Examples:
    $ chest manifest used-by Covid20
    $ chest manifest used-by --withdrawn
    """
    from dataclasses import asdict

    from warehouse.access.enforcement import log_question
    from warehouse.cli.access_options import find_place
    from warehouse.manifests.past import find_used_by

    if bool(wanted) == withdrawn:
        raise UsageError("Give a patient or an object, or --withdrawn.")
    if wanted:
        log_question(*find_place(lake), "chest manifest used-by", [wanted])
    found = find_used_by(lake, wanted)
    if form is Format.JSON:
        write_json({"is_withdrawn": found.is_withdrawn, "manifests": [asdict(one) for one in found.holdings]})
        return
    if found.is_withdrawn:
        print_line(f"{wanted} has withdrawn or opted out.")
    for one in found.holdings:
        print_line(_format_holding(one, is_marked=withdrawn or found.is_withdrawn))
    if not found.holdings:
        print_line("No registered manifest has them.")


def _format_holding(one: Holding, *, is_marked: bool) -> str:
    agreement = f", agreement {', '.join(one.agreements)}" if one.agreements else ""
    models = f", models: {', '.join(one.models)}" if one.models else ""
    state = (
        "" if not is_marked else f"WITHDRAWN {one.n_found:,} of {one.n_patients:,} patients  " if one.n_found else ""
    )
    if one.n_found is None:
        state = "NOT KNOWN (registered before patients were kept)  "
    return (
        f"{state}{one.created_at:%Y-%m-%d}  {one.created_by}{agreement}  {one.cohort}, snapshot {one.snapshot}  "
        f"{one.digest}{models}"
    )


def model(
    digest: Annotated[str, typer.Argument(help="Digest of a registered manifest, or the beginning of it.")],
    name: Annotated[str, typer.Argument(help="Name of the model, with its version or address.")],
    lake: options.Lake = options.DEFAULT_LAKE,
) -> None:
    """Register a model as trained from a manifest, so that it is known whose data are in it.

    \b
    Example:
    $ chest manifest model 5f2a90c1 covid-net-2.1
    """
    from warehouse.manifests.past import add_model

    interruption.mark_writing()
    print_note(f"Registered {name}, trained from {add_model(lake, digest, name)}.")
