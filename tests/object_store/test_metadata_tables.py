"""Tables of S3 Metadata stand in for listings: the current objects alone, nothing undone, nothing half believed."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from conftest import Chest
from faulty import serve_faulty
from inventories import answers, inventory_address, write_inventory
from metadata_tables import (
    JOURNAL,
    build_rows,
    delete_by_position,
    to_arrow,
    write_iceberg,
    write_parquet,
    write_s3_table,
)
from pyarrow import parquet
from servers import S3

import warehouse
from warehouse.errors import SourceError, UsageError
from warehouse.ingest import RefreshResult
from warehouse.object_store.base import Bucket
from warehouse.object_store.inventory import InventoryBucket
from warehouse.object_store.listed import open_listed
from warehouse.object_store.metadata_tables import MetadataTableBucket
from warehouse.object_store.s3 import S3Bucket
from warehouse.settings import Settings
from warehouse.synthetic import make_bucket

RECORD = b'{"Pseudonym": "x", "SwabStatus": "Negative", "SubmittingCentre": "Leeds"}'


def key(patient: int) -> str:
    return f"training/Covid{patient}/data/2020-03-01/data.json"


def refresh(bucket: str, lake: Path, address: str, **more: Any) -> RefreshResult:
    return warehouse.refresh(f"s3://{bucket}", str(lake), settings=Settings(inventory=address), **more)


def open_by(bucket: str, address: str) -> Bucket:
    return open_listed(f"s3://{bucket}", Settings(inventory=address))


def sizes(bucket: Bucket) -> dict[str, int]:
    rows = [row for batch in bucket.listing() for row in batch.to_pylist()]
    assert len({row["key"] for row in rows}) == len(rows)
    return {row["key"]: row["size"] for row in rows}


def keys(lake: Path) -> set[str]:
    with warehouse.open(str(lake)) as wh:
        return {found for (found,) in wh.sql("select key from raw.objects").fetchall()}


@pytest.fixture(scope="module")
def sample(server: S3, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bucket of invented patients, with odd keys and an object of several parts, and a lake by listing it."""
    root = tmp_path_factory.mktemp("metadata")
    make_bucket(root / "bucket", 6)
    server.upload(root / "bucket", "sample")
    server.put("sample", dict.fromkeys(("a b+c%20d.txt", "ünï/代.txt", "training/", key(77)), RECORD))
    client = server.client()
    upload = client.create_multipart_upload(Bucket="sample", Key=key(78))["UploadId"]
    where = {"Bucket": "sample", "Key": key(78), "UploadId": upload}
    part = client.upload_part(**where, PartNumber=1, Body=RECORD)["ETag"]
    client.complete_multipart_upload(**where, MultipartUpload={"Parts": [{"ETag": part, "PartNumber": 1}]})
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        warehouse.refresh("s3://sample", str(root / "listed"))
    return root


@pytest.fixture(scope="module")
def expected(sample: Path) -> dict[str, Any]:
    return answers(sample / "listed")


def by_arn(s3: S3, rows: list[dict[str, Any]], folder: Path) -> str:
    return write_s3_table(s3, rows)


def by_metadata_file(s3: S3, rows: list[dict[str, Any]], folder: Path) -> str:
    return write_iceberg(s3, rows).metadata_location


def in_folder(s3: S3, rows: list[dict[str, Any]], folder: Path) -> str:
    return write_iceberg(s3, rows, folder).metadata_location.removeprefix("file://")


def by_parquet(s3: S3, rows: list[dict[str, Any]], folder: Path) -> str:
    return write_parquet(rows, folder)


def by_parquet_on_s3(s3: S3, rows: list[dict[str, Any]], folder: Path) -> str:
    write_parquet(rows, folder)
    prefix = f"{folder.parent.name}/table"
    s3.put("exports", {f"{prefix}/{path.name}": path.read_bytes() for path in folder.iterdir()})
    return f"s3://exports/{prefix}/*.parquet"


