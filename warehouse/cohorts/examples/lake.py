"""Puts the rows of an example into an empty lake, which is made once, so that the real views read them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.catalog import columns
from warehouse.cohorts.examples.parsing import Example, ExampleTable
from warehouse.engine import sql_files
from warehouse.engine.names import suggest_nearest
from warehouse.errors import UsageError
from warehouse.filesystem import files
from warehouse.lake import store
from warehouse.lake.location import parse_address
from warehouse.settings import load_settings

if TYPE_CHECKING:
    from warehouse.query.session import Session

_TABLES = {"images": "core.images", "clinical": "core.clinical"}
#: What a row has where the example has no column or a blank cell. `{n}` is its number; `{image}` its SOPInstanceUID.
_DEFAULTS = {
    "images": {
        "SOPInstanceUID": "image{n}",
        "StudyInstanceUID": "study-{image}",
        "SeriesInstanceUID": "series-{image}",
        "Modality": "CR",
        "ViewPosition": "AP",
        "BodyPartExamined": "CHEST",
    },
    "clinical": {"kind": "data", "available_date": "2021-01-01"},
}
_ALWAYS = {"source": "example", "etag": "{n}", "size": "1", "group_name": "training", "last_modified": "2021-01-01"}


@contextlib.contextmanager
def open_example(example: Example, path: str) -> Iterator[Session]:
    """Open a session on a lake with the rows of an example, and nothing else."""
    from warehouse.query.session import Session, attach_as

    settings = replace(load_settings(), encrypted=0)  # the rows are nobody's, and their lake goes with the process
    address = str(_find_place())
    with store.open_writer(parse_address(address), settings) as con:
        store.transact(con, "example", lambda: _fill_tables(con, example, path))
    with attach_as(Session, address, unpublished=True, settings=settings, trusted=False) as opened:
        yield opened


@cache
def _find_place() -> Path:
    """Where the lake of this process is, in a temporary folder that is removed when the process ends.

    The first writer makes it, with the rows of its example: to open it once more would take as long as an example.
    """
    return Path(files.make_temporary_folder()) / "lake"


def _fill_tables(con: Any, example: Example, path: str) -> None:
    for name in _TABLES:
        _fill(con, name, example.views.get(name), path)


def _fill(con: Any, name: str, table: ExampleTable | None, path: str) -> None:
    import duckdb
    import pyarrow as pa

    target = _TABLES[name]
    con.execute(f"delete from {target}")
    if table is None or not table.rows:
        return
    known = {column.name: column.type for column in next(t for t in columns.list_tables() if t.name == target).columns}
    for column in table.columns:
        if column not in known:
            raise UsageError(f"{path}:{table.line + 1}: {name} has no column {column}.{suggest_nearest(column, known)}")
    rows = [_complete(name, table.columns, cells, number) for number, cells in table.rows]
    names = list(dict.fromkeys(column for row in rows for column in row if column in known))
    given = pa.table({column: pa.array([row.get(column) for row in rows], pa.string()) for column in names})
    casts = ", ".join(
        f"cast({sql_files.identifier(column)} as {known[column]}) as {sql_files.identifier(column)}" for column in names
    )
    con.register("example_rows", given)
    try:
        con.execute(f"insert into {target} by name select {casts} from example_rows")
    except duckdb.Error as error:
        words = str(error).split("\n", maxsplit=1)[0]
        raise UsageError(f"{path}:{table.line}: The rows of {name} cannot be used. {words}") from None
    finally:
        con.unregister("example_rows")


def _complete(name: str, names: list[str], cells: list[str | None], number: int) -> dict[str, str | None]:
    """A row with its defaults; the cell `null` is null."""
    row = {column: cell for column, cell in zip(names, cells, strict=True) if cell is not None}
    full: dict[str, str] = {**_ALWAYS, **_DEFAULTS[name], **row}
    image = full.get("SOPInstanceUID", "").format(n=number) if "SOPInstanceUID" not in row else row["SOPInstanceUID"]
    full = {
        column: value if column in row else value.replace("{n}", str(number)).replace("{image}", image)
        for column, value in full.items()
    }
    day = full.setdefault("available_date", full.get("StudyDate", "2021-01-01"))
    full.setdefault("patient_id", f"patient{number}")
    if name == "clinical" and "submitting_centre" in full:
        full.setdefault("centre", full["submitting_centre"].strip().lower())
    full.setdefault("key", f"{full['group_name']}/{full['patient_id']}/{name}/{day}/{number}.json")
    return {column: None if value == "null" else value for column, value in full.items()}
