"""Buckets on real S3 servers (moto, rclone): the answers are a folder's, and no refusal leaves a trace."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import Chest
from servers import S3, list_keys, serve_rclone

import warehouse
from warehouse.errors import SourceError, UsageError
from warehouse.object_store.s3 import S3Bucket
from warehouse.query.status import measure_status
from warehouse.settings import Settings
from warehouse.synthetic import make_bucket

COUNTS = ("objects", "image_json", "clinical_json", "patients", "studies", "series", "modality")
PATIENT = "training/Covid1"
RECORD = b'{"Pseudonym": "Covid1", "SwabStatus": "Negative", "SubmittingCentre": "Leeds"}'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bucket in a folder, of eight patients."""
    root = tmp_path_factory.mktemp("small") / "bucket"
    make_bucket(root, 8)
    return root


@pytest.fixture(scope="module")
def uploaded(server: S3, folder: Path) -> str:
    """The same bucket on S3, whole in one bucket and below a prefix of another."""
    server.upload(folder, "whole")
    server.upload(folder, "shared", "sites/leeds/")
    server.put("shared", {"sites/leeds-old/training/Covid9/data/2020-03-01/data.json": RECORD})
    return "whole"


@pytest.fixture
def s3(server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The server, and an environment that knows the way to it."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server


def header(patient: str, image: str) -> bytes:
    return json.dumps(
        {
            "00080018": {"vr": "UI", "Value": [image]},
            "00080060": {"vr": "CS", "Value": ["CR"]},
            "00100020": {"vr": "LO", "Value": [patient]},
        }
    ).encode()


def kinds(lake: Path) -> dict[str, str]:
    with warehouse.open(str(lake)) as wh:
        return dict(wh.sql("select key, kind from raw.objects").fetchall())


def truth(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "truth.json").read_text())
    return found


@pytest.mark.slow
@pytest.mark.parametrize("source", ["s3://whole", "s3://shared/sites/leeds/"])
def test_answers_are_those_of_the_folder(s3: S3, uploaded: str, folder: Path, new_lake: Path, source: str) -> None:
    result = warehouse.refresh(source, str(new_lake))
    assert result.source == source.rstrip("/")
    expected = truth(folder)
    with warehouse.open(str(new_lake)) as wh:
        found = measure_status(wh)
        assert {name: found[name] for name in COUNTS} == {name: expected[name] for name in COUNTS}
        for day, answers in expected["as_of"].items():
            assert measure_status(wh.as_of(day))["as_of"][day] == answers
        assert {key for (key,) in wh.sql("select key from raw.objects").fetchall()} == set(list_keys(folder))
        pairs = "select count(*), count(dcm_key), count(distinct dcm_etag) from images"
        assert wh.group("all").sql(pairs).fetchone()[1] == found["dcm"] > 0


@pytest.mark.slow
def test_second_refresh_does_nothing_then_changes_and_removals_follow(s3: S3, new_lake: Path) -> None:
    lake, client = str(new_lake), s3.client()
    days = [f"2020-03-{day:02d}" for day in range(1, 21)]
    s3.put("living", {f"{PATIENT}/data/{day}/data.json": RECORD for day in days})
    first = warehouse.refresh("s3://living", lake)
    assert (first.objects.added, first.clinical.loaded) == (20, 20)

    again = warehouse.refresh("s3://living", lake)
    assert (again.objects.added, again.objects.changed, again.objects.removed) == (0, 0, 0)
    assert (again.published.snapshot, again.published.is_new) == (first.published.snapshot, False)

    client.delete_object(Bucket="living", Key=f"{PATIENT}/data/2020-03-20/data.json")
    client.put_object(
        Bucket="living", Key=f"{PATIENT}/data/2020-03-01/data.json", Body=RECORD.replace(b"Leeds", b"York")
    )
    third = warehouse.refresh("s3://living", lake)
    assert (third.objects.added, third.objects.changed, third.objects.removed) == (0, 1, 1)
    assert (third.clinical.loaded, third.published.is_new) == (1, True)
    with warehouse.open(lake) as wh:
        rows = wh.sql("select available_date::varchar, submitting_centre from clinical_history order by 1").fetchall()
    assert rows == [(day, "York" if day.endswith("01") else "Leeds") for day in days[:-1]]


def test_etags_are_those_of_s3_without_quotes(s3: S3, uploaded: str) -> None:
    listed = {
        row["key"]: row["etag"] for batch in S3Bucket("s3://whole", Settings()).listing() for row in batch.to_pylist()
    }
    one = min(listed)
    assert listed[one] == s3.client().head_object(Bucket="whole", Key=one)["ETag"].strip('"')
    assert not any('"' in etag for etag in listed.values())