WAYS = [by_arn, by_metadata_file, in_folder, by_parquet, by_parquet_on_s3]
Way = Callable[[S3, list[dict[str, Any]], Path], str]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_answers_are_those_of_a_listing(
    s3: S3, sample: Path, expected: dict[str, Any], new_lake: Path, tmp_path: Path, way: Way
) -> None:
    done = refresh("sample", new_lake, way(s3, build_rows(s3, "sample"), tmp_path / "table"))
    assert done.objects.listed == len(expected["objects"])
    assert done.objects.note.startswith("listed by the S3 Metadata table of ")
    assert answers(new_lake) == expected
    assert any("-" in etag for _, _, etag, *_ in expected["objects"])


@pytest.mark.slow
def test_going_over_to_a_table_and_back_changes_nothing(s3: S3, sample: Path, tmp_path: Path) -> None:
    lake = shutil.copytree(sample / "listed", tmp_path / "lake")
    address = by_metadata_file(s3, build_rows(s3, "sample"), tmp_path)
    for again in (refresh("sample", lake, address), warehouse.refresh("s3://sample", str(lake))):
        assert (again.objects.added, again.objects.changed, again.objects.removed) == (0, 0, 0)


@pytest.mark.parametrize("way", [in_folder, by_parquet], ids=lambda way: way.__name__)
def test_only_current_versions_are_objects(s3: S3, tmp_path: Path, way: Way) -> None:
    s3.put("versions", {key(patient): RECORD for patient in range(4)})
    rows = []
    for place, row in enumerate(build_rows(s3, "versions")):
        now = {**row, "version_id": "v2", "sequence_number": "80b"}
        older = {**row, "version_id": "null", "sequence_number": "80a", "size": 1, "e_tag": "old"}
        gone = {**row, "key": f"{row['key']}.gone", "version_id": "v3", "sequence_number": "80c"}
        marker = {**gone, "version_id": "v4", "sequence_number": "80d", "size": None, "e_tag": None}
        marker |= {"is_delete_marker": True, "last_modified_date": None}
        rows += [now, older, marker, gone] if place % 2 else [older, now, gone, marker]
    found = sizes(open_by("versions", way(s3, rows, tmp_path / "table")))
    assert found == {key(patient): len(RECORD) for patient in range(4)}


def test_rows_deleted_from_the_table_are_no_objects(s3: S3, tmp_path: Path) -> None:
    s3.put("deleted", {key(patient): RECORD for patient in range(6)})
    table = write_iceberg(s3, build_rows(s3, "deleted"), tmp_path)
    table.delete(f"key = '{key(1)}'")  # writes the file anew
    delete_by_position(table, tmp_path, key(4))  # merges on read
    address = table.refresh().metadata_location.removeprefix("file://")
    assert {*sizes(open_by("deleted", address))} == {key(patient) for patient in (0, 2, 3, 5)}


@pytest.mark.slow
def test_what_the_table_lacks_is_looked_up(s3: S3, new_lake: Path, tmp_path: Path) -> None:
    s3.put("lacking", {key(patient): RECORD for patient in range(12)})
    rows = build_rows(s3, "lacking")
    for place, name in enumerate(("size", "e_tag", "last_modified_date")):
        rows[place][name] = None
    rows.append({**rows[0], "key": key(99), "sequence_number": "80f"})  # in the table, and gone since
    assert refresh("lacking", new_lake, write_parquet(rows, tmp_path / "table")).objects.listed == 12
    plain = warehouse.refresh("s3://lacking", str(new_lake)).objects
    assert (plain.added, plain.changed, plain.removed) == (0, 0, 0)
    rows = [{**rows[0], "key": f"{place}.txt", "sequence_number": f"81{place}"} for place in range(1001)]
    with pytest.raises(SourceError, match="lacks the size, etag or time of over 1,000 objects"):
        refresh("lacking", new_lake, write_parquet(rows, tmp_path / "other"))


