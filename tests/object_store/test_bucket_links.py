"""A bucket folder is not left: links that lead out, loops, pipes and devices are named, and neither listed nor read."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Chest, write_objects

import warehouse
from warehouse.errors import SourceError, UsageError
from warehouse.object_store import walking
from warehouse.object_store.base import Content, ReadFailure
from warehouse.object_store.beneath import NO_FILE, OUTSIDE
from warehouse.object_store.folder import FolderBucket

SECRET = b'{"00080018": {"Value": ["secret"]}}'
HEADER = '{"00080018": {"Value": ["%s"]}, "00080060": {"Value": ["CR"]}}'


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """A bucket with one image, and beside it a file outside it."""
    write_objects(
        tmp_path / "bucket",
        {
            "training/P1/images_metadata/2020-05-01/1.json": HEADER % "1",
            "training/P1/images/2020-05-01/1.dcm": "DICM",
        },
    )
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "9.json").write_bytes(SECRET)
    return tmp_path / "bucket"


def keys(folder: Path, prefix: str = "") -> set[str]:
    return {key for batch in FolderBucket(folder).listing(prefix) for key in batch.column("key").to_pylist()}


def skipped(folder: Path, prefix: str = "") -> dict[str, str]:
    bucket = FolderBucket(folder)
    for _ in bucket.listing(prefix):
        pass
    return {one.key: one.reason for one in bucket.skipped}


def read(folder: Path, key: str, size: int = len(SECRET)) -> bytes | ReadFailure:
    """An object as a refresh reads it; it must be the same as when it is streamed."""
    bucket, buffer = FolderBucket(folder), bytearray(size)
    unread = bucket.read_into(memoryview(buffer), [key], [""], [size]).get(0)
    content = bucket.stream(key)
    assert isinstance(content, ReadFailure) == (unread is not None)
    if isinstance(content, Content):
        assert b"".join(bytes(chunk) for chunk in content.chunks) == bytes(buffer)
    return unread or bytes(buffer)


#: What may stand at a name in the bucket, and why it is passed over; `there` is the folder of the name.
ODD: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "file outside": (lambda at, out: at.symlink_to(out / "9.json"), OUTSIDE),
    "relative": (lambda at, out: at.symlink_to(os.path.relpath(out / "9.json", at.parent)), OUTSIDE),
    "folder outside": (lambda at, out: at.symlink_to(out), OUTSIDE),
    "system file": (lambda at, _: at.symlink_to("/etc/passwd"), OUTSIDE),
    "process": (lambda at, _: at.symlink_to("/proc/self"), OUTSIDE),
    "root": (lambda at, _: at.symlink_to("/"), OUTSIDE),
    "zeros": (lambda at, _: at.symlink_to("/dev/zero"), OUTSIDE),
    "pipe outside": (lambda at, out: (os.mkfifo(out / "pipe"), at.symlink_to(out / "pipe")), OUTSIDE),
    "nothing": (lambda at, _: at.symlink_to("nowhere"), walking.NOWHERE),
    "itself": (lambda at, _: at.symlink_to(at.name), walking.UNRESOLVED),
    "own folder": (lambda at, _: at.symlink_to("."), walking.LOOP),
    "folder above": (lambda at, out: at.symlink_to(out.parent / "bucket"), walking.LOOP),
    "pipe": (lambda at, _: os.mkfifo(at), NO_FILE),
    "link to pipe": (lambda at, _: (os.mkfifo(f"{at}.pipe"), at.symlink_to(f"{at}.pipe")), NO_FILE),
    "socket": (lambda at, _: bind(at), NO_FILE),
    "device": (lambda at, _: os.mknod(at, 0o600 | 0o020000, os.makedev(1, 5)), NO_FILE),
}


def bind(at: Path) -> None:
    """A socket in a file system; its path may be no longer than 107 bytes."""
    with contextlib.chdir(at.parent), contextlib.closing(socket.socket(socket.AF_UNIX)) as one:
        one.bind(at.name)


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("place", ["training/P1/images/2020-05-01/2.dcm", "training/P1/odd", "odd.json"])
def test_what_is_no_file_of_the_bucket_is_named_and_neither_listed_nor_read(
    bucket: Path, kind: str, place: str
) -> None:
    before = keys(bucket)
    make, reason = ODD[kind]
    try:
        make(bucket / place, bucket.parent / "outside")
    except PermissionError:
        pytest.skip("this user makes no devices")
    assert keys(bucket) == before
    found = skipped(bucket)
    assert found[place].startswith(reason)
    assert skipped(bucket, place) == {key: why for key, why in found.items() if key.startswith(place)}
    assert isinstance(read(bucket, place), ReadFailure)
    for below in ("9.json", "etc/passwd", "passwd"):
        assert isinstance(read(bucket, f"{place}/{below}"), ReadFailure)
        assert keys(bucket, f"{place}/{below}") == set()


def test_a_chain_of_links_is_judged_by_where_it_ends(bucket: Path) -> None:
    (bucket / "a").symlink_to("b")
    (bucket / "b").symlink_to("training/../c")
    (bucket / "c").symlink_to(bucket.parent / "outside")
    assert skipped(bucket) == dict.fromkeys("abc", OUTSIDE)
    (bucket / "c").unlink()
    (bucket.parent / "outside" / "back").symlink_to(bucket / "training" / "P1")
    (bucket / "c").symlink_to(bucket.parent / "outside" / "back")  # out and in again
    assert skipped(bucket) == {}
    assert "a/images/2020-05-01/1.dcm" in keys(bucket)
    assert read(bucket, "a/images/2020-05-01/1.dcm", 4) == b"DICM"


def test_links_that_stay_in_the_bucket_are_followed_under_every_path(bucket: Path) -> None:
    (bucket / "training" / "P2").symlink_to("P1")
    (bucket / "training" / "P3").symlink_to(bucket / "training" / "P1")
    (bucket / "one.dcm").symlink_to("training/P1/images/2020-05-01/1.dcm")
    whole = keys(bucket)
    assert len(whole) == 7
    assert skipped(bucket) == {}
    for patient in ("P1", "P2", "P3"):
        prefix = f"training/{patient}/im"
        assert keys(bucket, prefix) == {key for key in whole if key.startswith(prefix)} != set()
        assert read(bucket, f"training/{patient}/images/2020-05-01/1.dcm", 4) == b"DICM"
    assert read(bucket, "one.dcm", 4) == b"DICM"


def test_links_that_go_round_or_multiply_come_to_an_end(bucket: Path) -> None:
    for number in range(12):
        (bucket / f"f{number}").mkdir()
        (bucket / f"f{number}" / "x.json").write_text("{}")
        for name in "ab":
            (bucket / f"f{number}" / name).symlink_to(f"../f{(number + 1) % 12}")
    found = keys(bucket)
    assert {f"f{number}/x.json" for number in range(12)} <= found
    assert len(found) < 500
    assert set(skipped(bucket).values()) == {walking.DEEP}
    (bucket / "round").mkdir()
    (bucket / "round" / "trip").symlink_to("../f0/back")
    (bucket / "f0" / "back").symlink_to("../round")
    assert walking.LOOP in skipped(bucket).values()


def test_a_link_that_is_put_in_after_the_listing_is_not_followed(bucket: Path) -> None:
    write_objects(bucket, {"training/P2/data/2020-05-01/9.json": "x" * len(SECRET)})
    key = "training/P2/data/2020-05-01/9.json"
    assert read(bucket, key) == b"x" * len(SECRET)
    for place, target in (
        ("training/P2/data/2020-05-01/9.json", "9.json"),
        ("training/P2/data/2020-05-01", ""),
    ):
        (bucket / place).rename(bucket.parent / "kept")
        (bucket / place).symlink_to(bucket.parent / "outside" / target)
        found = read(bucket, key)
        assert isinstance(found, ReadFailure)
        assert found.reason == OUTSIDE
        (bucket / place).unlink()
        (bucket.parent / "kept").rename(bucket / place)


def test_keys_that_are_paths_out_of_the_bucket_are_not_read(bucket: Path) -> None:
    for key in ("../outside/9.json", str(bucket.parent / "outside" / "9.json"), "training/../../outside/9.json"):
        assert isinstance(read(bucket, key), ReadFailure)
    for prefix in ("../outside/", f"{bucket.parent}/outside/", "training/../../outside/"):
        assert keys(bucket, prefix) == set()


def test_a_bucket_may_itself_be_reached_by_a_link(bucket: Path) -> None:
    (bucket.parent / "link").symlink_to(bucket)
    assert keys(bucket.parent / "link") == keys(bucket)
    assert read(bucket.parent / "link", "training/P1/images/2020-05-01/1.dcm", 4) == b"DICM"


@pytest.mark.slow
def test_a_refresh_names_what_it_passed_over_until_it_is_gone(bucket: Path, here: Chest, new_lake: Path) -> None:
    lake = new_lake
    (bucket / "training" / "P1" / "secret.dcm").symlink_to("/etc/passwd")
    (bucket / "validation").symlink_to("/proc/self")
    os.mkfifo(bucket / "training" / "P1" / "pipe.json")
    done = here("refresh", bucket, "--lake", lake, "-q")
    assert done.returncode == 0, done.stderr
    assert "3 entries are not objects, or cannot be named, and were skipped:  chest rejects" in done.stderr
    assert "2 objects listed" in done.stdout
    rows = "select key, kind, reason, group_name from ops.rejects order by key"
    with warehouse.open(str(lake)) as wh:
        assert wh.con.sql(rows).fetchall() == [
            ("training/P1/pipe.json", "skipped", NO_FILE, "training"),
            ("training/P1/secret.dcm", "skipped", OUTSIDE, "training"),
            ("validation", "skipped", OUTSIDE, None),
        ]
    assert here("check", "books", "--lake", lake).returncode == 0
    assert not warehouse.refresh(str(bucket), str(lake)).published.is_new
    (bucket / "validation").unlink()
    (bucket / "training" / "P1" / "pipe.json").unlink()
    (bucket / "training" / "P1" / "secret.dcm").unlink()
    (bucket / "training" / "P1" / "secret.dcm").write_text("DICM")
    assert warehouse.refresh(str(bucket), str(lake), prefix="training/P1/s").objects.added == 1
    with warehouse.open(str(lake)) as wh:
        assert [key for key, *_ in wh.con.sql(rows).fetchall()] == ["training/P1/pipe.json", "validation"]
    assert warehouse.refresh(str(bucket), str(lake)).published.is_new
    with warehouse.open(str(lake)) as wh:
        assert wh.con.sql(rows).fetchall() == []


@pytest.mark.slow
def test_a_name_that_is_not_utf8_is_passed_over_and_takes_the_place_of_no_other(
    bucket: Path, here: Chest, new_lake: Path
) -> None:
    """By escapes it was the key of another file, and could not be read."""
    folder = bucket / "training/P1/images_metadata/2020-05-01"
    (folder / r"\xff.json").write_text(HEADER % "2")
    try:
        Path(os.fsdecode(bytes(folder) + b"/\xff.json")).write_text(HEADER % "three")
    except OSError:
        pytest.skip("this file system has no such names")
    done = here("refresh", bucket, "--lake", new_lake, "-q")
    assert (done.returncode, "3 objects listed" in done.stdout) == (0, True), done.stdout
    with warehouse.open(str(new_lake)) as wh:
        assert wh.con.sql("select SOPInstanceUID from core.images order by all").fetchall() == [("1",), ("2",)]
        assert wh.con.sql("select kind, key, reason from ops.rejects").fetchall() == [
            ("skipped", r"training/P1/images_metadata/2020-05-01/\xff.json", "its name is not UTF-8: rename the file")
        ]
    assert not warehouse.refresh(str(bucket), str(new_lake)).published.is_new


@pytest.mark.slow
def test_a_bucket_of_a_running_process_is_listed(tmp_path: Path, chest: Chest) -> None:
    done = chest("refresh", "/proc/self", "--lake", tmp_path / "lake", "-q")
    if os.geteuid() == 0:  # others may not look into all of it
        assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("inside", ["lake", "training/P1/lake", "."])
def test_a_lake_in_its_own_bucket_is_refused(bucket: Path, here: Chest, inside: str) -> None:
    (bucket.parent / "other").symlink_to(bucket)
    for address in (bucket / inside, bucket.parent / "other" / inside):
        done = here("refresh", bucket, "--lake", address)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "is inside its own bucket" in done.stderr
    assert not (bucket / "lake").exists()
    with pytest.raises(UsageError, match="is inside its own bucket"):
        warehouse.refresh(str(bucket), str(bucket / inside))


AS_NOBODY = """
import os, sys
from pathlib import Path
from warehouse.object_store.folder import FolderBucket
bucket = FolderBucket(Path(sys.argv[1]))
for _ in bucket.listing():  # imports what nobody may not be able to
    pass