@pytest.mark.slow
@pytest.mark.parametrize("below", ["", "site a/"])
def test_odd_keys_stop_nothing_and_are_kept(s3: S3, new_lake: Path, below: str) -> None:
    bucket = f"odd{len(below)}"
    good = f"{PATIENT}/data/2020-03-01/data.json"
    odd = ["x//y", "a\tb", "a/../b", "./c", "/lead", "100%.txt", "ünïcode", "training/", f"{PATIENT}/images/"]
    s3.put(bucket, {below + key: RECORD for key in [good, *odd]})
    result = warehouse.refresh(f"s3://{bucket}/{below}", str(new_lake))
    assert result.objects.listed == len(odd) + 1
    found = kinds(new_lake)
    assert found.pop(good) == "clinical"
    assert set(found.values()) == {"other"}
    # A key that ends in a slash may lose it.
    assert {key.rstrip("/") for key in found} == {key.rstrip("/") for key in odd}


@pytest.mark.slow
def test_odd_patient_ids_load(s3: S3, new_lake: Path) -> None:
    day = "2020-03-01"
    patients = [
        "O'Brien",
        'say "hi"',
        "Åse Müller",
        "50% off",
        "%41",
        "a+b=c&d",
        "患者",
        "tab\t",
        "back\\slash",
        "...",
    ]
    objects: dict[str, bytes] = {}
    for name in patients:
        objects[f"training/{name}/data/{day}/data.json"] = RECORD
        objects[f"training/{name}/images_metadata/{day}/1.2.json"] = header(name, "1.2")
        objects[f"training/{name}/images/{day}/1.2.dcm"] = b"DICM"
    s3.put("names", objects)
    warehouse.refresh("s3://names", str(new_lake))
    with warehouse.open(str(new_lake)) as wh:
        assert wh.rejects().fetchall() == []
        rows = wh.patients().select("patient_id, n_images, submitting_centre").order("all").fetchall()
        assert rows == [(name, 1, "Leeds") for name in sorted(patients)]
        assert {key for (key,) in wh.images().select("dcm_key").fetchall()} == {
            k for k in objects if k.endswith(".dcm")
        }


@pytest.mark.slow
def test_a_thousand_keys_and_more_are_listed_whole(s3: S3) -> None:
    s3.put("many", {f"k/{number:04d}": b"" for number in range(1100)})
    bucket = S3Bucket("s3://many", Settings())
    keys = [key for batch in bucket.listing() for key in batch.column("key").to_pylist()]
    assert keys == [f"k/{number:04d}" for number in range(1100)]
    cut = [key for batch in bucket.listing("k/10") for key in batch.column("key").to_pylist()]
    assert cut == [f"k/{number:04d}" for number in range(1000, 1100)]
    s3.client().put_object(Bucket="many", Key="k//odd", Body=b"")
    again = {key for batch in bucket.listing() for key in batch.column("key").to_pylist()}
    assert again == {*keys, "k//odd"}


@pytest.mark.slow
def test_refresh_below_a_prefix_touches_nothing_else(s3: S3, new_lake: Path) -> None:
    lake = str(new_lake)
    records = {f"training/Covid{number}/data/2020-03-01/data.json": RECORD for number in (1, 10, 2)}
    s3.put("parts", records)
    assert warehouse.refresh("s3://parts", lake, prefix="training/Covid1").objects.listed == 2
    assert warehouse.refresh("s3://parts", lake, prefix="training/Covid1/").objects.listed == 1
    assert warehouse.refresh("s3://parts", lake).objects.added == 1


class Deleting(S3Bucket):
    """A bucket of which somebody deletes and replaces objects as soon as it has been listed."""

    meanwhile: Callable[[], object]

    def listing(self, prefix: str = "") -> Iterator[Any]:
        yield from super().listing(prefix)
        self.meanwhile()


@pytest.mark.slow
def test_objects_that_go_or_change_after_the_listing_are_tried_again(
    s3: S3, new_lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"{PATIENT}/data/2020-03-{day:02d}/data.json" for day in range(1, 31)]
    s3.put("hasty", dict.fromkeys(keys, RECORD))
    client, lake = s3.client(), str(new_lake)

    def meanwhile() -> None:
        client.delete_object(Bucket="hasty", Key=keys[10])
        client.put_object(Bucket="hasty", Key=keys[20], Body=RECORD + b" ")

    monkeypatch.setattr(Deleting, "meanwhile", staticmethod(meanwhile), raising=False)
    with monkeypatch.context() as patch:
        patch.setattr("warehouse.object_store.s3.S3Bucket", Deleting)
        assert warehouse.refresh("s3://hasty", lake).clinical.loaded == 28
    with warehouse.open(lake) as wh:
        rows = wh.rejects().select("key, reason, retry").fetchall()
    assert rows == [
        (keys[10], "vanished between listing and reading", True),
        (keys[20], "changed between listing and reading", True),
    ]
    assert warehouse.refresh("s3://hasty", lake).clinical.loaded == 1
    with warehouse.open(lake) as wh:
        assert wh.rejects().fetchall() == []
        assert len(wh.clinical_history().fetchall()) == 29