def test_what_the_table_lacks_of_a_part_is_looked_up_whatever_it_lacks_elsewhere(s3: S3, tmp_path: Path) -> None:
    """A source below a prefix: an object that was not looked up would count as removed."""
    s3.put("part", {key(patient): RECORD for patient in range(3)})
    rows = build_rows(s3, "part")
    rows[1]["e_tag"] = None
    elsewhere = [{**rows[1], "key": f"a/{place}.txt", "sequence_number": f"81{place}"} for place in range(1001)]
    found = sizes(open_by("part/training", write_parquet([*elsewhere, *rows], tmp_path / "table")))
    assert found == {key(patient).removeprefix("training/"): len(RECORD) for patient in range(3)}


@pytest.mark.slow
def test_what_was_learnt_after_it_is_not_undone(s3: S3, new_lake: Path, tmp_path: Path) -> None:
    s3.put("after", {key(patient): RECORD for patient in range(20)})
    address = by_metadata_file(s3, build_rows(s3, "after"), tmp_path)
    assert refresh("after", new_lake, address).objects.added == 20
    s3.put("after", {key(50): RECORD, key(3): RECORD + b" "})
    s3.client().delete_object(Bucket="after", Key=key(4))
    learnt = warehouse.refresh("s3://after", str(new_lake)).objects
    assert (learnt.added, learnt.changed, learnt.removed) == (1, 1, 1)
    newest = keys(new_lake)
    again = refresh("after", new_lake, address).objects  # a state of the table from before
    assert (again.added, again.changed, again.removed) == (0, 0, 0)
    assert keys(new_lake) == newest


@pytest.mark.slow
def test_a_table_that_is_behind_does_not_undo_what_was_listed_shortly_before_its_state(
    s3: S3, new_lake: Path, tmp_path: Path
) -> None:
    """S3 brings the table up to date within about an hour: its newest state may lack what is older than it."""
    s3.put("behind", {key(patient): RECORD for patient in range(20)})
    rows = build_rows(s3, "behind")
    s3.put("behind", {key(50): RECORD})
    assert warehouse.refresh("s3://behind", str(new_lake)).objects.added == 21
    assert refresh("behind", new_lake, by_metadata_file(s3, rows, tmp_path)).objects.removed == 0
    assert key(50) in keys(new_lake)


@pytest.mark.slow
def test_a_table_that_lacks_most_objects_removes_nothing(s3: S3, new_lake: Path, tmp_path: Path) -> None:
    s3.put("filling", {key(patient): RECORD for patient in range(20)})
    whole = write_parquet(build_rows(s3, "filling"), tmp_path / "whole")
    assert refresh("filling", new_lake, whole).objects.added == 20
    part = write_parquet(build_rows(s3, "filling")[:10], tmp_path / "part")
    later = (datetime.now(UTC) + timedelta(hours=2, minutes=30)).timestamp()
    for path in (tmp_path / "part").iterdir():
        os.utime(path, (later, later))
    with pytest.raises(warehouse.errors.RemovalsError, match="the listing lacks 10 of the 20 objects"):
        refresh("filling", new_lake, part)
    assert len(keys(new_lake)) == 20


@pytest.mark.slow
def test_a_part_of_the_bucket_is_listed_directly(s3: S3, new_lake: Path, tmp_path: Path) -> None:
    s3.put("parts", {key(patient): RECORD for patient in range(3)})
    address = write_parquet(build_rows(s3, "parts"), tmp_path / "table")
    s3.put("parts", {key(9): RECORD})
    done = refresh("parts", new_lake, address, prefix="training/Covid9/")
    assert (done.objects.listed, done.objects.note) == (1, "")


def test_a_source_below_a_prefix_takes_its_part(s3: S3, tmp_path: Path) -> None:
    s3.put("sites", {f"leeds/{key(1)}": RECORD, f"leeds-old/{key(2)}": RECORD, f"leeds/{key(3)}": RECORD})
    rows = build_rows(s3, "sites")
    for row in rows:
        if row["key"].endswith(key(3)):
            row["size"] = None
    found = open_by("sites/leeds", write_parquet(rows, tmp_path / "table"))
    assert sizes(found) == dict.fromkeys((key(1), key(3)), len(RECORD))


