"""Objects that cannot be read: a few become rejects, most of a bucket is refused, and no row is lost for either."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Chest, Prepared, copy_lake, write_objects
from faulty import Fault, Faulty, alter_byte, answer_with, answer_with_page, serve_faulty, shorten_body
from servers import S3, serve_rclone

import warehouse
from warehouse.errors import RemovalsError, SourceError
from warehouse.lake import location
from warehouse.lake import store as lakes
from warehouse.query import checks
from warehouse.settings import Settings

SETTINGS = Settings(request_seconds=1)
DENIED, GONE, BROKEN = (
    answer_with(403, "AccessDenied"),
    answer_with(404, "NoSuchKey"),
    answer_with(500, "InternalError"),
)
N = 40
#: So many of them are more than a refresh lets pass, and no more: each is asked for again and again.
MANY = 5
BUCKET = "chest"


def key_of(number: int) -> str:
    return f"training/Covid{number}/data/2020-03-01/data.json"


def record(number: int, age: int = 50) -> bytes:
    return json.dumps({"Pseudonym": f"Covid{number}", "SwabStatus": "Negative", "Age": str(age)}).encode()


RECORDS = {key_of(number): record(number) for number in range(N)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with serve_rclone(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture(scope="module")
def proxy(server: S3) -> Iterator[Faulty]:
    with serve_faulty(server) as running:
        yield running


@pytest.fixture(scope="module")
def prepared(server: S3, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of forty records, as every test finds them in the bucket."""
    lake = tmp_path_factory.mktemp("prepared") / "lake"
    server.put(BUCKET, RECORDS)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        warehouse.refresh(f"s3://{BUCKET}", str(lake), settings=SETTINGS)
    return lake


@pytest.fixture
def bucket(server: S3, proxy: Faulty, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:
    """The bucket of forty records behind the proxy; what a test writes goes again."""
    for name, value in proxy.s3.environment.items():
        monkeypatch.setenv(name, value)
    proxy.fail(None)
    before = _stored(server)
    yield proxy
    changed = [key for key, etag in _stored(server).items() if before.get(key) != etag]
    server.put(BUCKET, {key: RECORDS[key] for key in changed if key in RECORDS})
    for key in set(changed) - set(RECORDS):
        server.client().delete_object(Bucket=BUCKET, Key=key)


def _stored(server: S3) -> dict[str, str]:
    return {one["Key"]: one["ETag"] for one in server.client().list_objects_v2(Bucket=BUCKET)["Contents"]}


@pytest.fixture
def lake(prepared: Path, tmp_path: Path) -> Path:
    """A lake that has the forty records already."""
    return copy_lake(prepared, tmp_path / "lake")


def refresh(lake: Path, **options: Any) -> warehouse.RefreshResult:
    return warehouse.refresh(f"s3://{BUCKET}", str(lake), settings=SETTINGS, **options)


def ages(wh: warehouse.Warehouse) -> dict[str, int]:
    return dict(wh.sql("select patient_id, age from clinical").fetchall())


def ages_in(lake: Path) -> dict[str, int]:
    with warehouse.open(str(lake)) as wh:
        return ages(wh)


def rows_checks(wh: warehouse.Warehouse) -> dict[str, int]:
    """Of the checks of kept and lost rows: how many rows they name."""
    names = [name for name in checks.load_definitions() if name.startswith("rows_")]
    assert names
    return {name: wh.check(name)[0].n_rows for name in names}


def numbers(most: int) -> Callable[[str], bool]:
    """Requests for the objects of the first so many patients."""
    return lambda path: any(f"/Covid{number}/data" in path for number in range(most))


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", [DENIED, GONE, BROKEN, answer_with_page, shorten_body, alter_byte], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("way", ["full", "replaced"])
def test_many_unread_are_not_published_and_nothing_is_lost(
    bucket: Faulty, server: S3, lake: Path, fault: Fault, way: str
) -> None:
    with warehouse.open(str(lake)) as wh:
        before, seen = wh.snapshot.number, ages(wh)
    if way == "replaced":
        server.put(BUCKET, {key_of(number): record(number, 60) for number in range(2 * MANY)})
    bucket.fail(fault, when=numbers(MANY))
    with pytest.raises(RemovalsError, match=rf"{MANY} of 40 .* cannot be read, more than 10 %") as caught:
        refresh(lake, full=way == "full")
    assert "Covid" not in str(caught.value)
    with warehouse.open(str(lake)) as wh:
        assert wh.snapshot.number == before
        assert ages(wh) == seen
    bucket.fail(None)
    result = refresh(lake)
    assert result.clinical.loaded == MANY
    with warehouse.open(str(lake)) as wh:
        new = {f"Covid{number}": 60 for number in range(2 * MANY) if way == "replaced"}
        assert ages(wh) == {**dict.fromkeys(seen, 50), **new}
        assert wh.rejects().fetchall() == []
        assert not any(rows_checks(wh).values())


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", [DENIED, BROKEN, alter_byte, shorten_body, answer_with_page], ids=lambda f: f.__name__
)
def test_a_few_unread_keep_their_rows_and_are_named(
    bucket: Faulty, server: S3, lake: Path, fault: Fault, here: Chest
) -> None:
    with warehouse.open(str(lake)) as wh:
        old = wh.sql("select * from clinical_history where patient_id = 'Covid0'").fetchall()
    server.put(BUCKET, {key_of(0): record(0, 60), key_of(1): record(1, 60), key_of(N): record(N)})
    bucket.fail(fault, when=lambda path: "/Covid0/data" in path)
    assert refresh(lake).published.is_new
    with warehouse.open(str(lake)) as wh:
        assert ages(wh) == {**dict.fromkeys(map("Covid{}".format, range(N + 1)), 50), "Covid1": 60}
        # The row is that of the earlier content whole: its etag, size and time too.
        assert wh.sql("select * from clinical_history where patient_id = 'Covid0'").fetchall() == old
        (named,) = wh.check("rows_held_over")[0].rows.to_pylist()
        assert (named["patient_id"], named["key"], named["retry"]) == ("Covid0", key_of(0), True)
        assert named["reason"]
        assert [one.n_rows for name in ("books", "rows_out_of_date", "rows_twice") for one in wh.check(name)] == [
            0,
            0,
            0,
        ]
        assert wh.check("objects_unread")[0].n_rows == 0
    assert here("check", "rows_held_over", "--lake", lake).returncode == 1
    assert refresh(lake).published.is_new is False
    bucket.fail(None)
    refresh(lake)
    assert ages_in(lake)["Covid0"] == 60
    assert here("check", "rows_held_over", "--lake", lake).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("fault", [DENIED, GONE, BROKEN], ids=lambda f: f.__name__)
