"""Transient failures of a bucket are distinguished from permanent ones; short ones are retried without a message."""

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Chest
from faulty import Fault, Faulty, answer_with, cut_off, is_page, reset_connection, serve_faulty, stall
from servers import S3, serve_moto

import warehouse
from warehouse.errors import SourceDownError, SourceError, WarehouseError
from warehouse.settings import Settings

RECORD = b'{"Pseudonym": "Covid1", "SwabStatus": "Negative", "SubmittingCentre": "Leeds"}'
KEYS = [f"training/Covid{number}/data/2020-03-01/data.json" for number in range(30)]
#: A user waits twenty seconds for an answer; a test does not.
SETTINGS = Settings(request_seconds=0.5)

SLOW_DOWN = answer_with(503, "SlowDown")


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with serve_moto() as running:
        running.put("chest", dict.fromkeys(KEYS, RECORD))
        yield running


@pytest.fixture(scope="module")
def proxy(server: S3) -> Iterator[Faulty]:
    with serve_faulty(server) as running:
        yield running


@pytest.fixture
def bucket(proxy: Faulty, monkeypatch: pytest.MonkeyPatch) -> Faulty:
    for name, value in proxy.s3.environment.items():
        monkeypatch.setenv(name, value)
    proxy.fail(None)
    return proxy


def is_object(path: str) -> bool:
    return "data.json" in path.partition("?")[0]


def refused(lake: Path) -> WarehouseError:
    """How a refresh fails, in one line and soon."""
    start = time.monotonic()
    with pytest.raises(SourceError) as caught:
        warehouse.refresh("s3://chest", str(lake), settings=SETTINGS)
    assert time.monotonic() - start < 30
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("s3://chest")
    return caught.value


@pytest.mark.slow(after=1)
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (SLOW_DOWN, "fewer requests"),
        (answer_with(503, "RequestLimitExceeded"), "fewer requests"),
        (answer_with(500, "InternalError"), "a fault of its own"),
        (reset_connection, "does not answer any more|cannot be reached"),
        (stall, "does not answer any more|cannot be reached"),
        (cut_off, "does not answer any more|cannot be reached|a fault of its own"),
    ],
    ids=["slow_down", "limit", "broken", "reset", "hang", "cut"],
)
@pytest.mark.parametrize("when", [is_page, is_object], ids=["listing", "reading"])
def test_what_may_heal_is_marked(
    bucket: Faulty, new_lake: Path, fault: Fault, words: str, when: Callable[[str], bool]
) -> None:
    bucket.fail(fault, when=when)
    error = refused(new_lake)
    assert isinstance(error, SourceDownError), error
    assert error.heals
    assert re.search(words, str(error)), error
    assert bucket.failed > (
        fault is not cut_off
    )  # tried again, but a listing that broke off in the middle: that is left to the next run
    if fault is cut_off and when is is_object:  # what was left undone, the next refresh does
        bucket.fail(None)
        assert warehouse.refresh("s3://chest", str(new_lake), settings=SETTINGS).clinical.loaded == 30


@pytest.mark.slow(after=1)
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (answer_with(403, "AccessDenied"), "s3:ListBucket"),
        (answer_with(400, "ExpiredToken"), "expired. Log in again"),
        (answer_with(403, "InvalidAccessKeyId"), "AWS_ACCESS_KEY_ID"),
        (answer_with(403, "SignatureDoesNotMatch"), "AWS_SECRET_ACCESS_KEY"),
        (answer_with(404, "NoSuchBucket"), "bucket does not exist"),
    ],
    ids=["denied", "expired", "unknown_key", "wrong_key", "no_bucket"],
)
def test_what_will_not_heal_is_not_tried_again(bucket: Faulty, tmp_path: Path, fault: Fault, words: str) -> None:
    for when in (is_page, lambda path: True):
        bucket.fail(fault, when=when)
        error = refused(tmp_path / "lake")
        assert not error.heals, error
        assert words in str(error)
        assert bucket.failed <= 2


@pytest.mark.slow(after=1)
@pytest.mark.parametrize(
    "fault", [SLOW_DOWN, reset_connection, answer_with(500, "InternalError")], ids=["slow", "reset", "broken"]
)
def test_short_trouble_heals_within_the_refresh(bucket: Faulty, new_lake: Path, fault: Fault) -> None:
    bucket.fail(fault, times=2)
    patient = Settings(request_seconds=5)
    assert warehouse.refresh("s3://chest", str(new_lake), settings=patient).clinical.loaded == 30
    assert bucket.failed == 2


def test_objects_that_are_throttled_are_read_in_the_end(bucket: Faulty, new_lake: Path) -> None:
    bucket.fail(SLOW_DOWN, times=20, when=is_object)
    patient = Settings(request_seconds=5)
    assert warehouse.refresh("s3://chest", str(new_lake), settings=patient).clinical.loaded == 30
    assert bucket.failed == 20


def test_the_command_reports_it_in_one_line(bucket: Faulty, tmp_path: Path, chest: Chest) -> None:
    bucket.fail(SLOW_DOWN)
    environment = {**os.environ, "CHEST_REQUEST_SECONDS": "0.5"}
    done = chest("refresh", "s3://chest", "--lake", tmp_path / "lake", "-q", env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line == "chest: s3://chest: it asks for fewer requests (SlowDown). Wait a little, then run it again."
    assert not (tmp_path / "lake").exists()