def test_a_journal_is_refused(s3: S3, tmp_path: Path) -> None:
    s3.put("journal", {key(1): RECORD})
    now = datetime.now(UTC).replace(tzinfo=None)
    rows = [{**row, "record_type": "CREATE", "record_timestamp": now} for row in build_rows(s3, "journal")]
    tables = (
        write_iceberg(s3, rows, schema=JOURNAL).metadata_location,
        write_parquet(rows, tmp_path / "table", schema=JOURNAL),
    )
    for address in tables:
        with pytest.raises(SourceError, match="is a journal table: its records begin when it was configured"):
            refresh("journal", tmp_path / "lake", address)
    assert not (tmp_path / "lake").exists()


@pytest.mark.slow
def test_rows_of_another_bucket_are_refused(s3: S3, new_lake: Path, tmp_path: Path) -> None:
    s3.put("mine", {key(1): RECORD})
    warehouse.refresh("s3://mine", str(new_lake))
    rows = build_rows(s3, "mine")
    rows.append({**rows[0], "bucket": "other", "key": key(2)})
    with pytest.raises(SourceError, match=r"has 1 rows of another bucket \(other\) than mine"):
        refresh("mine", new_lake, write_parquet(rows, tmp_path / "table"))
    assert keys(new_lake) == {key(1)}


