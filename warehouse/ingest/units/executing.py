"""On an executor of Spark: loads the unit of a task by a worker that is kept in the Python process for the next."""

from __future__ import annotations

import atexit
import os
import pickle
import traceback
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warehouse.errors import LakeError
from warehouse.filesystem import permissions
from warehouse.ingest import memory
from warehouse.ingest.units.unit import UnitTask, Work
from warehouse.ingest.units.working import Worker
from warehouse.settings import SHARE_VARIABLE


@dataclass(frozen=True, slots=True)
class Order:
    """What a task has to do: units of a step, in order; none only tests the executor.

    `environment` has what the process needs and has not: settings without secrets. `share` is CHEST_SHARE.
    """

    work: Work
    step: str
    units: tuple[UnitTask, ...]
    share: str
    environment: dict[str, str]


class _Kept:
    """The worker of this process, and for what work."""

    work: Work | None = None
    worker: Worker | None = None


def pack(value: object) -> bytes:
    """Pack what goes to an executor, or what it returns."""
    return zlib.compress(pickle.dumps(value), 1)


def unpack(packed: bytes) -> Any:
    """Unpack it. Both ends are ours: the driver chose the cluster, and the cluster runs the driver's code anyway."""
    return pickle.loads(zlib.decompress(packed))  # noqa: S301


def run_order(packed: bytes, root: str) -> bytes:
    """Do a packed order; returns the receipts, or the error, packed. `root` is where Spark has unpacked the package."""
    try:
        return pack(_run(packed, root))
    except Exception as error:
        error.add_note(traceback.format_exc())
        try:
            return pack(error)
        except Exception:
            return pack(RuntimeError(traceback.format_exc()))


def _run(packed: bytes, root: str) -> list[Any]:
    if not Path(__file__).resolve().is_relative_to(Path(root).resolve()):
        raise LakeError(
            f"A Python process of an executor had another version of the package ({__file__}) before it got "
            "this one. Remove chest-data-warehouse from the executors' environment; it is sent with every refresh."
        )
    order: Order = unpack(packed)
    os.environ[SHARE_VARIABLE] = order.share
    for name, value in order.environment.items():
        os.environ.setdefault(name, value)
    with permissions.tighten_umask():
        return list(_get_worker(order.work).run_units(order.step, order.units))


def _get_worker(work: Work) -> Worker:
    if _Kept.worker is None or _Kept.work != work:
        if _Kept.worker is None:
            memory.bound_memory()
            atexit.register(_close)
        _close()
        if "://" not in work.data_path and not Path(work.data_path).is_dir():
            raise LakeError(
                f"An executor has no folder {work.data_path}, where the lake has its files. Put them on S3, or into a "
                "folder that all machines share."
            )
        _Kept.worker, _Kept.work = Worker(work), work
    return _Kept.worker


def _close() -> None:
    if _Kept.worker:
        _Kept.worker.close()
    _Kept.worker = None
