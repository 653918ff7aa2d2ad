"""Measures refreshes of a sample bucket: from a folder, again with nothing new, from S3, of DICOM without headers."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import warehouse
from benchmarks.measure import run_baseline, run_chest
from benchmarks.results import Row
from benchmarks.synthetic_s3 import serve_store
from warehouse import synthetic

#: Headers that pydicom reads, and objects that boto3 fetches.
_READ, _FETCHED = "3000", "8000"
#: Objects of the bucket on the stand-in for S3: without worker processes, and enough to outweigh the start.
_STAND_IN = 100_000
#: Patients of the bucket of real .dcm files, about six each.
_DCM_PATIENTS = 1_000
#: Who fetches ranges and does nothing else.
_RANGED = {"ranged_boto3": "boto3", "ranged_obstore": "obstore"}
_RCLONE_KEYS = {"AWS_ACCESS_KEY_ID": "TESTKEY", "AWS_SECRET_ACCESS_KEY": "TESTSECRET", "AWS_REGION": "us-east-1"}


def measure_folder(bucket: Path, lake: Path, rounds: int) -> Iterator[Row]:
    """First refreshes from a folder beside pydicom's loop; their memory and the size of the lake."""
    ours = Row("refresh from a folder", "headers/s", [], "pydicom, pandas", [], "ratio >= 45")
    peaks = []
    json_bytes = sum(path.stat().st_size for path in bucket.rglob("*.json"))  # both find the folder in the cache
    for _ in range(rounds):
        ours.baseline_values = [*ours.baseline_values, float(run_baseline("pydicom_pandas", str(bucket), _READ).output)]
        shutil.rmtree(lake, ignore_errors=True)
        run = run_chest("refresh", str(bucket), "--lake", str(lake), "-q")
        peaks.append(run.peak_mib)
        headers = count_images(lake)
        ours.values = [*ours.values, headers / run.seconds]
        yield ours
    yield Row(f"peak memory of the largest process, {headers:,} headers", "MiB", peaks, target="value < 1024")
    yield Row("lake", "MB", [measure_size(lake)], "JSON", [json_bytes / 1e6], "ratio <= 0.05")


def measure_again(bucket: Path, lake: Path, rounds: int) -> Iterator[Row]:
    """A refresh that finds nothing new, beside listing alone."""
    row = Row("refresh with nothing new", "s", [], "listing", [], "ratio <= 1.3")
    for number in range(rounds + 1):
        again = run_chest("refresh", str(bucket), "--lake", str(lake), "-q").seconds
        listing = run_baseline("listing", str(bucket)).seconds
        if number:
            row.values, row.baseline_values = [*row.values, again], [*row.baseline_values, listing]
            yield row


def measure_stand_in(bucket: Path, lake: Path, rounds: int) -> Iterator[Row]:  # noqa: ARG001 - as the others
    """First refreshes from the stand-in for S3, beside obstore that fetches the same objects and does nothing else."""
    row = Row(f"refresh from S3, {_STAND_IN:,} objects", "fetched/s", [], "obstore, 32 threads, fetching alone", [])
    row.target = "ratio >= 0.8"
    target = lake.with_name("lake-stand-in")
    with serve_store(_STAND_IN) as served:
        for _ in range(rounds):
            bare = run_baseline("obstore_store", served.endpoint, str(_STAND_IN), **served.environment)
            served.take_counts()
            shutil.rmtree(target, ignore_errors=True)
            run = run_chest("refresh", "s3://chest", "--lake", str(target), "-q", **served.environment)
            fetched = served.take_counts()["GET"]
            row.values = [*row.values, fetched / run.seconds]
            row.baseline_values = [*row.baseline_values, float(bare.output)]
            yield row
    shutil.rmtree(target)


