"""Measures questions to the lake that a refresh of the sample from a folder has made."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb

import warehouse
from benchmarks import cohorts
from benchmarks.measure import measure_pairs, run_chest, run_process
from benchmarks.refreshes import serve_rclone
from benchmarks.results import Row

_DAY = "2020-12-31"


def measure_cold_start(bucket: Path, lake: Path, rounds: int) -> Iterator[Row]:  # noqa: ARG001 - as the others
    """The shortest question, asked from the command line."""
    ours, bare = measure_pairs(
        lambda: run_chest("sql", "select 1", "--lake", str(lake)),
        lambda: run_process(sys.executable, "-c", "import duckdb"),
        2 * rounds,
    )
    yield Row('`chest sql "select 1"`, cold', "s", ours, "import duckdb", bare, "value <= 0.6")


def measure_point_in_time(bucket: Path, lake: Path, rounds: int) -> Iterator[Row]:  # noqa: ARG001
    """`patients` as of a day over all patients, beside the same typed by hand at flat Parquet files."""
    flat = lake.with_name("flat")
    flat.mkdir(exist_ok=True)
    with warehouse.open(str(lake)) as wh, duckdb.connect() as con:
        for name in ("images", "clinical"):
            wh.con.sql(f"from lake.core.{name}").write_parquet(str(flat / f"{name}.parquet"))
            con.execute(f"create view {name}_flat as from '{flat / name}.parquet'")
        query = Path(__file__).with_name("patients_flat.sql").read_text()
        of_day = wh.as_of(_DAY)
        ours, by_hand = measure_pairs(
            lambda: of_day.patients().to_arrow_table(),
            lambda: con.execute(query, {"day": _DAY}).to_arrow_table(),
            2 * rounds,
        )
    yield Row("`patients` as of a day", "s", ours, "flat Parquet", by_hand, "ratio < 2")


def measure_cohorts(bucket: Path, lake: Path, rounds: int) -> Iterator[Row]:  # noqa: ARG001
    """The shipped cohorts."""
    yield from cohorts.measure_shipped(lake, rounds)


def measure_answers(bucket: Path, lake: Path, rounds: int) -> Iterator[Row]:
    """What is made of cohorts: attrition, tables, splits, manifests."""
    yield from cohorts.measure_volumes(lake, rounds)
    yield from cohorts.measure_table1(lake, rounds)
    yield from cohorts.measure_split(lake, rounds)
    yield from cohorts.measure_attrition(lake, rounds)
    yield from cohorts.measure_export(lake, rounds)
    yield from cohorts.measure_verify(bucket, lake, rounds)


def measure_downloads(bucket: Path, lake: Path, rounds: int) -> Iterator[Row]:
    """A manifest of a lake made from S3, as `refreshes.measure_s3` leaves it."""
    target = lake.with_name("lake-s3")
    with serve_rclone(bucket) as environment:
        if not target.exists():
            run_chest("refresh", "s3://bucket", "--lake", str(target), "-q", **environment)
        yield from cohorts.measure_download(bucket, target, environment, rounds)
