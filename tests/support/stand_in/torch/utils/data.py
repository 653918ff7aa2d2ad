"""torch.utils.data as its documentation describes it: each worker process has a copy of the data set, and its own
`get_worker_info()`; an IterableDataset is iterated by each, a Dataset is asked for the places of its batches."""

import multiprocessing
from dataclasses import dataclass
from typing import Any


class Dataset:
    pass


class IterableDataset(Dataset):
    pass


@dataclass
class WorkerInfo:
    id: int
    num_workers: int
    dataset: Any


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    return _info


class DataLoader:
    """Items one by one (batch_size=None), from worker processes in turn."""

    def __init__(
        self,
        dataset: Any,
        batch_size: None = None,
        num_workers: int = 0,
        multiprocessing_context: str | None = None,
        persistent_workers: bool = False,
    ) -> None:
        self._dataset, self._n_workers = dataset, num_workers
        self._context = multiprocessing.get_context(multiprocessing_context)
        self._persistent, self._workers = persistent_workers, []

    def __iter__(self) -> Any:
        if not self._n_workers:
            places = [None] if isinstance(self._dataset, IterableDataset) else range(len(self._dataset))
            for place in places:
                yield from self._dataset if place is None else [self._dataset[place]]
            return
        if not self._workers:
            self._workers = [self._start(number) for number in range(self._n_workers)]
        for _, pipe in self._workers:
            pipe.send("epoch")
        open_pipes = [pipe for _, pipe in self._workers]
        while open_pipes:
            for pipe in [*open_pipes]:
                kind, value = pipe.recv()
                if kind == "end":
                    open_pipes.remove(pipe)
                elif kind == "error":
                    self._stop()
                    raise value
                else:
                    yield value
        if not self._persistent:
            self._stop()

    def _start(self, number: int) -> Any:
        here, there = self._context.Pipe()
        process = self._context.Process(target=_work, args=(self._dataset, number, self._n_workers, there), daemon=True)
        process.start()
        return process, here

    def _stop(self) -> None:
        for process, pipe in self._workers:
            pipe.close()
            process.join(10)
            process.kill()
        self._workers = []

    def __del__(self) -> None:
        self._stop()


def _work(dataset: Any, number: int, count: int, pipe: Any) -> None:
    global _info  # noqa: PLW0603
    _info = WorkerInfo(number, count, dataset)
    try:
        while pipe.recv() == "epoch":
            if isinstance(dataset, IterableDataset):
                items = iter(dataset)
            else:
                items = (dataset[place] for place in range(number, len(dataset), count))
            for item in items:
                pipe.send(("item", item))
            pipe.send(("end", None))
    except (EOFError, OSError):
        pass
    except Exception as error:  # handed to the process that asked
        pipe.send(("error", error))
