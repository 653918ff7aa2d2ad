"""What a researcher does today, as plainly and as fast as is fair: the baselines of the benchmarks.

Run as a process of its own (`python -m benchmarks.baselines NAME ARGUMENT …`), each prints one number.
"""

import itertools
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any


def list_header_files(bucket: str) -> Iterator[str]:
    """The image headers of a folder in the dated layout."""
    for folder, _, names in os.walk(f"{bucket}/training"):
        if "/images_metadata/" in folder:
            yield from (f"{folder}/{name}" for name in names)


def pydicom_pandas(bucket: str, count: str) -> float:
    """Headers a second: `pydicom.Dataset.from_json` per file into a pandas frame of the warehouse's own columns."""
    import pandas as pd
    import pydicom

    from warehouse.catalog import columns

    warnings.simplefilter("ignore")  # pydicom has much to say about real headers
    keywords = [column.name for column in columns.list_dicom_columns()]
    paths = list(itertools.islice(list_header_files(bucket), int(count)))
    start = time.perf_counter()
    rows = []
    for path in paths:
        data = pydicom.Dataset.from_json(_drop_null_attributes(json.loads(Path(path).read_bytes())))
        rows.append({keyword: data.get(keyword) for keyword in keywords})
    pd.DataFrame(rows)
    return len(paths) / (time.perf_counter() - start)


def _drop_null_attributes(header: dict[str, Any]) -> dict[str, Any]:
    """pydicom stops at null attributes, which the database's headers have: leave them out."""
    found = {}
    for tag, attribute in header.items():
        if attribute is None or attribute.get("InlineBinary", "") is None:
            continue
        if attribute.get("vr") == "SQ":
            attribute = {
                **attribute,
                "Value": [_drop_null_attributes(item) for item in attribute.get("Value", []) if item],
            }
        found[tag] = attribute
    return found


def ranged_boto3(bucket: str, endpoint: str) -> float:
    """Objects a second: the first 32 kB of each .dcm by boto3 with 32 threads, fetching only."""
    import boto3
    from botocore.config import Config

    client = boto3.client("s3", endpoint_url=endpoint, config=Config(max_pool_connections=32))

    def fetch(key: str) -> int:
        return len(client.get_object(Bucket="bucket", Key=key, Range="bytes=0-32767")["Body"].read())

    return _time_threads(fetch, bucket)


def ranged_obstore(bucket: str, endpoint: str) -> float:
    """The same by obstore, with which a refresh fetches."""
    import obstore

    store = _open_obstore(endpoint, "bucket")
    sizes = {path.relative_to(bucket).as_posix(): path.stat().st_size for path in Path(bucket).rglob("*.dcm")}

    def fetch(key: str) -> int:
        # rclone answers some ranges by all of an object, which obstore takes for an error.
        part: Any = {"range": (0, 32_768)} if sizes[key] > 32_768 else {}
        return len(obstore.get(store, key, options=part).bytes())

    return _time_threads(fetch, bucket)


def _time_threads(fetch: Callable[[str], int], bucket: str) -> float:
    keys = [path.relative_to(bucket).as_posix() for path in Path(bucket).rglob("*.dcm")]
    fetch(keys[0])
    start = time.perf_counter()
    with ThreadPoolExecutor(32) as pool:
        for _ in pool.map(fetch, keys):
            pass
    return len(keys) / (time.perf_counter() - start)


def boto3_threads(bucket: str, endpoint: str, count: str) -> float:
    """Headers a second: boto3 `get_object` with 32 threads, fetching only."""
    import boto3
    from botocore.config import Config

    client = boto3.client("s3", endpoint_url=endpoint, config=Config(max_pool_connections=32))
    keys = [path.removeprefix(f"{bucket}/") for path in itertools.islice(list_header_files(bucket), int(count))]

    def fetch(key: str) -> int:
        return len(client.get_object(Bucket="bucket", Key=key)["Body"].read())

    start = time.perf_counter()
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(fetch, keys))
    return len(keys) / (time.perf_counter() - start)


def boto3_one_by_one(bucket: str, endpoint: str, count: str) -> float:
    """Objects a second: boto3 `download_file`, one after the other."""
    import tempfile

    import boto3

    client = boto3.client("s3", endpoint_url=endpoint)
    keys = [path.removeprefix(f"{bucket}/") for path in itertools.islice(list_header_files(bucket), int(count))]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        for number, key in enumerate(keys):
            client.download_file("bucket", key, f"{folder}/{number}")
        return len(keys) / (time.perf_counter() - start)


def obstore_threads(folder: str, threads: str) -> float:
    """Objects a second: obstore's `get` on as many threads, fetching the objects of a manifest and no more."""
    import obstore
    import polars as pl

    keys = pl.read_parquet(f"{folder}/manifest.parquet", columns=["key"])["key"].to_list()
    store = _open_obstore(os.environ["AWS_ENDPOINT_URL"], "bucket")
    start = time.perf_counter()
    with ThreadPoolExecutor(int(threads)) as pool:
        list(pool.map(lambda key: len(bytes(obstore.get(store, key).bytes())), keys))
    return len(keys) / (time.perf_counter() - start)


def obstore_store(endpoint: str, n_objects: str) -> float:
    """Objects a second: obstore's `get` on 32 threads of what a refresh of the stand-in for S3 fetches, and no more."""
    import obstore

    from benchmarks.synthetic_store import Store

    of, store = Store(int(n_objects)), _open_obstore(endpoint, "chest")
    keys = [of.make_key(number) for number in range(of.n_objects) if of.is_small(number)]
    start = time.perf_counter()
    with ThreadPoolExecutor(32) as pool:
        for _ in pool.map(lambda key: len(bytes(obstore.get(store, key).bytes())), keys):
            pass
    return len(keys) / (time.perf_counter() - start)


def list_s3(endpoint: str) -> float:
    """Objects of a bucket, listed by obstore."""
    import obstore

    return float(sum(len(page) for page in obstore.list(_open_obstore(endpoint, "bucket"), chunk_size=10_000)))


def _open_obstore(endpoint: str, bucket: str) -> Any:
    """The bucket, with keys of the environment."""
    from obstore.store import S3Store

    return S3Store(bucket, endpoint=endpoint, virtual_hosted_style_request=False, client_options={"allow_http": True})


def stream_manifest(folder: str, threads: str) -> float:
    """Ours: objects a second of the streaming loader with as many requests in flight, each object checked."""
    import warehouse
    from warehouse.manifests.loading.streaming import Stream
    from warehouse.settings import Settings

    manifest = warehouse.manifest(folder)
    table = manifest.polars().select("key", "uri", "size", "etag", "patient_id").to_arrow()
    stream = Stream(table, {"s3://bucket": "s3://bucket"}, Settings(), int(threads))
    stream.opened.open(stream.places, stream.settings)  # as the baseline opens its own before the clock starts
    start = time.perf_counter()
    found = sum(1 for _ in stream.iterate(stream.share(0, 1)))
    return found / (time.perf_counter() - start)


def listing(bucket: str) -> float:
    """Seconds to list a folder with its sizes and times, as a process of its own: scandir and stat."""
    found = 0
    folders = [bucket]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    found += entry.stat().st_size >= 0
    return float(found)


if __name__ == "__main__":
    print(globals()[sys.argv[1]](*sys.argv[2:]))
