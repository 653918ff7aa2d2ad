"""chest doctor on files on S3 with a catalogue in PostgreSQL, and on an encrypted lake."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Chest
from servers import S3, serve_postgres

import warehouse
from warehouse.lake import connection, doctor, location
from warehouse.lake.doctor import Kind
from warehouse.lake.listed_files import ListedFile, list_files
from warehouse.settings import Settings
from warehouse.synthetic import make_bucket


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("doctor") / "bucket"
    make_bucket(root, 2)
    return str(root)


def list_live(lake: str) -> dict[str, ListedFile]:
    """The newest file of each table."""
    place = location.parse_address(lake)
    con = connection.connect(Settings(), place)
    connection.attach(con, place, "read_only")
    found = {file.table: file for file in list_files(con, place) if file.is_live and file.kind == "data"}
    con.close()
    return found


def read_rows(lake: str) -> list[str]:
    with warehouse.open(lake) as wh:
        found = wh.group("all")
        return [str(found.sql(f"from {name} order by all").fetchall()) for name in ("images", "clinical", "patients")]


def go_through(
    lake: str, bucket: str, here: Chest, read: Callable[[str], bytes], write: Callable[[str, bytes | None], object]
) -> None:
    """A sound lake has no finding; what is damaged, missing or nobody's is found, repaired, and loaded again."""
    assert doctor.examine(lake).is_healthy
    before, live = read_rows(lake), list_live(lake)
    flipped, cut, gone = (live[table].path for table in ("core.images", "core.clinical", "raw.records"))
    content = bytearray(read(flipped))
    content[len(content) // 2] ^= 1
    write(flipped, bytes(content))
    write(cut, read(cut)[:-10])
    orphan = "raw/objects/ducklake-orphan.parquet"
    write(orphan, read(live["raw.objects"].path))
    write(gone, None)
    found = {one.where: one.kind for one in doctor.examine(lake).findings}
    assert found == {flipped: Kind.DAMAGED, cut: Kind.DAMAGED, gone: Kind.MISSING, orphan: Kind.ORPHAN}
    shown = here("doctor", "--lake", lake)
    assert (shown.returncode, flipped in shown.stdout) == (1, True)
    assert here("doctor", "--repair", "--lake", lake).returncode in (0, 1)
    warehouse.refresh(bucket, lake)
    left = doctor.examine(lake).findings
    assert not [one for one in left if "newest state" in one.what or one.kind is Kind.ORPHAN], left
    assert read_rows(lake) == before


@pytest.mark.slow
def test_a_lake_in_postgresql_with_its_files_on_s3(s3: S3, bucket: str, here: Chest) -> None:
    s3.put("parquet", {"other": b""})
    client = s3.client()

    def read(name: str) -> bytes:
        return bytes(client.get_object(Bucket="parquet", Key=f"lake/{name}")["Body"].read())

    def write(name: str, content: bytes | None) -> object:
        if content is None:
            return client.delete_object(Bucket="parquet", Key=f"lake/{name}")
        return client.put_object(Bucket="parquet", Key=f"lake/{name}", Body=content)

    with serve_postgres() as server:
        server.run("create database chest")
        lake = server.address("chest", "s3://parquet/lake", schema="national")
        warehouse.refresh(bucket, lake)
        go_through(lake, bucket, here, read, write)


@pytest.mark.slow
def test_an_encrypted_lake(tmp_path: Path, bucket: str, here: Chest) -> None:
    lake = tmp_path / "lake"
    warehouse.refresh(bucket, str(lake), settings=Settings(encrypted=1))
    data = lake / "data"

    def write(name: str, content: bytes | None) -> object:
        return (data / name).unlink() if content is None else (data / name).write_bytes(content)

    go_through(str(lake), bucket, here, lambda name: (data / name).read_bytes(), write)
