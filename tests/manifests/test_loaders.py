"""Manifests as data sets: PyTorch's workers share the objects of a bucket; MONAI and Hugging Face get the files.

Where torch is not installed, a stand-in that follows the protocol of its workers takes its place (tests/support).
"""

import datetime
import importlib.util
import json
import multiprocessing
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from conftest import start_lake
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless
from servers import S3

import warehouse
from warehouse.manifests.download import download
from warehouse.manifests.loading.records import to_plain
from warehouse.manifests.loading.streaming import Shared
from warehouse.synthetic import make_bucket

HAS_TORCH = importlib.util.find_spec("torch") is not None
STAND_IN = Path(__file__).parent.parent / "support/stand_in"
COHORT = """\
-- title: Images of patients
-- question: Which images are there, of which centre and on which side?
-- grain: patient
-- label split: the side of a split
-- label first_day: the first day of a study
select
  patient_id, if(ascii(right(patient_id, 1)) % 2 = 0, 'train', 'test') as split, n_images as n, first_day
from (select patient_id, count(*) as n_images, min(available_date) as first_day from images group by patient_id)
"""


@pytest.fixture(autouse=True, scope="module")
def _torch() -> Iterator[None]:
    """PyTorch, or the stand-in, which is gone again after this module."""
    if HAS_TORCH:
        yield
        return
    sys.path.insert(0, str(STAND_IN))
    yield
    sys.path.remove(str(STAND_IN))
    for name in [*sys.modules]:
        if name.split(".")[0] == "torch" or name == "warehouse.manifests.loading.torch_datasets":
            del sys.modules[name]


@pytest.fixture
def loader() -> Any:
    from torch.utils.data import DataLoader

    return DataLoader


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, server: S3) -> Iterator[Path]:
    """A sample bucket on S3, its manifest, and a folder with its files; no test changes them."""
    root = tmp_path_factory.mktemp("loaders")
    make_bucket(root / "bucket", 6, seed=1, clean=True)
    server.upload(root / "bucket", "loading")
    (root / "all.sql").write_text(COHORT)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        warehouse.refresh("s3://loading", str(start_lake(root / "lake")))
        with warehouse.open(str(root / "lake")) as wh:
            wh.group("all").cohort(root / "all.sql").export(root / "manifest", objects=("dcm", "json"))
        download(warehouse.manifest(root / "manifest"), root / "data", source="s3://loading", layout="flat")
        yield root


@pytest.fixture
def made(root: Path, s3: S3) -> warehouse.Manifest:
    return warehouse.manifest(root / "manifest")


def open_stream(made: warehouse.Manifest, **options: Any) -> Any:
    return made.to_torch(stream=True, **{"source": "s3://loading", "read": None, "objects": "json", **options})


def keys_of(made: warehouse.Manifest, kind: str = "json") -> list[str]:
    return [key for key, what in made.polars().select("key", "object").iter_rows() if what == kind]


# Streaming


@pytest.mark.slow
def test_a_stream_has_every_object_with_its_labels(made: warehouse.Manifest, root: Path) -> None:
    items = list(open_stream(made))
    assert [item["key"] for item in items] == keys_of(made)
    rows = {row["key"]: row for row in made.polars().iter_rows(named=True)}
    for item in items:
        assert item["image"] == (root / "bucket" / item["key"]).read_bytes()
        row = rows[item["key"]]
        assert item["patient_id"] == row["patient_id"]
        assert (item["split"], item["n"], item["first_day"]) == (row["split"], row["n"], row["first_day"].isoformat())
    some = list(open_stream(made, labels=["n"], transform=lambda item: (item["key"], sorted(item))))
    assert some[0] == (items[0]["key"], ["image", "key", "n", "patient_id"])
    train = list(open_stream(made, split="train"))
    assert [item["key"] for item in train] == [item["key"] for item in items if item["split"] == "train"]
    assert 0 < len(train) < len(items)


@pytest.mark.slow
@pytest.mark.parametrize("n_workers", [1, 3])
def test_workers_share_the_objects_without_doubling_or_losing_one(
    made: warehouse.Manifest, loader: Any, n_workers: int
) -> None:
    opened = loader(open_stream(made), batch_size=None, num_workers=n_workers, multiprocessing_context="spawn")
    assert Counter(item["key"] for item in opened) == Counter(keys_of(made))