@pytest.mark.slow
def test_profile_and_region_are_honoured(server: S3, uploaded: str, chest: Chest, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(f"[profile nhs]\nregion = eu-west-2\nendpoint_url = {server.endpoint}\n")
    (tmp_path / "keys").write_text("[nhs]\naws_access_key_id = A\naws_secret_access_key = B\n")
    environment = {
        "PATH": "/usr/bin:/bin",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "keys"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    words = ("refresh", "s3://whole", "--lake", tmp_path / "lake", "--format", "json", "-q")
    done = chest(*words, env={**environment, "AWS_PROFILE": "nhs"})
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["published"]["is_new"] is True
    wrong = chest(*words, env={**environment, "AWS_PROFILE": "nobody"})
    assert_one_line_of_advice(wrong, "nobody", "AWS")


def test_a_region_in_the_environment_is_used_to_sign(s3: S3, uploaded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-2")
    bucket = S3Bucket("s3://whole", Settings())
    assert bucket._client.meta.region_name == "eu-west-2"
    assert sum(batch.num_rows for batch in bucket.listing()) > 0


def assert_one_line_of_advice(done: Any, *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("chest: ")
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize(
    ("bucket", "change", "words"),
    [
        ("s3://no-such-bucket", {}, ["the bucket does not exist", "Check the name"]),
        ("s3://", {}, ["name of the bucket is missing", "s3://chest-data-warehouse"]),
        ("s3://Not_A_Name!", {}, ["Not_A_Name!"]),
        ("s3://whole", {"AWS_ACCESS_KEY_ID": None}, ["no AWS credentials", "AWS_PROFILE"]),
        ("s3://whole", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, ["cannot be reached", "AWS_ENDPOINT_URL"]),
        ("s3://whole", {"AWS_ENDPOINT_URL": "nonsense"}, ["nonsense", "AWS"]),
        ("gs://whole", {}, ["s3://NAME"]),
    ],
)
def test_refusals_are_one_line_and_leave_no_lake(
    s3: S3,
    uploaded: str,
    here: Chest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bucket: str,
    change: dict[str, str | None],
    words: list[str],
) -> None:
    for name, value in change.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    done = here("refresh", bucket, "--lake", tmp_path / "lake")
    assert_one_line_of_advice(done, *words)
    assert not (tmp_path / "lake").exists()


@pytest.mark.slow
def test_a_refusal_leaves_an_older_lake_as_it_was(s3: S3, tmp_path: Path, here: Chest) -> None:
    lake = str(tmp_path / "lake")
    s3.put("gone", {f"{PATIENT}/data/2020-03-01/data.json": RECORD})
    snapshot = warehouse.refresh("s3://gone", lake).published.snapshot
    s3.client().delete_object(Bucket="gone", Key=f"{PATIENT}/data/2020-03-01/data.json")
    done = here("refresh", "s3://gone", "--lake", lake)
    assert done.returncode == 1
    assert "--allow-removals" in done.stderr
    s3.client().delete_bucket(Bucket="gone")
    assert_one_line_of_advice(here("refresh", "s3://gone", "--lake", lake), "the bucket does not exist")
    with warehouse.open(lake) as wh:
        assert wh.snapshot.number == snapshot
        assert len(wh.clinical().fetchall()) == 1


@pytest.fixture(scope="module")
def checked(samples: Path) -> Iterator[S3]:
    """A server that checks keys, with the samples as buckets `dated` and `published`."""
    with serve_rclone(samples) as running:
        yield running


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "wrong"}, "AWS_ACCESS_KEY_ID"),
    ],
)
def test_wrong_keys_are_refused_in_one_line(
    checked: S3,
    here: Chest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str],
    word: str,
) -> None:
    for name, value in {**checked.environment, **change}.items():
        monkeypatch.setenv(name, value)
    assert_one_line_of_advice(here("refresh", "s3://published", "--lake", tmp_path / "lake"), word)
    assert not (tmp_path / "lake").exists()


@pytest.mark.slow
def test_published_sample_by_rclone(
    checked: S3, samples: Path, new_lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in checked.environment.items():
        monkeypatch.setenv(name, value)
    warehouse.refresh("s3://published/", str(new_lake))
    expected = truth(samples / "published")
    with warehouse.open(str(new_lake)) as wh:
        found = measure_status(wh)
    assert {name: found[name] for name in COUNTS} == {name: expected[name] for name in COUNTS}
    assert (found["rejected"], found["other"]) == (0, 0)


@pytest.mark.parametrize("url", ["s3://", "s3:///x"])
def test_a_url_without_a_bucket_is_a_users_mistake(url: str) -> None:
    with pytest.raises(UsageError, match="name of the bucket is missing"):
        S3Bucket(url, Settings())


def test_a_server_that_redirects_everything_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 would look for the bucket's region in each answer, until Python's stack ends."""

    class Redirecting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(301)
            self.send_header("Location", "https://127.0.0.1:9/")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Redirecting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, value in (("ACCESS_KEY_ID", "k"), ("SECRET_ACCESS_KEY", "s"), ("DEFAULT_REGION", "eu-west-2")):
            monkeypatch.setenv(f"AWS_{name}", value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        try:
            with pytest.raises(SourceError, match=r"the server redirects every request\. Check AWS_ENDPOINT_URL"):
                S3Bucket("s3://whole", Settings())
        finally:
            server.shutdown()
