"""A manifest as data sets of PyTorch. Importing this module imports torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from warehouse.errors import UsageError
from warehouse.manifests.files import Files
from warehouse.manifests.loading.records import IMAGE, to_plain
from warehouse.manifests.loading.streaming import Stream

Transform = Callable[[dict[str, Any]], Any]


class FileDataset(Dataset):  # type: ignore[misc,unused-ignore]
    """The downloaded files of a manifest: `dataset[i]` is a dict with image, key, patient_id and labels."""

    def __init__(
        self,
        files: Files,
        keys: list[str],
        labels: list[str],
        read: Callable[[str], Any] | None,
        transform: Transform | None,
    ) -> None:
        self._files, self._keys, self._labels = files, keys, labels
        self._read, self._transform = read, transform

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, place: int) -> Any:
        path, row = self._files[place]
        record = to_plain({"key": self._keys[place], "patient_id": row["patient_id"]})
        record |= to_plain({label: row[label] for label in self._labels})
        item = {IMAGE: self._read(path) if self._read else path, **record}
        return self._transform(item) if self._transform else item


class StreamDataset(IterableDataset):  # type: ignore[misc,unused-ignore]
    """The objects of a manifest, read from its buckets; items as those of `FileDataset`.

    Worker processes and the ranks of a distributed run share them: each object is read by exactly one in an epoch.
    """

    def __init__(
        self, stream: Stream, read: Callable[..., Any] | None, transform: Transform | None, rank: tuple[int, int] | None
    ) -> None:
        self._stream, self._read, self._transform = stream, read, transform
        self._rank = rank or _find_group_rank()

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next epoch, in worker processes as well, like `set_epoch` of DistributedSampler."""
        self._stream.shared.epoch = epoch

    @property
    def skipped(self) -> int:
        """How many objects were skipped so far, in this process and its workers (on_error="skip")."""
        return self._stream.shared.skipped

    def __iter__(self) -> Iterator[Any]:
        rank, n_ranks = self._rank or _find_environment_rank()
        worker = get_worker_info()
        number, n_workers = (worker.id, worker.num_workers) if worker else (0, 1)
        share = self._stream.share(rank * n_workers + number, n_ranks * n_workers)
        for record, content in self._stream.iterate(share):
            try:
                image = self._read(content, name=record["key"]) if self._read else content
            except UsageError as error:
                self._stream.skip(error)
                continue
            item = {IMAGE: image, **to_plain(record)}
            yield self._transform(item) if self._transform else item


def _find_group_rank() -> tuple[int, int] | None:
    """The rank in the process group, if there is one; worker processes may not see it, so it is found at the start."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return None


def _find_environment_rank() -> tuple[int, int]:
    """The rank that torchrun sets for its processes, which their workers inherit."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
