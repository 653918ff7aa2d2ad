"""The sides of a manifest that was exported with a split: the rows of each, and what is on two of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.cohorts import leaks
from warehouse.cohorts.split import order_sides
from warehouse.engine import sql_files
from warehouse.engine.names import suggest_nearest
from warehouse.errors import UsageError
from warehouse.manifests.files import Files, Listing, find_files

if TYPE_CHECKING:
    import duckdb
    import polars as pl


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a manifest: the rows that have its name in `column`."""

    manifest: Listing
    column: str
    name: str

    def polars(self) -> pl.DataFrame:
        """The rows of this side, one per object."""
        import polars as pl

        return self.manifest.polars().filter(pl.col(self.column).cast(pl.String) == self.name)

    def files(self, data: Path | str, objects: str = "dcm") -> Files:
        """The downloaded files of this side, as in `Manifest.files`."""
        return find_files(self.manifest, self.polars(), Path(data), objects)


class Sides(dict[str, Side]):
    """The sides of a manifest by name; UsageError for a side that it does not have."""

    def __missing__(self, name: object) -> Side:
        near = suggest_nearest(str(name), self)
        raise UsageError(f"The manifest has no side {name!r}.{near} It has {', '.join(self) or 'none'}.")


def list_sides(manifest: Listing) -> Sides:
    """The sides of the label `split`, train first; UsageError without that label."""
    import polars as pl

    column = leaks.find_split(manifest.labels)
    if not column:
        raise UsageError(
            f"{manifest.folder} has no column split. Export it with one:  chest manifest export NAME --train 70 "
            "--tune 15 --test 15 -o DIR"
        )
    found = manifest.polars()[column].drop_nulls().cast(pl.String).unique().to_list()
    return Sides({name: Side(manifest, column, name) for name in order_sides(found)})


def find_leaks(con: duckdb.DuckDBPyConnection, rows: str, labels: Sequence[str]) -> list[leaks.Leak]:
    """What the rows of a manifest have on two sides of their label `split`; nothing without that label."""
    column = leaks.find_split(labels)
    if not column:
        return []
    sides = sql_files.read_statements("manifests/rows.sql")["sides"]
    return leaks.list_leaks(con, sql_files.fill(sides, rows=rows, split=sql_files.identifier(column)))
