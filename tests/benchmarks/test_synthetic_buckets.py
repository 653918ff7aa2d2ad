"""The buckets that benchmarks make on the fly are loaded whole, behind the interface of buckets and behind HTTP."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import warehouse
from benchmarks.synthetic_s3 import serve_store
from benchmarks.synthetic_store import CHANGED_EVERY, COPY, Store, SyntheticBucket, make_pool

_OBJECTS = 2_500


def test_keys_are_in_order_and_lead_back_to_their_numbers() -> None:
    store = Store(_OBJECTS)
    listed = [key for batch in SyntheticBucket(store).listing() for key in batch.column("key").to_pylist()]
    assert listed == sorted(listed)
    assert [store.find_number(key) for key in listed] == list(range(_OBJECTS))
    assert store.find_number(Store(_OBJECTS + 1).make_key(_OBJECTS)) is None
    assert store.find_number("training/Covid1/images/2020-03-01/1.dcm") is None


def test_bodies_are_of_their_copy_and_change_with_the_generation() -> None:
    before, after = Store(_OBJECTS), Store(_OBJECTS, generation=1)
    length = len(make_pool().keys)
    place = next(place for place in range(length) if before.is_small(place))
    assert before.make_body(place) != before.make_body(place + length)
    assert COPY.encode() not in before.make_body(place)
    assert len(before.make_body(place)) == before.get_size(place)
    changed = [number for number in range(_OBJECTS) if after.make_etag(number) != before.make_etag(number)]
    assert changed == list(range(0, _OBJECTS, CHANGED_EVERY))


@pytest.mark.slow
def test_a_refresh_loads_the_same_behind_the_interface_and_behind_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    command = [sys.executable, "-m", "benchmarks.synthetic_refresh", str(_OBJECTS), "0", str(tmp_path / "process")]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "CHEST_WORKERS": "1"})
    with serve_store(_OBJECTS) as served:
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        first = warehouse.refresh("s3://chest", tmp_path / "http")
        counts = served.take_counts()
        assert counts["GET"] >= first.images.loaded + first.clinical.loaded
        assert counts["LIST"] >= -(-_OBJECTS // 1000)
        served.set_generation(1)
        again = warehouse.refresh("s3://chest", tmp_path / "http")
    assert (first.objects.added, again.objects.changed) == (_OBJECTS, len(range(0, _OBJECTS, CHANGED_EVERY)))
    found = []
    for lake in ("process", "http"):
        with warehouse.open(tmp_path / lake) as wh:
            query = "select patient_id, image_id, StudyInstanceUID from images order by all"
            found.append(wh.sql(query).fetchall())
    assert found[0] == found[1]
    assert len(found[0]) == first.images.loaded > 1_000


def test_the_stand_in_answers_with_etags_that_are_md5s() -> None:
    import obstore
    from obstore.store import S3Store

    store = Store(300)
    number = next(number for number in range(300) if store.is_small(number))
    with serve_store(300) as served:
        client = S3Store(
            "chest", endpoint=served.endpoint, access_key_id="k", secret_access_key="s", region="us-east-1",
            virtual_hosted_style_request=False, client_options={"allow_http": True},
        )  # fmt: skip
        answer = obstore.get(client, store.make_key(number))
        body = bytes(answer.bytes())
        assert body == store.make_body(number)
        assert (answer.meta["e_tag"] or "").strip('"') == hashlib.md5(body).hexdigest()
        assert bytes(obstore.get_range(client, store.make_key(number), start=10, end=20)) == body[10:20]
        with pytest.raises(FileNotFoundError):
            obstore.get(client, "training/none")
