"""Keys of S3 exactly as the bucket has them: our listing and reading beside boto3's, for whatever the server takes."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers import S3

from warehouse.object_store.base import ReadFailure
from warehouse.object_store.s3 import S3Bucket
from warehouse.settings import Settings

#: What other programs normalise, encode, escape or take for an end.
HOSTILE = [
    *("/", "//", ".", "..", "./", "../", "%", "%2F", "%00", "+", " ", "&lt;", "<", "&", '"', "'", "\\", "#", "?", "*"),
    *("\t", "\n", "\r", "\x01", "\x1f", "\x7f", "\u0085", "\u202e", "é", "e\u0301", "\U0001f9ec", "\ufffe", "a", "Z"),
]
PIECE = st.sampled_from(HOSTILE) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3
)
KEY = st.lists(PIECE, min_size=1, max_size=8).map("".join).filter(bool)


def put(client: Any, bucket: str, keys: set[str]) -> None:
    def one(key: str) -> None:
        with contextlib.suppress(client.exceptions.ClientError):  # the server does not take that key
            client.put_object(Bucket=bucket, Key=key, Body=key.encode())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, keys))


def listed_by_boto3(client: Any, bucket: str, prefix: str) -> dict[str, tuple[int, str]]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    rows = [row for page in pages for row in page.get("Contents", [])]
    return {row["Key"][len(prefix) :]: (row["Size"], row["ETag"].strip('"')) for row in rows}


def listed(bucket: S3Bucket, prefix: str = "") -> dict[str, tuple[int, str]]:
    rows = [row for batch in bucket.listing(prefix) for row in batch.to_pylist()]
    assert len({row["key"] for row in rows}) == len(rows)
    return {row["key"]: (row["size"], row["etag"]) for row in rows}


NUMBERS = count()


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=st.sets(KEY, min_size=1, max_size=12), below=st.sampled_from(["", "site/", "s//%2F é+/"]), data=st.data())
def test_keys_are_those_of_boto3(s3: S3, keys: set[str], below: str, data: st.DataObject) -> None:
    client, name = s3.client(), f"keys{next(NUMBERS)}"
    client.create_bucket(Bucket=name)
    put(client, name, {below + key for key in keys} | {"elsewhere", f"{below}a", f"{below.strip('/')}-not"})
    bucket = S3Bucket(f"s3://{name}/{below}", Settings())
    expected = listed_by_boto3(client, name, below)
    found = listed(bucket)
    assert found == expected
    assert set(expected) >= {key for key in {*keys, "a"} if key.isalnum()}

    # Each object is read as that key's, by both ways of reading.
    order = sorted(found)
    buffer = memoryview(bytearray(sum(size for size, _ in found.values())))
    unread = bucket.read_into(buffer, order, [found[k][1] for k in order], [found[k][0] for k in order])
    assert unread == {}
    assert bytes(buffer) == b"".join((below + key).encode() for key in order)
    for key in order:
        content = bucket.stream(key, 1 if data.draw(st.booleans()) and found[key][0] > 1 else 0)
        assert not isinstance(content, ReadFailure), repr(key)
        read = b"".join(map(bytes, content.chunks))
        assert (below + key).encode().endswith(read)
        assert len(read) >= found[key][0] - 1
        assert (content.etag, content.size) == (found[key][1], found[key][0])

    # A listing of a part has the keys of that part.
    whole = data.draw(st.sampled_from(order))
    part = whole[: data.draw(st.integers(0, len(whole)))]
    assert listed(bucket, part) == {key: facts for key, facts in expected.items() if key.startswith(part)}
    rows, _, more = bucket.page(part, "")
    assert ({key: (size, etag) for key, size, etag in rows}, more) == (listed(bucket, part), "")
