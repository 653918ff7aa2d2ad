"""S3 Inventories stand in for listings: the same answers, nothing undone, nothing half believed."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Chest, start_lake
from inventories import CONFIG, PLAIN, answers, build_listing, inventory_address, write_inventory
from servers import S3

import warehouse
from warehouse.errors import SourceError, UsageError
from warehouse.ingest import list_objects, load_clinical, open_run, publish
from warehouse.object_store.inventory import InventoryBucket
from warehouse.object_store.listed import open_listed
from warehouse.object_store.s3 import S3Bucket
from warehouse.settings import Settings
from warehouse.synthetic import make_bucket

RECORD = b'{"Pseudonym": "x", "SwabStatus": "Negative", "SubmittingCentre": "Leeds"}'
VERSIONED = ("Bucket", "Key", "VersionId", "IsLatest", "IsDeleteMarker", "Size", "LastModifiedDate", "ETag")


def key(patient: int, day: int = 1) -> str:
    return f"training/Covid{patient}/data/2020-03-{day:02d}/data.json"


def by_inventory(bucket: str, below: str = "") -> tuple[str, Settings]:
    return f"s3://{bucket}{below}", Settings(inventory=inventory_address(bucket))


def refresh(bucket: str, lake: Path, below: str = "", **more: Any) -> warehouse.RefreshResult:
    source, settings = by_inventory(bucket, below)
    return warehouse.refresh(source, str(lake), settings=settings, **more)


@pytest.fixture(scope="module")
def sample(server: S3, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bucket of invented patients, with odd keys besides, and a lake that was made by listing it."""
    root = tmp_path_factory.mktemp("inventory")
    make_bucket(root / "bucket", 6)
    server.upload(root / "bucket", "sample")
    odd = ("a b+c%20d.txt", "ünï/代.txt", 'quote"comma,.txt', "training/", key(77))
    server.put("sample", dict.fromkeys(odd, RECORD))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        warehouse.refresh("s3://sample", str(root / "listed"))
    return root


@pytest.fixture(scope="module")
def expected(sample: Path) -> dict[str, Any]:
    return answers(sample / "listed")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["CSV", "ORC", "Parquet"])
def test_answers_are_those_of_a_listing(
    s3: S3, sample: Path, expected: dict[str, Any], new_lake: Path, form: str
) -> None:
    write_inventory(s3, "sample", form, taken_at=datetime.now(UTC) + timedelta(minutes=1))
    result = refresh("sample", new_lake)
    assert result.objects.listed == len(expected["objects"])
    assert result.objects.note.startswith("listed by the inventory of ")
    assert answers(new_lake) == expected


def test_going_over_to_an_inventory_and_back_changes_nothing(s3: S3, sample: Path, expected: dict[str, Any]) -> None:
    rows = [  # CSV has the time to the millisecond, which a listing may not
        {**row, "LastModifiedDate": f"{row['LastModifiedDate']:%Y-%m-%dT%H:%M:%S}.999Z"}
        for row in build_listing(s3, "sample")
    ]
    write_inventory(s3, "sample", "CSV", rows=rows, taken_at=datetime.now(UTC) + timedelta(minutes=2))
    for again in (refresh("sample", sample / "listed"), warehouse.refresh("s3://sample", str(sample / "listed"))):
        assert (again.objects.added, again.objects.changed, again.objects.removed) == (0, 0, 0)
        assert not again.published.is_new


def lake_of(s3: S3, bucket: str, lake: Path, patients: int = 20) -> None:
    """A bucket of so many records, and a lake made by listing it."""
    s3.put(bucket, {key(patient): RECORD for patient in range(patients)})
    warehouse.refresh(f"s3://{bucket}", str(lake))


def change(s3: S3, bucket: str) -> None:
    """One object comes, one goes, one is replaced."""
    s3.put(bucket, {key(50): RECORD, key(3): RECORD + b" "})
    s3.client().delete_object(Bucket=bucket, Key=key(4))