os.setgid(65534); os.setgroups([]); os.setuid(65534)
print(sum(batch.num_rows for batch in bucket.listing()), [(one.key, one.reason) for one in bucket.skipped])
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may enter; those of pytest are its user's alone."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become nobody")
def test_a_folder_without_permission_is_an_error_inside_and_nothing_behind_a_link_out(public: Path) -> None:
    bucket = public / "bucket"
    write_objects(
        bucket, {"training/P1/images/2020-05-01/1.dcm": "DICM", "training/P1/data/2020-05-01/data.json": "{}"}
    )
    write_objects(public / "outside", {"9.json": SECRET})
    (bucket.parent / "outside").chmod(0o700)
    (bucket / "link").symlink_to(bucket.parent / "outside")
    (bucket / "file.json").symlink_to(bucket.parent / "outside" / "9.json")

    def run() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", AS_NOBODY, str(bucket)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = run()
    assert done.stdout.startswith("2 "), done.stderr
    assert f"('link', '{OUTSIDE}')" in done.stdout
    assert f"('file.json', '{walking.UNRESOLVED}: Permission denied')" in done.stdout
    (bucket / "training" / "P1" / "images").chmod(0o700)
    done = run()
    assert "cannot be listed whole: Permission denied" in done.stderr


def test_a_farm_of_links_that_lead_out_is_refused(bucket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warehouse.object_store.folder._MOST_SKIPPED", 3)
    for number in range(5):
        (bucket / f"{number}.json").symlink_to("/etc/passwd")
    with pytest.raises(SourceError, match="more than 3 paths that are not objects"):
        keys(bucket)
