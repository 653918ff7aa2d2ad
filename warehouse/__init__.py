"""The chest data warehouse: a bucket of chest images and clinical records, as it was known on any day.

import warehouse

warehouse.refresh("s3://chest-data-warehouse", "lake")
wh = warehouse.open("lake")
wh.as_of("2020-06-01").patients().pl()
"""

from typing import TYPE_CHECKING, Any

from warehouse.errors import (
    ForeignSqlError,
    LakeBusyError,
    LakeError,
    NotFoundError,
    RemovalsError,
    SourceError,
    UsageError,
    WarehouseError,
)

if TYPE_CHECKING:
    from warehouse.reader import Patient, Warehouse, open
    from warehouse.settings import Settings
    from warehouse.steps import RefreshResult, refresh

__version__ = "0.1.0"

__all__ = [
    "ForeignSqlError",
    "LakeBusyError",
    "LakeError",
    "NotFoundError",
    "Patient",
    "RefreshResult",
    "RemovalsError",
    "Settings",
    "SourceError",
    "UsageError",
    "Warehouse",
    "WarehouseError",
    "open",
    "refresh",
]

_LAZY = {
    "Patient": "reader",
    "RefreshResult": "steps",
    "Settings": "settings",
    "Warehouse": "reader",
    "open": "reader",
    "refresh": "steps",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: the command line must not pay for all of it."""
    if name not in _LAZY:
        raise AttributeError(f"module 'warehouse' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"warehouse.{_LAZY[name]}"), name)