def test_ranks_share_the_objects(made: warehouse.Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    given = [[item["key"] for item in open_stream(made, rank=(rank, 3), seed=5)] for rank in range(3)]
    assert Counter(key for keys in given for key in keys) == Counter(keys_of(made))
    assert max(map(len, given)) - min(map(len, given)) <= 1
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert [item["key"] for item in open_stream(made, seed=5)] == given[1]


@pytest.mark.slow
def test_epochs_are_shuffled_reproducibly_in_workers_that_stay(made: warehouse.Manifest, loader: Any) -> None:
    def keys(dataset: Any) -> list[str]:
        return [item["key"] for item in dataset]

    first, second = open_stream(made, seed=1), open_stream(made, seed=2)
    assert keys(first) != keys(second)
    assert keys(first) == keys(open_stream(made, seed=1))
    start = keys(first)
    first.set_epoch(1)
    assert keys(first) != start
    assert sorted(keys(first)) == sorted(start)
    opened = loader(first, batch_size=None, num_workers=2, multiprocessing_context="spawn", persistent_workers=True)
    later = keys(opened)
    assert Counter(later) == Counter(start)
    first.set_epoch(0)
    again = keys(opened)
    assert again != later
    assert Counter(again) == Counter(start)


def test_a_forked_worker_of_a_process_that_has_read_s3_does_not_hang(made: warehouse.Manifest, loader: Any) -> None:
    dataset = open_stream(made)
    next(iter(dataset))
    with pytest.raises(warehouse.UsageError, match="multiprocessing_context='spawn'"):
        list(loader(dataset, batch_size=None, num_workers=1, multiprocessing_context="fork"))


@pytest.mark.slow
def test_a_wrong_object_is_named_or_skipped_and_counted(root: Path, s3: S3, loader: Any, tmp_path: Path) -> None:
    objects = {key: (root / "bucket" / key).read_bytes() for key in keys_of(warehouse.manifest(root / "manifest"))}
    s3.put("wrong", objects)
    warehouse.refresh("s3://wrong", str(start_lake(tmp_path / "lake")))
    with warehouse.open(str(tmp_path / "lake")) as wh:
        made = wh.group("all").cohort(root / "all.sql").export(tmp_path / "m", objects=("json",))
    gone, changed = list(objects)[2], list(objects)[5]
    s3.client().delete_object(Bucket="wrong", Key=gone)
    s3.client().put_object(Bucket="wrong", Key=changed, Body=objects[changed][:-1] + b" ")
    with pytest.raises(warehouse.ManifestError) as caught:
        list(open_stream(made, source="s3://wrong"))
    assert str(caught.value) == f"s3://wrong/{gone} cannot be loaded: missing from the bucket."
    lenient = open_stream(made, source="s3://wrong", on_error="skip")
    with pytest.warns(UserWarning, match=f"Skipped 2 of {len(objects)} objects: "):
        assert len(list(lenient)) == len(objects) - 2
    assert lenient.skipped == 2
    found = loader(lenient, batch_size=None, num_workers=2, multiprocessing_context="spawn")
    assert {item["key"] for item in found} == objects.keys() - {gone, changed}
    assert lenient.skipped == 4, "workers count in the same place"


def test_bytes_that_do_not_fit_the_etag_are_refused(root: Path, tmp_path: Path) -> None:
    """A folder in the place of the bucket: its objects are held against the MD5s of the manifest."""
    made = warehouse.manifest(root / "manifest")
    for key in keys_of(made):
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes((root / "bucket" / key).read_bytes())
    place = f"s3://loading={tmp_path}"
    assert len(list(open_stream(made, source=place))) == len(keys_of(made))
    victim = tmp_path / keys_of(made)[1]
    victim.write_bytes(b"?" * victim.stat().st_size)
    with pytest.raises(warehouse.ManifestError, match=r"cannot be loaded: does not match its checksum"):
        list(open_stream(made, source=place))


@pytest.mark.slow
def test_what_is_shared_may_be_copied_and_handed_to_a_process() -> None:
    shared = Shared(3)
    copy = pickle.loads(pickle.dumps(shared))
    copy.epoch = 4
    assert (shared.epoch, copy.epoch) == (3, 4)
    for how in ("spawn", "fork"):
        process = multiprocessing.get_context(how).Process(target=_count, args=(shared,))
        process.start()
        process.join()
    assert shared.skipped == 2


def _count(shared: Shared) -> None:
    shared.count_skipped()


# Files


@pytest.mark.slow
def test_files_are_a_data_set_with_pixels(made: warehouse.Manifest, root: Path, loader: Any) -> None:
    dataset = made.to_torch(root / "data", labels=["n", "split"])
    assert len(dataset) == len(keys_of(made, "dcm"))
    items = list(loader(dataset, batch_size=None, num_workers=2, multiprocessing_context="spawn"))
    assert sorted(item["key"] for item in items) == sorted(keys_of(made, "dcm"))
    for item in items:
        expected = warehouse.read_image(root / "bucket" / item["key"])
        assert np.asarray(item["image"]).shape == expected.shape
        assert np.array_equal(np.asarray(item["image"]), expected)
        assert set(item) == {"image", "key", "patient_id", "n", "split"}
    streamed = list(open_stream(made, read=None, objects="dcm", labels=[]))
    assert [item["key"] for item in streamed] == keys_of(made, "dcm")
    assert all(item["image"].dtype == np.float32 for item in streamed)


def test_sides_of_a_split_are_data_sets_too(made: warehouse.Manifest, root: Path) -> None:
    train, test = made.split(test=0.5, seed=3)
    sides = [{item["patient_id"] for item in part.to_monai(root / "data")} for part in (train, test)]
    assert sides[0]
    assert sides[1]
    assert not sides[0] & sides[1]


def test_monai_gets_a_list_of_dicts(made: warehouse.Manifest, root: Path) -> None:
    items = made.to_monai(root / "data")
    assert [item["image"] for item in items] == [path for path, _ in made.files(root / "data")]
    assert {"image", "patient_id", "split", "n", "first_day"} == set(items[0])
    only = made.to_monai(root / "data", labels=["split"], split="test")
    assert {item["split"] for item in only} == {"test"}
    if importlib.util.find_spec("monai"):
        from monai.data import Dataset as MonaiDataset
        from monai.transforms import LoadImaged

        loaded = MonaiDataset(items, LoadImaged("image", reader="PydicomReader"))[0]
        assert loaded["patient_id"] == items[0]["patient_id"]
        assert loaded["image"].ndim >= 2


def test_hugging_face_gets_a_dataset(made: warehouse.Manifest, root: Path) -> None:
    pytest.importorskip("datasets")
    found = made.to_huggingface(root / "data", split="train")
    expected = made.to_monai(root / "data", split="train")
    assert found.column_names == ["image", "key", "patient_id", "split", "n", "first_day"]
    assert found["image"] == [item["image"] for item in expected]
    assert found[0]["first_day"] == expected[0]["first_day"]
    assert str(found.split) == "train"


def test_nothing_is_imported_until_it_is_asked_for(root: Path) -> None:
    """And a library that is missing is one line, which names the extra."""
    program = f"""
import sys, warehouse
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "datasets"):
            raise ModuleNotFoundError(f"No module named {{name}}", name=name)
sys.meta_path.insert(0, Missing())
made = warehouse.manifest({str(root / "manifest")!r})
made.to_monai({str(root / "data")!r})
assert not {{"torch", "monai", "datasets", "pydicom"}} & set(sys.modules)
for method in (made.to_torch, made.to_huggingface):
    try:
        method({str(root / "data")!r})
    except warehouse.UsageError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "to_torch needs torch: pip install 'chest-data-warehouse[torch]'",
        "to_huggingface needs datasets: pip install 'chest-data-warehouse[huggingface]'",
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "Give either data="),
        ({"data": "x", "stream": True}, "Give either data="),
        ({"stream": True, "on_error": "ignore"}, "raise or skip"),
        ({"stream": True, "in_flight": 0}, "1 or more"),
        ({"stream": True, "split": "tune"}, "has the sides train, test"),
        ({"stream": True, "labels": ["first_da"]}, "Did you mean first_day?"),
        ({"stream": True, "objects": "clinical"}, "has no clinical objects"),
        ({"stream": True}, "points to s3://loading, which the lake"),
    ],
)
def test_wrong_use_is_one_line(made: warehouse.Manifest, tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(warehouse.UsageError) as caught:
        made.to_torch(lake_address=str(tmp_path / "none"), **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_values_of_an_item_are_plain() -> None:
    from decimal import Decimal

    given = {"a": datetime.date(2020, 3, 2), "b": Decimal("1.5"), "c": None, "d": [1], "e": datetime.time(1, 2)}
    assert to_plain(given) == {"a": "2020-03-02", "b": 1.5, "c": None, "d": [1], "e": "01:02:00"}
    assert json.dumps(to_plain(given))


# Pixels


def make_dicom(pixels: np.ndarray, photometric: str, **attributes: Any) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = pydicom.uid.CTImageStorage, "1.2.3"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated = pixels.dtype.itemsize * 8
    dataset.BitsStored = attributes.pop("bits", dataset.BitsAllocated)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.PixelData = pixels.tobytes()
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return dataset


def write_dicom(dataset: Dataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


GREY = np.array([[0, 1], [1000, 4095]], dtype=np.uint16)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (make_dicom(GREY, "MONOCHROME2", bits=12), [[0, 1], [1000, 4095]]),
        (make_dicom(GREY, "MONOCHROME1", bits=12), [[4095, 4094], [3095, 0]]),
        (
            make_dicom(GREY, "MONOCHROME2", bits=12, RescaleSlope=2, RescaleIntercept=-1024),
            [[-1024, -1022], [976, 7166]],
        ),
        (
            make_dicom(GREY, "MONOCHROME1", bits=12, RescaleSlope=2, RescaleIntercept=-1024),
            [[7166, 7164], [5166, -1024]],
        ),
        (make_dicom(np.array([[-2, 5]], dtype=np.int16), "MONOCHROME2"), [[-2, 5]]),
        (make_dicom(np.array([[-32768, 32767]], dtype=np.int16), "MONOCHROME1"), [[32767, -32768]]),
    ],
)
def test_grey_values_mean_the_same_in_every_file(dataset: Dataset, expected: Any, tmp_path: Path) -> None:
    path = write_dicom(dataset, tmp_path / "a.dcm")
    found = warehouse.read_image(path)
    assert found.dtype == np.float32
    assert found.tolist() == expected
    assert np.array_equal(warehouse.read_image(path.read_bytes()), found)


def test_compressed_and_coloured_images_are_read(tmp_path: Path) -> None:
    packed = make_dicom(np.arange(64, dtype=np.uint16).reshape(8, 8), "MONOCHROME2")
    packed.compress(RLELossless, generate_instance_uid=False)
    assert (
        warehouse.read_image(write_dicom(packed, tmp_path / "rle.dcm")).tolist() == np.arange(64).reshape(8, 8).tolist()
    )
    colours = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    found = warehouse.read_image(write_dicom(make_dicom(colours, "RGB"), tmp_path / "rgb.dcm"))
    assert found.tolist() == colours.tolist()


def test_what_is_not_an_image_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(warehouse.UsageError, match=r"lost\.dcm cannot be read: No such file or directory\. Give"):
        warehouse.read_image(tmp_path / "lost.dcm")
    with pytest.raises(warehouse.UsageError, match="cannot be read: Is a directory"):
        warehouse.read_image(tmp_path)
    (tmp_path / "stub.dcm").write_bytes(b"stub")
    with pytest.raises(warehouse.UsageError, match=r"stub\.dcm is not a DICOM file\.$"):
        warehouse.read_image(tmp_path / "stub.dcm")
    with pytest.raises(warehouse.UsageError, match=r"^a/b\.dcm is not a DICOM file\.$"):
        warehouse.read_image(b"stub", name="a/b.dcm")
    without = make_dicom(GREY, "MONOCHROME2")
    del without.PixelData
    with pytest.raises(warehouse.UsageError, match="has no pixels"):
        warehouse.read_image(write_dicom(without, tmp_path / "none.dcm"))
    short = make_dicom(GREY, "MONOCHROME2")
    short.PixelData = b"12"
    with pytest.raises(warehouse.UsageError, match="cannot be decoded"):
        warehouse.read_image(write_dicom(short, tmp_path / "short.dcm"))