def measure_s3(bucket: Path, lake: Path, rounds: int) -> Iterator[Row]:
    """First refreshes from S3 as rclone serves it on this machine, beside boto3 that fetches some of the objects."""
    row = Row("refresh from S3 (rclone)", "headers/s", [], "boto3, 32 threads, fetching alone", [], "ratio >= 4")
    target = lake.with_name("lake-s3")
    with serve_rclone(bucket) as environment:
        for _ in range(rounds):
            endpoint = environment["AWS_ENDPOINT_URL"]
            bare = run_baseline("boto3_threads", str(bucket), endpoint, _FETCHED, **environment)
            shutil.rmtree(target, ignore_errors=True)
            run = run_chest("refresh", "s3://bucket", "--lake", str(target), "-q", **environment)
            row.values = [*row.values, count_images(target) / run.seconds]
            row.baseline_values = [*row.baseline_values, float(bare.output)]
            yield row


def measure_any_bucket(bucket: Path, lake: Path, rounds: int) -> Iterator[Row]:
    """First refreshes of .dcm files without headers from S3, beside fetching the same ranges and doing nothing else."""
    files = bucket.parent / "dcm" / "bucket"
    if not (files / "truth.json").exists():
        synthetic.make_bucket(files, _DCM_PATIENTS)
        for path in files.rglob("*.json"):
            if path.name != "truth.json":
                path.unlink()
    target = lake.with_name("lake-dcm")
    rows = [
        Row(f"any bucket from S3 beside {words}", ".dcm/s", [], f"{words}, 32 threads, ranges fetched alone", [])
        for words in _RANGED.values()
    ]
    with serve_rclone(files) as environment:
        for _ in range(rounds):
            shutil.rmtree(target, ignore_errors=True)
            words = ("refresh", "s3://bucket", "--lake", str(target), "--layout", "any", "-q")
            rate = 1 / run_chest(*words, **environment).seconds
            for row, name in zip(rows, _RANGED, strict=True):
                bare = run_baseline(name, str(files), environment["AWS_ENDPOINT_URL"], **environment)
                row.values = [*row.values, rate * count_images(target)]
                row.baseline_values = [*row.baseline_values, float(bare.output)]
                row.target = "ratio >= 0.5"
            yield from rows


def measure_million(bucket: Path, lake: Path, rounds: int) -> Iterator[Row]:  # noqa: ARG001 - once is enough
    """Peak memory of a refresh of eight times the sample, hard links to its files."""
    large, target = bucket.with_name("bucket-large"), lake.with_name("lake-large")
    if not large.exists():
        for number in range(8):
            shutil.copytree(bucket / "training", large / f"training{number}", copy_function=os.link)
    shutil.rmtree(target, ignore_errors=True)
    run = run_chest("refresh", str(large), "--lake", str(target), "-q")
    name = f"peak memory of the largest process, {count_images(target):,} headers"
    yield Row(name, "MiB", [run.peak_mib], target="value < 1024")


def count_images(lake: Path) -> int:
    """The images of all groups of a lake."""
    with warehouse.open(str(lake)) as wh:
        ((number,),) = wh.group("all").sql("select count(*) from images").fetchall()
    return int(number)


def measure_size(lake: Path) -> float:
    """The size of a lake in MB."""
    return sum(path.stat().st_size for path in lake.rglob("*") if path.is_file()) / 1e6


@contextmanager
def serve_rclone(bucket: Path) -> Iterator[dict[str, str]]:
    """The bucket on an S3 server; listed once, so that the server has its own caches filled for both sides.

    Yields the environment of a client.
    """
    root = bucket.parent / "s3"
    root.mkdir(exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        (root / "bucket").unlink()
    (root / "bucket").symlink_to(bucket)
    program, address = Path(sys.executable).with_name("rclone"), "127.0.0.1:18999"
    options = ("--vfs-cache-mode", "off", "--dir-cache-time", "1h", "--copy-links", "-q")
    server = subprocess.Popen(
        [program, "serve", "s3", "--auth-key", "TESTKEY,TESTSECRET", "--addr", address, *options, root],
        stderr=subprocess.DEVNULL,
    )
    environment = {**_RCLONE_KEYS, "AWS_ENDPOINT_URL": f"http://{address}"}
    try:
        time.sleep(3)
        run_baseline("list_s3", environment["AWS_ENDPOINT_URL"], **environment)
        yield environment
    finally:
        server.terminate()
        server.wait()
