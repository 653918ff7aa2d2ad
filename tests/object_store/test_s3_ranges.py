"""A large bucket is listed by several ranges of keys at once: each key once, whatever the keys are."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
from faulty import answer_with_page, serve_faulty
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from servers import S3

from warehouse.object_store.s3_listing import NotAListingError
from warehouse.object_store.s3_ranges import find_middle, list_by_ranges

#: Texts that XML can hold, of a few characters, so that many begin alike.
TEXT = st.text(st.sampled_from("a/b~é0 9\U0001f600\ud7ff\ue000"), min_size=1, max_size=8)
NUMBERS = count()


def fill(s3: S3, keys: list[str]) -> str:
    client, name = s3.client(), f"ranges{next(NUMBERS)}"
    client.create_bucket(Bucket=name)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: client.put_object(Bucket=name, Key=key, Body=b""), keys))
    return name


def list_keys(s3: S3, bucket: str, prefix: str = "", threads: int = 4) -> list[str]:
    batches = list_by_ranges(s3.client(), bucket, prefix, threads, page_size=3, pages_alone=2)
    return [key for batch in batches for key in batch.column("key").to_pylist()]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=st.sets(TEXT, max_size=60))
def test_every_key_is_listed_once(s3: S3, keys: set[str]) -> None:
    bucket = fill(s3, sorted(keys))
    assert sorted(list_keys(s3, bucket)) == sorted(keys)
    assert sorted(list_keys(s3, bucket, "a")) == sorted(key for key in keys if key.startswith("a"))


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("parts", ["éê", "\x7f\x80", "\ud7ff\ue000", "zé", "~\x7f"])
def test_no_key_is_missed_whose_characters_follow_those_of_ascii(s3: S3, parts: str) -> None:
    keys = [f"a{part}{n:02}" for part in parts for n in range(30)]
    bucket = fill(s3, keys)
    assert sorted(list_keys(s3, bucket)) == sorted(keys)
    assert sorted(list_keys(s3, bucket, f"a{parts[0]}")) == sorted(key for key in keys if key[1] == parts[0])


@pytest.mark.slow
def test_the_keys_of_a_hospital_are_listed_by_more_than_one_thread(s3: S3) -> None:
    keys = [f"training/Covid{n}/images/2020-03-0{n % 9 + 1}/{n}.dcm" for n in range(120)]
    bucket = fill(s3, keys)
    client, listers = s3.client(), set()
    pages = client.list_objects_v2
    client.list_objects_v2 = lambda **asked: (listers.add(threading.get_ident()), pages(**asked))[1]
    found = list_by_ranges(client, bucket, "", 4, page_size=3, pages_alone=2)
    assert sorted(key for batch in found for key in batch.column("key").to_pylist()) == sorted(keys)
    assert len(listers) > 2


def test_an_answer_that_is_no_listing_ends_all_threads(s3: S3) -> None:
    bucket = fill(s3, [f"{n:03}" for n in range(60)])
    before = threading.active_count()
    with serve_faulty(s3) as proxy:
        client: Any = proxy.s3.client()
        found = list_by_ranges(client, bucket, "", 4, page_size=3, pages_alone=2)
        next(found)
        next(found)
        proxy.fail(answer_with_page)
        with pytest.raises(NotAListingError):
            list(found)
    assert not [one for one in threading.enumerate() if one.name.startswith("list")]
    assert threading.active_count() <= before + 8  # the proxy's own


def test_whoever_stops_reading_stops_the_listing(s3: S3) -> None:
    bucket = fill(s3, [f"{n:03}" for n in range(90)])
    found = list_by_ranges(s3.client(), bucket, "", 4, page_size=1, pages_alone=2)
    for _ in range(4):
        next(found)
    found.close()  # type: ignore[attr-defined]
    assert not [one for one in threading.enumerate() if one.name.startswith("list")]


@given(one=st.text(st.characters(exclude_categories=["Cs"])), other=st.text(st.characters(exclude_categories=["Cs"])))
@example(one="", other="")
def test_the_middle_of_two_texts_is_between_them_in_bytes(one: str, other: str) -> None:
    low, high = sorted((one, other), key=str.encode)
    assert find_middle(low, None) is None
    if (found := find_middle(low, high)) is not None:
        assert low.encode() < found.encode() < high.encode()
