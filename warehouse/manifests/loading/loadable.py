"""The methods of a manifest that give data sets of PyTorch, MONAI and Hugging Face, imported only when asked for."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.errors import ManifestError, UsageError
from warehouse.manifests.loading.records import IMAGE, OWN, SPLIT, select_labels, select_rows

if TYPE_CHECKING:
    import polars as pl

    from warehouse.manifests.files import Files
    from warehouse.manifests.manifest import Manifest
    from warehouse.settings import Settings


class Loadable:
    """Something with rows of a manifest: the manifest itself, or one side of its split."""

    __slots__ = ()

    def polars(self) -> pl.DataFrame:
        """The rows, one per object."""
        raise NotImplementedError

    def _get_manifest(self) -> Manifest:
        raise NotImplementedError

    def to_torch(
        self,
        data: Path | str | None = None,
        *,
        stream: bool = False,
        read: Callable[..., Any] | None = None,
        transform: Callable[[dict[str, Any]], Any] | None = None,
        objects: str = "dcm",
        labels: Sequence[str] | None = None,
        split: str | None = None,
        seed: int | None = None,
        in_flight: int = 16,
        on_error: str = "raise",
        rank: tuple[int, int] | None = None,
        source: str | Sequence[str] = (),
        lake_address: str = "",
        agreement: str = "",
        settings: Settings | None = None,
    ) -> Any:
        """A data set of PyTorch: of downloaded files, or with `stream` straight from the bucket.

        An item is a dict with image, key, patient_id and the labels (all, or those in `labels`), given to `transform`.
        `read` makes the image of a path, or of bytes and `name=`; by default `warehouse.read_image`, for headers the
        path or bytes as they are. `split` takes one side of a split. `stream`: `seed` shuffles (`set_epoch`),
        `in_flight` limits requests, `on_error="skip"` skips objects that are not as in the manifest, with a warning
        and the count `skipped`; `rank` is (rank, ranks) of a distributed run, found by itself under torch.distributed;
        `agreement` as for a download, by default that of the manifest.
        """
        if stream is (data is not None):
            raise UsageError("Give either data=, the folder of a download, or stream=True.")
        if on_error not in ("raise", "skip"):
            raise UsageError(f"on_error is raise or skip, not {on_error!r}.")
        if in_flight < 1:
            raise UsageError("in_flight must be 1 or more.")
        datasets = _import_extra("torch", "warehouse.manifests.loading.torch_datasets", "to_torch")
        if read is None and objects == "dcm":
            from warehouse.dicom.pixels import read_image as read
        made, rows = self._get_manifest(), select_rows(self.polars(), objects, split)
        names = select_labels(made.labels, labels)
        if data is not None:
            files = _find_files(made, rows, data, objects)
            return datasets.FileDataset(files, rows["key"].to_list(), names, read, transform)
        from warehouse.manifests.loading.streaming import Stream
        from warehouse.manifests.past import leave_out_withdrawn
        from warehouse.manifests.permit import permit_manifest
        from warehouse.manifests.sources import resolve_sources
        from warehouse.settings import load_settings

        if not made.seal:
            raise ManifestError(f"{made.folder} has no seal (format 1): export it again to stream its objects.")
        settings = settings or load_settings()
        permit_manifest(made, lake_address, agreement, what="to_torch", settings=settings)
        places = resolve_sources(made, made.sources, source, lake_address, settings)
        left = leave_out_withdrawn(made, lake_address, settings, warnings.warn)
        rows = rows.join(left.select("uri").unique(), on="uri", how="semi", maintain_order="left")
        table = rows.select("key", "uri", "size", "etag", "patient_id", *names).to_arrow()
        opened = Stream(table, places, settings, in_flight, seed, on_error == "skip")
        return datasets.StreamDataset(opened, read, transform, rank)

    def to_monai(
        self,
        data: Path | str,
        *,
        objects: str = "dcm",
        labels: Sequence[str] | None = None,
        split: str | None = None,
    ) -> list[dict[str, Any]]:
        """The list of dicts that MONAI's data sets take: image (a path), patient_id and labels, `split` among them.

        MONAI itself is not imported: `monai.data.Dataset(manifest.to_monai("data"), LoadImaged("image"))`.
        """
        made, rows = self._get_manifest(), select_rows(self.polars(), objects, split)
        names = select_labels(made.labels, labels)
        return [
            {IMAGE: path, "patient_id": row["patient_id"], **{name: row[name] for name in names}}
            for path, row in _find_files(made, rows, data, objects)
        ]

    def to_huggingface(
        self,
        data: Path | str,
        *,
        objects: str = "dcm",
        labels: Sequence[str] | None = None,
        split: str | None = None,
    ) -> Any:
        """A `datasets.Dataset` of Hugging Face: image (a path), key, patient_id and labels with their types.

        Where the manifest is split, it is named after the side that `split` takes.
        """
        datasets = _import_extra("huggingface", "datasets", "to_huggingface")
        made, rows = self._get_manifest(), select_rows(self.polars(), objects, split)
        names = select_labels(made.labels, labels)
        places = [path for path, _ in _find_files(made, rows, data, objects)]
        table = rows.select(*OWN, *names).to_arrow()
        table = table.add_column(0, IMAGE, [places])
        name = datasets.NamedSplit(split) if split and SPLIT in rows.columns else None
        return datasets.Dataset(_to_plain_types(table), split=name)


def _find_files(made: Manifest, rows: pl.DataFrame, data: Path | str, objects: str) -> Files:
    from warehouse.manifests.files import find_files  # which has a Loadable itself

    return find_files(made, rows, Path(data), objects)


def _to_plain_types(table: Any) -> Any:
    """Convert string views, which the features of Hugging Face lack, to strings."""
    import pyarrow as pa

    plain = [field.with_type(pa.large_string()) if field.type == pa.string_view() else field for field in table.schema]
    return table.cast(pa.schema(plain))


def _import_extra(extra: str, module: str, method: str) -> Any:
    """Import a module that needs an optional library; UsageError names the extra to install."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "warehouse":
            raise
        raise UsageError(f"{method} needs {error.name}: pip install 'chest-data-warehouse[{extra}]'") from None