def keys(lake: Path) -> dict[str, int]:
    with warehouse.open(str(lake)) as wh:
        return dict(wh.sql("select key, size from raw.objects").fetchall())


@pytest.mark.slow
def test_what_changed_before_it_is_taken_from_an_inventory(s3: S3, new_lake: Path) -> None:
    lake_of(s3, "before", new_lake)
    change(s3, "before")
    write_inventory(s3, "before", "Parquet", taken_at=datetime.now(UTC) + timedelta(minutes=1))
    done = refresh("before", new_lake)
    assert (done.objects.added, done.objects.changed, done.objects.removed) == (1, 1, 1)
    assert keys(new_lake) == {row["Key"]: row["Size"] for row in build_listing(s3, "before")}


@pytest.mark.slow
@pytest.mark.parametrize("is_known", [False, True], ids=["of a new lake", "of a lake that has it"])
def test_a_key_that_is_listed_twice_is_one_object(s3: S3, tmp_path: Path, is_known: bool) -> None:
    """The larger of the two, whichever comes first; other keys are what they were."""
    bucket = f"twice-{is_known}".lower()
    s3.put(bucket, {key(patient): RECORD for patient in range(20)})
    if is_known:
        warehouse.refresh(f"s3://{bucket}", str(start_lake(tmp_path / "lake")))
    rows = build_listing(s3, bucket)
    smaller = [{**row, "Size": row["Size"] - 1, "ETag": "0" * 32} for row in rows[3:5]]
    rows = [smaller[0], *rows, smaller[1]]
    write_inventory(s3, bucket, "Parquet", rows=rows, taken_at=datetime.now(UTC) + timedelta(minutes=1))
    for _ in range(2):
        assert refresh(bucket, tmp_path / "lake").clinical.rejected == 0
        with warehouse.open(str(tmp_path / "lake")) as wh:
            found = wh.sql("select key, size from raw.objects order by key").fetchall()
        assert found == sorted((row["Key"], row["Size"]) for row in build_listing(s3, bucket))


@pytest.mark.slow
def test_later_changes_are_listed_at_their_prefixes(s3: S3, tmp_path: Path) -> None:
    lake_of(s3, "changed", tmp_path / "lake")
    write_inventory(s3, "changed", "CSV", taken_at=datetime.now(UTC) + timedelta(minutes=1))
    change(s3, "changed")
    source, settings = by_inventory("changed")
    places = [f"training/Covid{patient}/" for patient in (3, 4, 50, 999)]  # of the last nothing is left
    with open_run(source, str(tmp_path / "lake"), changed_prefixes=places, settings=settings) as run:
        done = list_objects(run)
        load_clinical(run)
        publish(run)
    assert (done.added, done.changed, done.removed) == (1, 1, 1)
    assert keys(tmp_path / "lake") == {row["Key"]: row["Size"] for row in build_listing(s3, "changed")}


@pytest.mark.slow
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "parts"])
def test_what_was_learnt_after_it_is_not_undone(s3: S3, new_lake: Path, whole: bool) -> None:
    bucket, lake = f"after-{whole}".lower(), new_lake
    s3.put(bucket, {key(patient): RECORD for patient in range(20)})
    write_inventory(s3, bucket, "CSV")
    assert refresh(bucket, lake).objects.added == 20
    change(s3, bucket)
    parts = () if whole else tuple(f"training/Covid{patient}/" for patient in (3, 4, 50))
    # A part of the bucket is listed for real, whatever inventory there is.
    learnt = (refresh(bucket, lake, prefix=parts) if parts else warehouse.refresh(f"s3://{bucket}", str(lake))).objects
    assert (learnt.added, learnt.changed, learnt.removed, learnt.note) == (1, 1, 1, "")
    newest = keys(lake)
    again = refresh(bucket, lake)  # by the same inventory, which is older than what is known now
    assert (again.objects.added, again.objects.changed, again.objects.removed) == (0, 0, 0)
    assert keys(lake) == newest
    # The next inventory is newer than all of it.
    s3.client().delete_object(Bucket=bucket, Key=key(50))
    write_inventory(s3, bucket, "CSV", taken_at=datetime.now(UTC) + timedelta(minutes=1))
    assert refresh(bucket, lake).objects.removed == 1


