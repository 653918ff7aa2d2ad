"""Measures cohorts and manifests: what is asked of a lake that is there, each beside its baseline."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import duckdb

import warehouse
from benchmarks.measure import measure_pairs, run_baseline, run_chest
from benchmarks.results import Row
from warehouse.api import Warehouse
from warehouse.catalog import columns, public_views
from warehouse.cleaning import tables
from warehouse.cohorts import binding
from warehouse.cohorts.split import Split
from warehouse.engine import sql_files
from warehouse.lake import store
from warehouse.query import macros

_ALL_IMAGES = Path(__file__).with_name("all_images.sql")
_ALL_STUDIES = Path(__file__).with_name("all_studies.sql")
#: What a cohort that cannot go without is given.
GIVEN: dict[str, dict[str, list[str]]] = {
    "prior_data": {"patients": [f"Covid{number}" for number in range(1, 201)]},
    "external_validation": {"centres": sorted({row["centre"] for row in tables.read_rows("site_units")})},
}
#: The most times the seconds of flat Parquet that a cohort should take, of those that are watched.
_AIMS = {"ventilation": 2, "longitudinal_ct": 2}
#: Objects that boto3 fetches one by one, and about how many of them the manifest that is downloaded has.
_ONE_BY_ONE, _DOWNLOADED = "1500", 8000


def measure_shipped(lake_folder: Path, rounds: int) -> list[Row]:
    """Each shipped cohort, beside its own SQL at flat Parquet files of the two tables, under the same views."""
    rows = []
    with warehouse.open(str(lake_folder)) as wh, _open_flat(wh, lake_folder.with_name("flat")) as con:
        for name in list_names():
            cohort = wh.cohort(name, **GIVEN.get(name, {}))
            query, values = cohort.definition.bound_sql, cohort.values
            ours, by_hand = measure_pairs(
                lambda name=name: wh.cohort(name, **GIVEN.get(name, {})).rows,  # type: ignore[misc]
                lambda query=query, values=values: con.execute(query, values).to_arrow_table(),  # type: ignore[misc]
                rounds,
            )
            most = _AIMS.get(name, 3)
            baseline = "the same SQL, flat Parquet"
            rows.append(Row(f"cohort `{name}`", "s", ours, baseline, by_hand, f"value < 1 and ratio <= {most}"))
    return rows


def list_names() -> list[str]:
    """The names of the shipped cohorts."""
    return [Path(name).stem for name in sql_files.list_files("cohorts")]


@contextmanager
def _open_flat(wh: Warehouse, folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A plain DuckDB over one flat Parquet file for each of the three tables, with the views of sql/views."""
    folder.mkdir(exist_ok=True)
    with duckdb.connect() as con:
        con.execute("set TimeZone = 'UTC'; set variable group_name = 'training'")
        con.execute(f"attach ':memory:' as {store.ALIAS}; use {store.ALIAS}")
        for schema in sorted({table.name.partition(".")[0] for table in columns.list_tables()}):
            con.execute(f"create schema {schema}")
        con.execute("create table core.dicom_attributes (keyword varchar, tag varchar)")
        for table in columns.list_tables():
            name = table.name
            if name in ("core.images", "core.clinical", "core.clinical_issues"):
                path = folder / f"{name.partition('.')[2]}.parquet"
                wh.con.sql(f"from {store.ALIAS}.{name}").write_parquet(str(path))
                con.execute(f"create view {name} as from '{path}'")
            else:
                con.execute(f"create table {name} ({columns.render_columns(columns.load_relations()[name])})")
        for view in public_views.VIEW_ORDER:
            con.execute(public_views.render_view(view))
        macros.create_macros(con, binding.MACROS)
        yield con


def measure_volumes(lake_folder: Path, rounds: int) -> list[Row]:
    """The geometry of all CT series, beside sorting their slices by position alone, at a flat Parquet file."""
    with warehouse.open(str(lake_folder)) as wh, _open_flat(wh, lake_folder.with_name("flat")) as con:
        query = "select SeriesInstanceUID, is_volume from volume_geometry where Modality = 'CT'"
        plain = Path(__file__).with_name("sorted_slices.sql").read_text()
        ours, by_hand = measure_pairs(
            lambda: wh.sql(query).to_arrow_table(), lambda: con.execute(plain).to_arrow_table(), rounds
        )
        ((number,),) = wh.sql("select count(*) from volume_geometry where Modality = 'CT'").fetchall()
    what = f"`volume_geometry`, {number:,} CT series"
    return [Row(what, "s", ours, "slices sorted, flat Parquet", by_hand, "value < 5")]