def test_an_unusable_table_states_the_remedy(s3: S3, tmp_path: Path) -> None:
    s3.put("wrong", {key(1): RECORD})
    rows, lake = build_rows(s3, "wrong"), tmp_path / "lake"
    folder = tmp_path / "table"
    address = write_parquet(rows, folder)
    old = (datetime.now(UTC) - timedelta(days=10)).timestamp()
    os.utime(folder / "part-0.parquet", (old, old))
    with pytest.raises(SourceError, match="more than 9 days ago"):
        refresh("wrong", lake, address)
    parquet.write_table(to_arrow(rows).drop_columns(["e_tag", "size"]), folder / "part-0.parquet")
    with pytest.raises(SourceError, match="is not a live inventory table: it has no size, e_tag"):
        refresh("wrong", lake, address)
    (folder / "part-0.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(SourceError, match=r"part-0\.parquet cannot be read"):
        refresh("wrong", lake, address)
    with pytest.raises(SourceError, match="there is no such file"):
        refresh("wrong", lake, f"{tmp_path}/x-*.parquet")
    with pytest.raises(SourceError, match=r"cannot be read: .*Nothing was changed"):
        refresh("wrong", lake, "s3://tables/none/00001-x.metadata.json")
    with pytest.raises(SourceError, match="has no data yet"):
        refresh("wrong", lake, write_iceberg(s3, []).metadata_location)
    with pytest.raises(UsageError, match="is not a table"):
        refresh("wrong", lake, "arn:aws:s3tables:eu-west-2:111122223333:bucket/aws-s3")
    with pytest.raises(SourceError, match="s3tables:GetTableMetadataLocation"):
        refresh("wrong", lake, "arn:aws:s3tables:us-east-1:123456789012:bucket/aws-s3/b_wrong/inventory")
    assert not lake.exists()


@pytest.mark.slow
def test_a_file_that_is_lost_leaves_the_lake_as_it_was(s3: S3, new_lake: Path, tmp_path: Path) -> None:
    s3.put("lost", {key(patient): RECORD for patient in range(4)})
    warehouse.refresh("s3://lost", str(new_lake))
    address = in_folder(s3, build_rows(s3, "lost")[:1], tmp_path / "table")
    for path in (tmp_path / "table").rglob("*.parquet"):
        path.unlink()
    with pytest.raises(SourceError, match="cannot be read"):
        refresh("lost", new_lake, address)
    assert len(keys(new_lake)) == 4


def answer_status(status: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answer as S3 does when it is asked for the state of a bucket's metadata tables."""
    within = (
        "GetBucketMetadataConfigurationResult",
        "MetadataConfigurationResult",
        "InventoryTableConfigurationResult",
    )
    body = f"<TableStatus>{status}</TableStatus>"
    for name in reversed(within):
        body = f"<{name}>{body}</{name}>"

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/xml")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body.encode())

    return answer


def put_elsewhere(s3: S3, address: str, where: Path) -> str:
    """Put the metadata file of a table where none of its files are: another bucket, or another folder."""
    if address.startswith("s3://"):
        bucket, _, name = address.removeprefix("s3://").partition("/")
        text = s3.client().get_object(Bucket=bucket, Key=name)["Body"].read()
        s3.put("theirs", {"metadata/1.metadata.json": text})
        return "s3://theirs/metadata/1.metadata.json"
    where.mkdir()
    shutil.copy(address.removeprefix("file://"), where / "1.metadata.json")
    return str(where / "1.metadata.json")


@pytest.mark.slow
@pytest.mark.parametrize("is_local", [False, True], ids=["bucket", "folder"])
def test_a_table_that_names_files_elsewhere_has_none_of_them_read(s3: S3, tmp_path: Path, is_local: bool) -> None:
    """They would be opened with the credentials of whoever refreshes, or be files of that machine."""
    bucket = f"elsewhere-{is_local}".lower()
    s3.put(bucket, {key(1): RECORD})
    table = write_iceberg(s3, build_rows(s3, bucket), tmp_path / "table" if is_local else None)
    assert refresh(bucket, tmp_path / "lake", table.metadata_location).objects.added == 1
    address = put_elsewhere(s3, table.metadata_location, tmp_path / "theirs")
    with pytest.raises(SourceError, match="is not where the table is"):
        refresh(bucket, tmp_path / "lake", address)


@pytest.mark.slow
@pytest.mark.parametrize(
    "spelling", ["../theirs", "x/../../theirs", "x?/../../theirs", "x#/../../theirs", "./../theirs"]
)
@pytest.mark.parametrize("is_local", [False, True], ids=["bucket", "folder"])
def test_no_spelling_of_a_name_leads_out_of_where_the_table_is(
    s3: S3, tmp_path: Path, is_local: bool, spelling: str
) -> None:
    """pyarrow resolves dots in the names of objects, and pyiceberg takes a `?` of a path for a part of a name."""
    s3.put("spelt", {key(1): RECORD})
    table = write_iceberg(s3, build_rows(s3, "spelt"), tmp_path / "table" if is_local else None)
    place, text = table.metadata_location, table.metadata.model_dump(mode="json", by_alias=True)
    for snapshot in text["snapshots"]:
        name = snapshot["manifest-list"]
        if is_local:
            (tmp_path / "theirs").mkdir(exist_ok=True)
            shutil.copy(name.removeprefix("file://"), tmp_path / "theirs/list.avro")
            snapshot["manifest-list"] = f"{tmp_path}/table/{spelling}/list.avro"
        else:
            found = s3.client().get_object(Bucket="tables", Key=name.removeprefix("s3://tables/"))["Body"].read()
            s3.put("theirs", {"list.avro": found})
            snapshot["manifest-list"] = f"s3://tables/{spelling}/list.avro"
    if is_local:
        Path(place.removeprefix("file://")).write_text(json.dumps(text))
    else:
        s3.put("tables", {place.removeprefix("s3://tables/"): json.dumps(text).encode()})
    with pytest.raises(SourceError, match=r"is not where the table is|does not exist|No such file"):
        refresh("spelt", tmp_path / "lake", place)


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("spelling", ["file://{path}", "{path}", "s3://{path}"])
def test_a_server_leads_nobody_to_a_table_of_their_own_machine(
    s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spelling: str
) -> None:
    s3.put("served", {key(1): RECORD})
    rows = build_rows(s3, "served")
    place = spelling.format(path=in_folder(s3, rows, tmp_path / "table"))

    def answer(handler: BaseHTTPRequestHandler) -> None:
        body = json.dumps({"versionToken": "1", "metadataLocation": place, "warehouseLocation": "s3://x"}).encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with serve_faulty(s3) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.s3.endpoint)
        proxy.fail(answer, when=lambda path: "metadata-location" in path)
        with pytest.raises(SourceError, match="is not on S3, according to the server"):
            refresh("served", tmp_path / "lake", by_arn(s3, rows, tmp_path))


def test_a_pipe_is_no_file_of_a_table(s3: S3, tmp_path: Path) -> None:
    s3.put("piped", {key(1): RECORD})
    table = write_iceberg(s3, build_rows(s3, "piped"), tmp_path / "table")
    for path in (tmp_path / "table").rglob("snap-*.avro"):
        path.unlink()
        os.mkfifo(path)
    with pytest.raises(SourceError, match="is not where the table is"):
        refresh("piped", tmp_path / "lake", table.metadata_location.removeprefix("file://"))


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [(4_000_000_000_000, "which is yet to come"), (10**15, "cannot be read"), (10**17, "cannot be read")],
)
def test_a_table_of_a_time_that_is_yet_to_come_is_refused(
    s3: S3, tmp_path: Path, milliseconds: int, words: str
) -> None:
    """What the lake has learnt meanwhile would be undone."""
    s3.put("ahead", {key(1): RECORD})
    place = write_iceberg(s3, build_rows(s3, "ahead"), tmp_path / "table").metadata_location.removeprefix("file://")
    text = json.loads(Path(place).read_text())
    for snapshot in text["snapshots"]:
        snapshot["timestamp-ms"] = milliseconds
    Path(place).write_text(json.dumps(text))
    with pytest.raises(SourceError, match=words):
        refresh("ahead", tmp_path / "lake", place)


