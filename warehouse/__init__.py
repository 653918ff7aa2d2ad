"""The chest data warehouse: a bucket of chest images and clinical records, as it was known on any day.

import warehouse

warehouse.refresh("s3://chest-data-warehouse", "lake")
wh = warehouse.open("lake")
wh.as_of("2020-06-01").patients().pl()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from warehouse.errors import (
    BlockedError,
    LakeBusyError,
    LakeError,
    ManifestError,
    NotFoundError,
    RemovalsError,
    SourceError,
    SplitLeakError,
    UntrustedSqlError,
    UsageError,
    WarehouseError,
)
from warehouse.version import __version__ as __version__

if TYPE_CHECKING:
    from warehouse.api import Cohort, Warehouse, open
    from warehouse.cohorts.split import Split
    from warehouse.dicom.pixels import read_image
    from warehouse.ingest import RefreshResult, refresh
    from warehouse.manifests.download import download
    from warehouse.manifests.manifest import Manifest
    from warehouse.manifests.manifest import open_manifest as manifest
    from warehouse.query.patient import Patient
    from warehouse.settings import Settings

__all__ = [
    "BlockedError",
    "Cohort",
    "LakeBusyError",
    "LakeError",
    "Manifest",
    "ManifestError",
    "NotFoundError",
    "Patient",
    "RefreshResult",
    "RemovalsError",
    "Settings",
    "SourceError",
    "Split",
    "SplitLeakError",
    "UntrustedSqlError",
    "UsageError",
    "Warehouse",
    "WarehouseError",
    "download",
    "manifest",
    "open",
    "read_image",
    "refresh",
]

_LAZY = {
    "Cohort": "api",
    "Manifest": "manifests.manifest",
    "Patient": "query.patient",
    "RefreshResult": "ingest",
    "Settings": "settings",
    "Split": "cohorts.split",
    "Warehouse": "api",
    "download": "manifests.download",
    "manifest": "manifests.manifest:open_manifest",
    "open": "api",
    "read_image": "dicom.pixels",
    "refresh": "ingest",
}


def __dir__() -> list[str]:
    """The public names, for completion; those that are imported when they are asked for, too."""
    return sorted({*__all__, "__version__", "__doc__"})


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: the command line must not pay for all of it."""
    if name == "ForeignSqlError":
        import warnings

        warnings.warn("ForeignSqlError is now UntrustedSqlError", DeprecationWarning, stacklevel=2)
        return UntrustedSqlError
    if name not in _LAZY:
        raise AttributeError(f"module 'warehouse' has no attribute {name!r}")
    from importlib import import_module

    module, _, given = _LAZY[name].partition(":")
    return getattr(import_module(f"warehouse.{module}"), given or name)
