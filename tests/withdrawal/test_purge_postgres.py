"""A purge of a lake whose catalogue is in PostgreSQL, its files in a folder or on S3: the same answers, and nothing in
its dump, its tables on disk, its planner's statistics, or the bucket with all versions."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Chest
from servers import S3, Postgres, serve_postgres

import warehouse
from warehouse.engine.connections import open_connection
from warehouse.lake import doctor, location, store
from warehouse.settings import Settings
from warehouse.synthetic import make_bucket
from warehouse.withdrawal import changing
from warehouse.withdrawal.purge import purge

GONE = ("Covid2",)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with serve_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("purged") / "bucket"
    make_bucket(root, 3)
    return str(root)


def remove_longer(text: str) -> str:
    return text.replace("Covid20", "").replace("Covid21", "")


def fill(bucket: str, lake: str) -> location.Location:
    """A lake with a deletion, a commit that names a patient, and values in PostgreSQL's statistics."""
    place = location.parse_address(lake)
    warehouse.refresh(bucket, lake)
    with store.open_writer(place, Settings()) as con:
        work = "update core.images set dcm_size = 1 where patient_id in ('Covid1', 'Covid2')"
        store.transact(con, "edit of Covid2", lambda: con.execute(work), published=True)
    changing.withdraw(place, Settings(), GONE)
    return place


def require_nothing_in_postgres(server: Postgres, database: str) -> None:
    assert "Covid2" not in remove_longer(server.dump(database))
    assert "Covid2" not in remove_longer(server.run("select string_agg(s::text, ' ') from pg_stats s", database))
    server.run("checkpoint", database)
    tables = server.run(
        "select string_agg(pg_relation_filepath(c.oid), ' ') from pg_class c where pg_relation_filepath(c.oid) <> ''",
        database,
    )
    folder = Path(server.run("show data_directory", database))
    for name in tables.split():
        for path in folder.glob(f"{name}*"):
            assert b"Covid2" not in path.read_bytes(), name


def read_published(lake: str) -> dict[int, list[str]]:
    with warehouse.open(lake) as wh:
        published = [s.number for s in store.list_snapshots(wh.con) if s.is_published]
    found = {}
    for number in published:
        with warehouse.open(lake, snapshot=number) as opened:
            wh = opened.group("all")
            rows = [wh.sql(f"from {name}").fetchall() for name in ("images", "clinical", "patients", "core.images")]
            found[number] = sorted(str(row) for each in rows for row in each)
    return found


@pytest.mark.slow
def test_nothing_of_a_purged_patient_is_in_postgresql(postgres: Postgres, bucket: str, tmp_path: Path) -> None:
    postgres.run("create database chest")
    lake = postgres.address("chest", tmp_path / "data", schema="national")
    place = fill(bucket, lake)
    before = read_published(lake)
    postgres.run("analyze", "chest")
    assert "Covid2" in remove_longer(postgres.dump("chest"))
    assert "Covid2" in remove_longer(postgres.run("select string_agg(s::text, ' ') from pg_stats s", "chest"))
    done = purge(place, Settings(), GONE)
    assert done.holds, done.document["findings"]
    assert read_published(lake) == before
    require_nothing_in_postgres(postgres, "chest")
    assert not warehouse.refresh(bucket, lake).objects.added


# Files on S3


def list_versions(client: Any, bucket: str) -> list[tuple[str, bytes]]:
    found = client.list_object_versions(Bucket=bucket, Prefix="lake/")
    return [
        (one["Key"], client.get_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])["Body"].read())
        for one in found["Versions"]
    ]


def find_rows(versions: list[tuple[str, bytes]], folder: Path) -> list[str]:
    """The objects that have the patient in a value or in their bytes."""
    found = []
    for place, (key, content) in enumerate(versions):
        (folder / f"{place}.parquet").write_bytes(content)
        text = content.decode("latin-1")
        if key.endswith(".parquet"):
            text += str(open_connection().execute(f"from '{folder}/{place}.parquet'").fetchall())
        if "Covid2" in remove_longer(text):
            found.append(key)
    return found


def set_retention(client: Any, bucket: str, retention: dict[str, Any]) -> None:
    for one in client.list_object_versions(Bucket=bucket)["Versions"]:
        client.put_object_retention(
            Bucket=bucket,
            Key=one["Key"],
            VersionId=one["VersionId"],
            BypassGovernanceRetention=True,
            Retention=retention,
        )


@pytest.mark.slow
def test_nothing_of_a_purged_patient_is_in_any_version_of_a_bucket(
    postgres: Postgres, s3: S3, bucket: str, tmp_path: Path, here: Chest
) -> None:
    """Versions that the bucket does not let go are stated, and the purge stays due until it does."""
    client = s3.client()
    client.create_bucket(Bucket="parquet", ObjectLockEnabledForBucket=True)
    s3.put("parquet", {"other/file": b"Covid2, and not of the lake"})
    postgres.run("create database remote")
    lake = postgres.address("remote", "s3://parquet/lake", schema="national")
    place = fill(bucket, lake)
    assert doctor.examine(lake).is_healthy
    before = read_published(lake)
    versions = list_versions(client, "parquet")
    held = find_rows(versions, tmp_path)
    assert len(held) >= 5
    client.create_multipart_upload(Bucket="parquet", Key="lake/raw/objects/ducklake-left.parquet")
    # Set aside by a repair, and left by a writer that died.
    rows = next(content for key, content in versions if key == held[0])
    s3.put("parquet", {"lake/raw/objects/old.parquet.damaged": rows, "lake/raw/objects/orphan.parquet": rows})
    odd = ["raw/objects/old.parquet.damaged", "raw/objects/orphan.parquet"]
    found = doctor.examine(lake).findings
    assert [(one.where, one.kind) for one in found] == [(name, doctor.Kind.ORPHAN) for name in odd]

    set_retention(client, "parquet", {"Mode": "GOVERNANCE", "RetainUntilDate": datetime.now(UTC) + timedelta(days=1)})
    refused = here("withdraw", *GONE, "--purge", "--lake", lake, "-q")
    assert (refused.returncode, refused.stdout.splitlines()[0][:16]) == (1, "PURGE NOT PROVEN")
    assert "earlier versions or unfinished uploads of files of the lake are left (AccessDenied)" in refused.stdout
    assert "Covid2" not in refused.stdout
    assert "UNFINISHED a purge" in here("status", "--lake", lake).stdout
    assert doctor.examine(lake).is_healthy, "no version that is left is a file again"
    assert len(find_rows(list_versions(client, "parquet"), tmp_path)) >= len(held)

    set_retention(client, "parquet", {})
    done = purge(place, Settings())
    assert done.holds, done.document["findings"]
    assert find_rows(list_versions(client, "parquet"), tmp_path) == []
    assert done.document["versions"]["removed"] >= len(held)
    assert done.document["versions"]["left"] == 0
    assert f"earlier versions removed: {done.document['versions']['removed']}," in done.render_text()
    assert not client.list_multipart_uploads(Bucket="parquet").get("Uploads")
    assert client.get_object(Bucket="parquet", Key="other/file")["Body"].read() == b"Covid2, and not of the lake"
    assert read_published(lake) == before
    require_nothing_in_postgres(postgres, "remote")
    assert here("doctor", "--lake", lake).returncode == 0
    assert not warehouse.refresh(bucket, lake).objects.added