@pytest.mark.slow
def test_a_table_that_s3_is_filling_is_refused(
    s3: S3, monkeypatch: pytest.MonkeyPatch, new_lake: Path, tmp_path: Path
) -> None:
    s3.put("backfilled", {key(1): RECORD})
    address = by_arn(s3, build_rows(s3, "backfilled"), tmp_path)
    with serve_faulty(s3) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.s3.endpoint)
        proxy.fail(answer_status("BACKFILLING"), when=lambda path: "metadataConfiguration" in path)
        with pytest.raises(SourceError, match=r"not complete yet \(status BACKFILLING\)"):
            refresh("backfilled", new_lake, address)
        proxy.fail(answer_status("ACTIVE"), when=lambda path: "metadataConfiguration" in path)
        assert refresh("backfilled", new_lake, address).objects.added == 1
        assert proxy.failed == 1


def test_several_sources_have_each_their_table_inventory_or_none(s3: S3, tmp_path: Path) -> None:
    for bucket in ("one", "two", "three"):
        s3.put(bucket, {key(1): RECORD})
    write_inventory(s3, "two", "CSV")
    table = write_parquet(build_rows(s3, "one"), tmp_path / "table")
    settings = Settings(
        sources="a=s3://one b=s3://two c=s3://three", inventory=f"one={table} {inventory_address('two')}"
    )
    found = [type(open_listed(f"s3://{bucket}", settings)) for bucket in ("one", "two", "three")]
    assert found == [MetadataTableBucket, InventoryBucket, S3Bucket]
    with pytest.raises(UsageError, match="is the inventory of the bucket one, not of three"):
        open_listed("s3://three", replace(settings, sources=""))


def test_the_command_reports_the_age_of_the_table(s3: S3, new_lake: Path, here: Chest, tmp_path: Path) -> None:
    s3.put("dated", {key(1): RECORD})
    address = write_parquet(build_rows(s3, "dated"), tmp_path / "table")
    done = here("refresh", "s3://dated", "--lake", new_lake, "--inventory", address, "-q")
    assert done.returncode == 0, done.stderr
    assert "Listed by the S3 Metadata table of " in done.stdout + done.stderr
