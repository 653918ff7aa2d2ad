"""Turns the library's errors into Dagster's."""

import contextlib
from collections.abc import Iterator

import dagster as dg

from warehouse.errors import WarehouseError


@contextlib.contextmanager
def healing(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> Iterator[None]:  # noqa: ARG001
    """A `with` block whose WarehouseError becomes a dg.Failure with the one line that helps.

    Faults of the program keep their traceback.
    """
    try:
        yield
    except WarehouseError as error:
        raise dg.Failure(str(error)) from None