def test_a_few_unread_new_objects_stop_nothing(bucket: Faulty, server: S3, new_lake: Path, fault: Fault) -> None:
    lake = new_lake
    small = {f"training/A{number}/data/2020-03-01/data.json": b'{"Age": "1"}' for number in range(3)}
    server.put(BUCKET, small)
    bucket.fail(fault, when=lambda path: "/training/A" in path)
    result = refresh(lake)
    assert (result.clinical.loaded, result.clinical.rejected, result.published.is_new) == (N, 3, True)
    with warehouse.open(str(lake)) as wh:
        (reason,) = wh.check("objects_unread")[0].rows.to_pylist()
        assert (reason["n_objects"], reason["is_tried_again"]) == (3, True)
    # Nothing but these is pending now, and still they are no reason to take the bucket for unreadable.
    assert refresh(lake).published.is_new is False
    bucket.fail(None)
    assert refresh(lake).clinical.loaded == 3


def test_what_comes_altered_once_is_fetched_again(bucket: Faulty, new_lake: Path) -> None:
    bucket.fail(alter_byte, times=5, when=lambda path: "data.json" in path)
    assert refresh(new_lake).clinical.rejected == 0
    assert bucket.failed == 5
    assert set(ages_in(new_lake).values()) == {50}


@pytest.mark.slow
@pytest.mark.parametrize("fault", [DENIED, BROKEN, alter_byte], ids=lambda f: f.__name__)
def test_a_bucket_that_cannot_be_read_is_refused(bucket: Faulty, tmp_path: Path, fault: Fault) -> None:
    bucket.fail(fault, when=lambda path: "data.json" in path)
    with pytest.raises(SourceError):
        refresh(tmp_path / "lake")
    bucket.fail(fault, when=numbers(35))
    with pytest.raises(SourceError):
        refresh(tmp_path / "lake")
    with pytest.raises(warehouse.LakeError, match="no published snapshot"):
        warehouse.open(str(tmp_path / "lake"))
    bucket.fail(None)
    assert refresh(tmp_path / "lake").published.is_new
    assert len(ages_in(tmp_path / "lake")) == N


@pytest.mark.slow
def test_full_mends_what_an_older_version_let_in(bucket: Faulty, new_lake: Path) -> None:
    bucket.fail(alter_byte, when=numbers(3))
    careless = Settings(request_seconds=0.5, check_etags=0)
    warehouse.refresh(f"s3://{BUCKET}", str(new_lake), settings=careless)
    bucket.fail(None)
    assert refresh(new_lake).clinical.loaded == 0
    refresh(new_lake, full=True)
    assert ages_in(new_lake) == {f"Covid{number}": 50 for number in range(N)}