def measure_table1(lake_folder: Path, rounds: int) -> list[Row]:
    """Table 1 of all patients by COVID-19 status, beside the frame that tableone would be given: a join in pandas."""
    flat = lake_folder.with_name("flat")
    with warehouse.open(str(lake_folder)) as wh, _open_flat(wh, flat):
        for view in ("images", "patients", "clinical", "admissions"):
            wh.con.sql(f"from {store.ALIAS}.main.{view}").write_parquet(str(flat / f"view_{view}.parquet"))
        cohort = wh.cohort(_ALL_IMAGES)
        number = len(set(cohort.rows["patient_id"].to_pylist()))
        ours, by_hand = measure_pairs(lambda: cohort.table1("covid_status"), lambda: _describe_by_hand(flat), rounds)
    what = f"`table1` of {number:,} patients"
    return [Row(what, "s", ours, "pandas, flat Parquet", by_hand, "value < 2")]


def _describe_by_hand(flat: Path) -> None:
    """Counts by status of what is described, from the same views as flat Parquet files."""
    import pandas as pd

    images = pd.read_parquet(flat / "view_images.parquet", columns=["patient_id", "Modality", "vendor"])
    frame = pd.read_parquet(flat / "view_patients.parquet").set_index("patient_id")
    for name in ("Modality", "vendor"):
        frame[name] = images.groupby("patient_id")[name].agg(lambda values: " + ".join(sorted(set(values.dropna()))))
    clinical = pd.read_parquet(flat / "view_clinical.parquet").set_index("patient_id")
    frame = frame.join(clinical[["cxr_severity", "news2_score_on_arrival"]])
    stays = pd.read_parquet(flat / "view_admissions.parquet").set_index("patient_id")
    frame = frame.join(stays[["is_admission_dated", "was_in_itu", "was_intubated", "has_died"]])
    names = ["sex", "ethnicity", "centre", "Modality", "vendor", "cxr_severity", "news2_score_on_arrival"]
    for name in [*names, "is_admission_dated", "was_in_itu", "was_intubated", "has_died"]:
        pd.crosstab(frame[name], frame["covid_status"], dropna=False)
    frame.groupby("covid_status")["age"].describe()


def measure_split(lake_folder: Path, rounds: int) -> list[Row]:
    """All studies split, with two hold-outs and the balance of three columns, beside the cohort alone."""
    rule = Split(
        seed=1, hold_out_centres=(GIVEN["external_validation"]["centres"][0],), hold_out_after=date(2020, 12, 31)
    )
    with warehouse.open(str(lake_folder)) as wh:

        def ours() -> None:
            wh.cohort(_ALL_STUDIES).split(rule).sides(balance=["covid_status", "sex", "age"])

        split, alone = measure_pairs(ours, lambda: wh.cohort(_ALL_STUDIES).rows, rounds)
        number = wh.cohort(_ALL_STUDIES).rows.num_rows
    what = f"split of {number:,} studies, with balance and two hold-outs"
    return [Row(what, "s", split, "the cohort alone", alone, "value < 2")]


def measure_attrition(lake_folder: Path, rounds: int) -> list[Row]:
    """The attrition of each cohort, beside the cohort alone."""
    found = []
    with warehouse.open(str(lake_folder)) as wh:
        for name in list_names():
            given = GIVEN.get(name, {})
            ours, alone = measure_pairs(
                lambda name=name, given=given: wh.cohort(name, **given).attrition(),  # type: ignore[misc]
                lambda name=name, given=given: wh.cohort(name, **given).rows,  # type: ignore[misc]
                rounds,
            )
            found.append(Row(f"attrition of `{name}`", "s", ours, "the cohort alone", alone, "ratio < 2"))
    return found