@pytest.mark.slow
def test_objects_gone_since_are_noticed_when_they_are_read(s3: S3, new_lake: Path) -> None:
    s3.put("vanishing", {key(patient): RECORD for patient in range(20)})
    write_inventory(s3, "vanishing", "CSV")
    s3.client().delete_object(Bucket="vanishing", Key=key(7))
    done = refresh("vanishing", new_lake)
    assert (done.clinical.loaded, done.clinical.rejected) == (19, 1)
    with warehouse.open(str(new_lake)) as wh:
        assert wh.rejects().select("key, reason").fetchall() == [(key(7), "vanished between listing and reading")]


@pytest.mark.parametrize("form", ["CSV", "ORC", "Parquet"])
def test_of_all_versions_only_the_latest_that_are_there_count(s3: S3, form: str) -> None:
    bucket = f"versions-{form}".lower()
    s3.put(bucket, {key(patient): RECORD for patient in range(3)})
    rows = []
    for row in build_listing(s3, bucket):
        latest = {**row, "VersionId": "v2", "IsLatest": True, "IsDeleteMarker": False}
        older = {**latest, "VersionId": "v1", "IsLatest": False, "Size": 1, "ETag": "old"}
        gone = {**latest, "Key": row["Key"] + ".gone", "IsDeleteMarker": True, "Size": None, "ETag": None}
        rows += [older, latest, gone]
    write_inventory(s3, bucket, form, rows=rows, fields=VERSIONED)
    found = [row for batch in open_listed(*by_inventory(bucket)).listing() for row in batch.to_pylist()]
    assert {row["key"]: row["size"] for row in found} == {key(patient): len(RECORD) for patient in range(3)}
    assert len(found) == 3


def test_a_source_below_a_prefix_takes_its_part(s3: S3, new_lake: Path) -> None:
    s3.put("sites", {f"leeds/{key(1)}": RECORD, f"leeds-old/{key(2)}": RECORD, f"york/{key(3)}": RECORD})
    write_inventory(s3, "sites", "CSV")
    listing = open_listed(*by_inventory("sites", "/leeds")).listing()
    assert [row["key"] for batch in listing for row in batch.to_pylist()] == [key(1)]
    s3.client().put_bucket_inventory_configuration(
        Bucket="sites",
        Id=CONFIG,
        InventoryConfiguration={
            "Destination": {"S3BucketDestination": {"Bucket": "arn:aws:s3:::inventories", "Format": "CSV"}},
            "IsEnabled": True,
            "Id": CONFIG,
            "Filter": {"Prefix": "york/"},
            "IncludedObjectVersions": "Current",
            "Schedule": {"Frequency": "Weekly"},
        },
    )
    with pytest.raises(SourceError, match="lists only keys that start with 'york/'"):
        refresh("sites", new_lake, "/leeds")