@pytest.mark.slow
def test_full_mends_old_content_under_a_new_etag(tmp_path: Path, new_lake: Path, here: Chest) -> None:
    """As an older version left it, which took an object's new etag and kept its old content."""
    tags = {"00080018": "1.2.3", "0020000D": "1.2", "0020000E": "1.2.1", "00080070": "NEW", "00100020": "P"}
    header = {tag: {"vr": "UI" if "." in value else "LO", "Value": [value]} for tag, value in tags.items()}
    keys = {"training/P/images_metadata/2020-03-01/1.json": json.dumps(header), key_of(0): record(0)}
    write_objects(tmp_path / "bucket", keys)
    words = ("refresh", tmp_path / "bucket", "--lake", new_lake, "-q")
    assert here(*words).returncode == 0
    query = """
        select images.Manufacturer, tag(header, 'Manufacturer'), (select any_value(age) from clinical)
        from headers inner join images using (source, key)
    """
    older = (
        "update core.images set Manufacturer = 'OLD'",
        "update raw.headers set header = replace(cast(header as varchar), 'NEW', 'OLD')::json",
        "update core.clinical set age = 20",
    )
    with lakes.open_writer(location.parse_address(str(new_lake)), Settings()) as con:
        lakes.transact(con, "older", lambda: [con.execute(each) for each in older], published=True)
    answers = []
    for options in ((), ("--full",)):
        assert here(*words, *options).returncode == 0
        with warehouse.open(str(new_lake)) as wh:
            answers.append(wh.sql(query).fetchall())
    assert answers == [[("OLD", "OLD", 20)], [("NEW", "NEW", 50)]]


@pytest.mark.slow
def test_html_in_place_of_a_record_keeps_the_row_too(tmp_path: Path, new_lake: Path, here: Chest) -> None:
    bucket, lake = tmp_path / "bucket", new_lake
    write_objects(bucket, {key_of(number): record(number) for number in range(N)})
    assert here("refresh", bucket, "--lake", lake, "-q").returncode == 0
    seen = ages_in(lake)
    write_objects(bucket, {key_of(number): "<html>Please log in</html>" for number in range(30)})
    done = here("refresh", bucket, "--lake", lake, "-q")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "HTML or XML instead of JSON: 30" in done.stderr
    assert ages_in(lake) == seen
    assert here("refresh", bucket, "--lake", lake, "-q", "--allow-removals").returncode == 0
    assert ages_in(lake) == seen
    inventory = json.loads(here("status", "--lake", lake, "--format", "json").stdout)
    assert (inventory["objects"], inventory["clinical_json"], inventory["rejected"]) == (N, N, 0)
    # What was allowed once is not refused again, and a withdrawal is one.
    write_objects(bucket, {key_of(39): record(39, 70)})
    (bucket / key_of(0)).unlink()
    assert here("refresh", bucket, "--lake", lake, "-q").returncode == 0
    assert ages_in(lake) == {key: age for key, age in (seen | {"Covid39": 70}).items() if key != "Covid0"}


HEADERS = [f"training/P{n:02}/images_metadata/2020-04-01/i.json" for n in range(20)]


def header(modality: str) -> str:
    return json.dumps({"00080018": {"vr": "UI", "Value": ["1.2.3"]}, "00080060": {"vr": "CS", "Value": [modality]}})


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A folder of twenty headers, and a lake of it."""
    return Prepared.of(tmp_path_factory.mktemp("images"), dict.fromkeys(HEADERS, header("CT")))


@pytest.mark.slow
def test_typing_again_keeps_the_columns_about_the_object(tmp_path: Path, images: Prepared) -> None:
    bucket, lake, keys = images.restore_bucket(), str(copy_lake(images.lake, tmp_path / "lake")), HEADERS
    write_objects(bucket, {keys[0]: "{"})
    warehouse.refresh(str(bucket), lake)
    with warehouse.open(lake) as wh:
        seen = wh.sql("from images order by key").fetchall()
    warehouse.refresh(str(bucket), lake, reextract_headers=True)
    with warehouse.open(lake) as wh:
        assert wh.sql("from images order by key").fetchall() == seen
        assert [row["key"] for row in wh.check("rows_held_over")[0].rows.to_pylist()] == [keys[0]]


@pytest.mark.slow
@pytest.mark.parametrize("is_asked", [True, False], ids=["asked for", "other rules"])
def test_content_that_came_before_typing_again_is_read(is_asked: bool, tmp_path: Path, images: Prepared) -> None:
    bucket, lake, keys = images.restore_bucket(), str(copy_lake(images.lake, tmp_path / "lake")), HEADERS
    with warehouse.open(lake) as wh:
        (etag,) = wh.sql(f"select etag from images where key = '{keys[1]}'").fetchall()
    if not is_asked:
        with lakes.open_writer(location.parse_address(lake), SETTINGS) as con:
            con.execute("update core.images set rules = 'of another version'")
    write_objects(bucket, {keys[0]: header("DX") + " ", keys[1]: "{"})
    for _ in range(2):
        warehouse.refresh(str(bucket), lake, reextract_headers=is_asked)
        with warehouse.open(lake) as wh:
            found = wh.sql("select key, Modality from images order by key").fetchall()
            assert found == [(keys[0], "DX"), *((key, "CT") for key in keys[1:])]
            assert wh.sql(f"select etag from images where key = '{keys[1]}'").fetchall() == [etag]
            assert [row["key"] for row in wh.check("rows_held_over")[0].rows.to_pylist()] == [keys[1]]
            assert wh.sql("select count(distinct rules) from core.images").fetchall() == [(1,)]