def measure_export(lake_folder: Path, rounds: int) -> list[Row]:
    """The manifest of all images, beside a COPY of the same rows to the same two files."""
    flat, target = lake_folder.with_name("flat"), lake_folder.with_name("manifest")
    query = Path(__file__).with_name("all_images_copy.sql").read_text()
    with warehouse.open(str(lake_folder)) as wh, duckdb.connect() as con:
        for view in ("images", "patients"):
            wh.con.sql(f"from {store.ALIAS}.main.{view}").write_parquet(str(flat / f"view_{view}.parquet"))
            con.execute(f"create view {view}_flat as from '{flat / f'view_{view}.parquet'}'")

        def ours() -> None:
            shutil.rmtree(target, ignore_errors=True)
            wh.cohort(_ALL_IMAGES).export(target)

        def by_hand() -> None:
            con.execute(f"create or replace temp table rows as {query}")
            con.execute(f"copy rows to '{flat / 'rows.csv'}' (format csv, header)")
            con.execute(f"copy rows to '{flat / 'rows.parquet'}' (format parquet, compression zstd)")

        seconds, plain = measure_pairs(ours, by_hand, rounds)
        number = con.execute("select count(*) from rows").fetchone()
    assert number is not None
    what = f"export of all images, {number[0]:,} objects"
    return [Row(what, "s", seconds, "COPY to CSV and Parquet", plain, "ratio <= 2")]


def measure_verify(bucket: Path, lake_folder: Path, rounds: int) -> list[Row]:
    """The manifest of all images held against its bucket, beside listing that bucket."""
    folder = lake_folder.with_name("manifest")
    words = ("manifest", "verify", str(folder), "--lake", str(lake_folder), "-q")
    ours, alone = measure_pairs(lambda: run_chest(*words), lambda: run_baseline("listing", str(bucket)), rounds)
    return [Row("verify of it, from a folder", "s", ours, "listing", alone, "ratio <= 1.5")]


def measure_download(bucket: Path, lake_folder: Path, environment: dict[str, str], rounds: int) -> Iterator[Row]:
    """A manifest downloaded from S3, beside boto3's `download_file` one by one; in a layout; streamed and checked."""
    folder, data = lake_folder.with_name("manifest-s3"), lake_folder.with_name("downloaded")
    shutil.rmtree(folder, ignore_errors=True)
    with warehouse.open(str(lake_folder)) as wh:
        ((patients,),) = wh.sql("from (from patients order by patient_id) select list(patient_id)").fetchall()
        share = max(1, len(patients) * _DOWNLOADED // 2 // _count_images(wh))
        wh.cohort("prior_data", patients=patients[:share]).export(folder)
    endpoint = environment["AWS_ENDPOINT_URL"]
    environment = {**environment, "CHEST_LAKE": str(lake_folder)}

    def download(layout: str) -> float:
        shutil.rmtree(data, ignore_errors=True)
        words = ("manifest", "download", str(folder), "-o", str(data), "-q", "--layout", layout)
        return run_chest(*words, **environment).seconds

    def ask(name: str, *words: str) -> float:
        return float(run_baseline(name, *words, **environment).output)

    rows: dict[str, Row] = {}
    for number in range(rounds):
        # In turn: what comes first finds the disk at rest.
        taken = {}
        for layout in ("keys", _LAYOUT) if number % 2 else (_LAYOUT, "keys"):
            taken[layout] = download(layout)
            if layout == "keys":
                n_files = sum(len(names) for _, _, names in os.walk(data))
        keys, template = taken["keys"], taken[_LAYOUT]
        slow = ask("boto3_one_by_one", str(bucket), endpoint, _ONE_BY_ONE)
        measured = [
            (f"download from S3, {n_files:,} objects", "objects/s", n_files / keys, "boto3, one by one", slow, ">= 4"),
            ("download by a template", "s", template, "by keys", keys, "<= 1.05"),
        ]
        for _ in range(_STREAMS):
            stream, bare = ask("stream_manifest", str(folder), "32"), ask("obstore_threads", str(folder), "32")
            name = "streaming loader, objects checked"
            measured.append((name, "objects/s", stream, "obstore, 32 threads", bare, ">= 0.8"))
        for name, unit, ours, baseline, theirs, target in measured:
            row = rows.setdefault(name, Row(name, unit, [], baseline, [], f"ratio {target}"))
            row.values, row.baseline_values = [*row.values, ours], [*row.baseline_values, theirs]
        yield from rows.values()


#: How often a round streams: that takes a second, in which either side is at times a third faster than at others.
_STREAMS = 4
_LAYOUT = "{patient_id}/{StudyInstanceUID}/{key}"


def _count_images(wh: Warehouse) -> int:
    ((number,),) = wh.sql("select count(*) from images").fetchall()  # fetchone would leave the catalogue locked
    return int(number)
