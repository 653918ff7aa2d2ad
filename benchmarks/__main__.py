"""Runs every benchmark and prints a Markdown table: what, measured, baseline, ratio, what it must reach.

    python -m benchmarks [--patients 17700] [--folder .benchmarks] [--million] [--only NAME …]

`--million` adds the memory of a refresh of a million headers (hard links to the sample's, eight groups of it).
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

import warehouse
from benchmarks import cohorts, dicomweb
from benchmarks.measure import Row, measure_medians, render_row, render_table, run_baseline, run_chest, run_process
from warehouse import synthetic

_HEADERS_BASELINE = 3000
_DAY = "2020-12-31"
#: Patients of the bucket of real .dcm files, about six each.
_DCM_PATIENTS = 1_000
#: Who fetches ranges and does nothing else.
_RANGED = {"ranged_boto3": "boto3", "ranged_obstore": "obstore"}
_KEYS = {"AWS_ACCESS_KEY_ID": "TESTKEY", "AWS_SECRET_ACCESS_KEY": "TESTSECRET", "AWS_REGION": "us-east-1"}


def main() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser()
    words.add_argument("--patients", type=int, default=17_700)
    words.add_argument("--folder", type=Path, default=Path(".benchmarks"))
    words.add_argument("--million", action="store_true")
    words.add_argument("--only", nargs="*", metavar="NAME", help="from_folder, again, from_s3, answers, …")
    given = words.parse_args()
    folder = given.folder.resolve()
    bucket = folder / "bucket"
    if not (bucket / "truth.json").exists():
        print(f"making a sample bucket of {given.patients:,} patients …", file=sys.stderr)
        synthetic.make_bucket(bucket, given.patients, stubs=True)
    print(render_table([("what", "measured", "baseline", "ratio", "must reach")]))
    measures = (
        measure_folder,
        measure_second_refresh,
        measure_s3,
        measure_any_bucket,
        measure_point_in_time,
        measure_cold_start,
        measure_answers,
        measure_downloads,
        measure_dicomweb,
    )
    for measure in measures:
        if given.only and measure.__name__ not in given.only:
            continue
        print(f"{measure.__name__} …", file=sys.stderr)
        _print_rows(measure(bucket, folder / "lake"))
    if given.million:
        _print_rows(measure_million(bucket, folder))


def _print_rows(rows: list[Row]) -> None:
    """Print the rows as they are measured, so that what was measured is kept when a later part fails."""
    print("\n".join(render_row(row) for row in rows), flush=True)


def measure_folder(bucket: Path, lake: Path) -> list[Row]:
    """A first refresh from a folder; its memory and the size of the lake."""
    rates, peaks = [], []
    _count_files(bucket)  # both sides find the folder in the system's cache
    reference = float(run_baseline("pydicom_pandas", str(bucket), str(_HEADERS_BASELINE)).output)
    for _ in range(3):
        shutil.rmtree(lake, ignore_errors=True)
        run = run_chest("refresh", str(bucket), "--lake", str(lake), "-q")
        peaks.append(run.peak_mib)
        with warehouse.open(str(lake)) as wh:
            headers = _fetch_one(wh, "select count(*) from images")
        rates.append(headers / run.seconds)
    rate = statistics.median(rates)
    json_bytes = sum(path.stat().st_size for path in bucket.rglob("*.json"))
    lake_bytes = sum(path.stat().st_size for path in lake.rglob("*") if path.is_file())
    return [
        (
            "refresh from a folder, headers/s",
            f"{rate:,.0f}",
            f"{reference:,.0f} (pydicom, pandas)",
            f"{rate / reference:.1f}",
            "≥ 30",
        ),
        (f"peak memory, {headers:,} headers", f"{max(peaks):,.0f} MiB", "", "", "< 1,024 MiB"),
        (
            "lake size",
            f"{lake_bytes / 1e6:,.1f} MB",
            f"{json_bytes / 1e6:,.0f} MB of JSON",
            f"1/{json_bytes / lake_bytes:.1f}",
            "< 1/15",
        ),
    ]


def measure_second_refresh(bucket: Path, lake: Path) -> list[Row]:
    """A second refresh that finds nothing new, beside listing alone."""
    second, alone = measure_medians(
        lambda: run_chest("refresh", str(bucket), "--lake", str(lake), "-q"),
        lambda: run_baseline("listing", str(bucket)),
        6,
    )
    return [
        (
            "second refresh, nothing new",
            f"{second:.2f} s",
            f"{alone:.2f} s (listing)",
            f"{second / alone:.2f}",
            "< 1.5",
        )
    ]


def measure_s3(bucket: Path, lake: Path) -> list[Row]:
    """A first refresh from S3, served by rclone on this machine."""
    with _serve(bucket) as endpoint:
        environment = {**_KEYS, "AWS_ENDPOINT_URL": endpoint}
        reference = float(run_baseline("boto3_threads", str(bucket), endpoint, "8000", **environment).output)
        target = lake.with_name("lake-s3")
        shutil.rmtree(target, ignore_errors=True)
        run = run_chest("refresh", "s3://bucket", "--lake", str(target), "-q", **environment)
        with warehouse.open(str(target)) as wh:
            rate = _fetch_one(wh, "select count(*) from images") / run.seconds
    return [
        (
            "refresh from S3, headers/s",
            f"{rate:,.0f}",
            f"{reference:,.0f} (boto3, 32 threads, fetch only)",
            f"{rate / reference:.1f}",
            "≥ 4",
        )
    ]


def measure_any_bucket(bucket: Path, lake: Path) -> list[Row]:
    """A first refresh of .dcm files without headers from S3, beside fetching the same ranges and doing nothing else."""
    files = bucket.parent / "dcm" / "bucket"
    if not (files / "truth.json").exists():
        synthetic.make_bucket(files, _DCM_PATIENTS)
        for path in files.rglob("*.json"):
            if path.name != "truth.json":
                path.unlink()
    target = lake.with_name("lake-dcm")
    with _serve(files) as endpoint:
        environment = {**_KEYS, "AWS_ENDPOINT_URL": endpoint}
        bare = [float(run_baseline(name, str(files), endpoint, **environment).output) for name in _RANGED]
        shutil.rmtree(target, ignore_errors=True)
        run = run_chest("refresh", "s3://bucket", "--lake", str(target), "--layout", "any", "-q", **environment)
        with warehouse.open(str(target)) as wh:
            rate = _fetch_one(wh, "select count(*) from images") / run.seconds
    return [
        (
            "any bucket from S3, .dcm/s",
            f"{rate:,.0f}",
            f"{reference:,.0f} ({words}, 32 threads, ranged fetch only)",
            f"{reference / rate:.2f}",
            "≤ 2",
        )
        for reference, words in zip(bare, _RANGED.values(), strict=True)
    ]


def measure_dicomweb(bucket: Path, lake: Path) -> list[Row]:  # noqa: ARG001 - as the others
    """DICOMweb beside Orthanc, if that is installed, on a sample of 40 patients and a series of 300 slices."""
    if not all(dicomweb.find_orthanc()):
        print("Orthanc is not installed: DICOMweb is not measured", file=sys.stderr)
        return []
    folder = bucket.parent / "dicomweb-40"
    dicomweb.make_data(folder, 40)
    return dicomweb.measure(folder, 40, 60)


@contextmanager
def _serve(bucket: Path) -> Iterator[str]:
    """The bucket on an S3 server; listed once, so that the server has its own caches filled for both sides."""
    root = bucket.parent / "s3"
    root.mkdir(exist_ok=True)
    if not (root / "bucket").exists():
        (root / "bucket").symlink_to(bucket)
    program = Path(sys.executable).with_name("rclone")
    port = 18_999
    server = subprocess.Popen(
        [
            program,
            "serve",
            "s3",
            "--auth-key",
            "TESTKEY,TESTSECRET",
            "--addr",
            f"127.0.0.1:{port}",
            "--vfs-cache-mode",
            "off",
            "--dir-cache-time",
            "1h",
            "--copy-links",
            "-q",
            root,
        ],
        stderr=subprocess.DEVNULL,
    )
    endpoint = f"http://127.0.0.1:{port}"
    try:
        time.sleep(3)
        import obstore
        from obstore.store import S3Store

        store = S3Store(
            "bucket", endpoint=endpoint, access_key_id="TESTKEY", secret_access_key="TESTSECRET",
            region="us-east-1", virtual_hosted_style_request=False, client_options={"allow_http": True},
        )  # fmt: skip
        for _ in obstore.list(store, chunk_size=10_000):
            pass
        yield endpoint
    finally:
        server.terminate()
        server.wait()


def measure_point_in_time(bucket: Path, lake: Path) -> list[Row]:  # noqa: ARG001
    """`patients` as of a day over all patients, beside the same typed by hand at flat Parquet files."""
    flat = lake.with_name("flat")
    flat.mkdir(exist_ok=True)
    with warehouse.open(str(lake)) as wh, duckdb.connect() as con:
        for name in ("images", "clinical"):
            wh.con.sql(f"from lake.core.{name}").write_parquet(str(flat / f"{name}.parquet"))
            con.execute(f"create view {name}_flat as from '{flat / name}.parquet'")
        query = Path(__file__).with_name("patients_flat.sql").read_text()
        of_day = wh.as_of(_DAY)
        ours, by_hand = measure_medians(
            lambda: of_day.patients().to_arrow_table(),
            lambda: con.execute(query, {"day": _DAY}).to_arrow_table(),
            12,
        )
    return [
        (
            "`patients` as of a day",
            f"{ours * 1000:.0f} ms",
            f"{by_hand * 1000:.0f} ms (flat Parquet)",
            f"{ours / by_hand:.2f}",
            "< 2",
        )
    ]


def measure_cold_start(bucket: Path, lake: Path) -> list[Row]:  # noqa: ARG001
    """The shortest question, asked from the command line."""
    ours, bare = measure_medians(
        lambda: run_chest("sql", "select 1", "--lake", str(lake)),
        lambda: run_process(sys.executable, "-c", "import duckdb"),
        10,
    )
    return [
        (
            '`chest sql "select 1"`, cold',
            f"{ours * 1000:.0f} ms",
            f"{bare * 1000:.0f} ms (import duckdb)",
            f"{ours / bare:.1f}",
            "< 6",
        )
    ]


def measure_answers(bucket: Path, lake: Path) -> list[Row]:
    """Cohorts and manifests of the lake that a refresh from the folder has made."""
    return [
        *cohorts.measure_shipped(lake),
        *cohorts.measure_volumes(lake),
        *cohorts.measure_table1(lake),
        *cohorts.measure_split(lake),
        *cohorts.measure_attrition(lake),
        *cohorts.measure_export(lake),
        *cohorts.measure_verify(bucket, lake),
    ]


def measure_downloads(bucket: Path, lake: Path) -> list[Row]:
    """A manifest of the lake that a refresh from S3 has made."""
    with _serve(bucket) as endpoint:
        environment = {**_KEYS, "AWS_ENDPOINT_URL": endpoint}
        return cohorts.measure_download(bucket, lake.with_name("lake-s3"), endpoint, environment)


def measure_million(bucket: Path, folder: Path) -> list[Row]:
    """Peak memory of a refresh of eight times the sample."""
    large = folder / "bucket-large"
    if not large.exists():
        for number in range(8):
            shutil.copytree(bucket / "training", large / f"training{number}", copy_function=os.link)
    target = folder / "lake-large"
    shutil.rmtree(target, ignore_errors=True)
    run = run_chest("refresh", str(large), "--lake", str(target), "-q")
    with warehouse.open(str(target)) as wh:
        headers = _fetch_one(wh.group("all"), "select count(*) from images")
    return [
        (
            f"peak memory, {headers:,} headers",
            f"{run.peak_mib:,.0f} MiB",
            f"{run.seconds:,.0f} s in all",
            "",
            "within 20 %",
        )
    ]


def _count_files(bucket: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(bucket))


def _fetch_one(wh: warehouse.Warehouse, query: str) -> int:
    (row,) = wh.sql(query).fetchall()
    return int(row[0])


if __name__ == "__main__":
    main()