@pytest.mark.parametrize("damage", ["unfinished", "manifest"])
def test_an_incomplete_inventory_is_passed_over(s3: S3, tmp_path: Path, damage: str) -> None:
    bucket, now = f"half-{damage}", datetime.now(UTC)
    s3.put(bucket, {key(1): RECORD})
    write_inventory(s3, bucket, "CSV", taken_at=now - timedelta(days=2), damage=damage)
    with pytest.raises(SourceError, match="has no complete inventory"):
        refresh(bucket, tmp_path / "lake")
    assert not (tmp_path / "lake").exists()
    write_inventory(s3, bucket, "CSV", taken_at=now - timedelta(days=3))
    opened = open_listed(*by_inventory(bucket))
    assert len([row for batch in opened.listing() for row in batch.to_pylist()]) == 1
    note = opened.listing_note
    assert "3.0 days old" in note
    assert ("not complete yet" if damage == "unfinished" else "does not match its checksum") in note


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "words"), [("file", "does not match its checksum"), ("missing", "vanished")], ids=["file", "missing"]
)
def test_a_damaged_file_leaves_the_lake_as_it_was(s3: S3, new_lake: Path, damage: str, words: str) -> None:
    bucket = f"damaged-{damage}"
    lake_of(s3, bucket, new_lake)
    s3.put(bucket, {key(60): RECORD})
    write_inventory(s3, bucket, "Parquet", damage=damage)
    with pytest.raises(SourceError, match=words) as caught:
        refresh(bucket, new_lake)
    assert "unset CHEST_INVENTORY" in str(caught.value)
    assert len(keys(new_lake)) == 20


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"fields": ("Bucket", "Key", "Size")}, "has no ETag, LastModifiedDate"),
        ({"fields": (*PLAIN, "VersionId")}, "has no IsLatest, IsDeleteMarker"),
        ({"taken_at": datetime.now(UTC) - timedelta(days=10)}, "more than 9 days"),
        ({"taken_at": datetime.now(UTC) + timedelta(days=2)}, "which is yet to come"),
        ({"stated": "9" * 400}, "manifest.json is not valid"),
        ({"stated": 1e400}, "manifest.json is not valid"),
        ({"stated": "999999999999999999"}, "manifest.json is not valid"),
    ],
    ids=["fields", "versions", "old", "future", "number", "infinite", "year"],
)
def test_an_unusable_inventory_states_the_remedy(s3: S3, tmp_path: Path, more: Any, words: str) -> None:
    bucket = "wrong" + hashlib.sha256(repr(more).encode()).hexdigest()[:8]
    s3.put(bucket, {key(1): RECORD})
    write_inventory(s3, bucket, "CSV", **more)
    with pytest.raises(SourceError, match=words):
        refresh(bucket, tmp_path / "lake")
    assert not (tmp_path / "lake").exists()


def test_an_inventory_of_another_bucket_is_refused(s3: S3, sample: Path, tmp_path: Path) -> None:
    lake = str(tmp_path / "lake")
    settings = Settings(inventory=inventory_address("other"))
    with pytest.raises(UsageError, match="is the inventory of the bucket other, not of sample"):
        warehouse.refresh("s3://sample", lake, settings=settings)
    with pytest.raises(UsageError, match="is a folder"):
        warehouse.refresh(str(sample / "bucket"), lake, settings=settings)
    with pytest.raises(UsageError, match=r"is not an inventory\. Give"):
        warehouse.refresh("s3://sample", lake, settings=Settings(inventory="s3://inventories"))
    s3.put("nothing-yet", {key(1): RECORD})
    s3.put("inventories", {"readme.txt": b""})
    with pytest.raises(SourceError, match="has no inventory: no folder named like"):
        refresh("nothing-yet", tmp_path / "lake")


def test_several_sources_have_each_their_inventory_or_none(s3: S3) -> None:
    for bucket in ("one", "two", "three"):
        s3.put(bucket, {key(1): RECORD})
    write_inventory(s3, "one", "CSV")
    write_inventory(s3, "two", "ORC")
    settings = Settings(
        sources="a=s3://one b=s3://two c=s3://three", inventory=f"{inventory_address('one')} {inventory_address('two')}"
    )
    found = [type(open_listed(f"s3://{bucket}", settings)) for bucket in ("one", "two", "three")]
    assert found == [InventoryBucket, InventoryBucket, S3Bucket]


def test_the_command_reports_the_age_of_the_inventory(s3: S3, new_lake: Path, here: Chest) -> None:
    s3.put("dated", {key(1): RECORD})
    write_inventory(s3, "dated", "CSV", taken_at=datetime.now(UTC) - timedelta(days=1))
    done = here("refresh", "s3://dated", "--lake", new_lake, "--inventory", inventory_address("dated"), "-q")
    assert done.returncode == 0, done.stderr
    assert "1 object listed; 1 added" in done.stdout
    assert "Listed by the inventory of " in done.stdout + done.stderr
    assert "1.0 days old" in done.stdout + done.stderr
