"""Manifests of buckets on real S3 servers: the folder's digest, and downloads checked by MD5, parts and checksums."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from conftest import start_lake
from servers import S3, serve_rclone

import warehouse
from warehouse.manifests.checksums import How
from warehouse.manifests.download import download, raise_for_failed
from warehouse.manifests.verify import verify
from warehouse.synthetic import make_bucket

COHORT = """\
-- title: All
-- question: Which patients are there?
-- grain: patient
select patient_id, n_images from patients
"""
PATIENT = "training/PatA"
MIB = 1 << 20


def export(source: str, root: Path, objects: tuple[str, ...] = ("dcm", "json")) -> warehouse.Manifest:
    root.mkdir(exist_ok=True)
    (root / "all.sql").write_text(COHORT)
    warehouse.refresh(source, str(start_lake(root / "lake")))
    with warehouse.open(str(root / "lake")) as wh:
        return wh.group("all").cohort(root / "all.sql").export(root / "manifest", objects=objects)


def header(image: str, patient: str = "PatA") -> bytes:
    tags = {"00080018": image, "0020000D": "1.9", "0020000E": "1.9.1", "00080060": "CR", "00100020": patient}
    return json.dumps({tag: {"vr": "UI", "Value": [value]} for tag, value in tags.items()}).encode()


def keys_of(image: str, patient: str = PATIENT) -> tuple[str, str]:
    return f"{patient}/images_metadata/2020-03-01/{image}.json", f"{patient}/images/2020-03-01/{image}.dcm"


@pytest.mark.slow
def test_folder_and_s3_have_one_digest_and_the_download_is_checked_by_md5(s3: S3, tmp_path: Path) -> None:
    make_bucket(tmp_path / "bucket", 4)
    s3.upload(tmp_path / "bucket", "four")
    s3.upload(tmp_path / "bucket", "sites", "site a/")
    by_folder = export(str(tmp_path / "bucket"), tmp_path / "f", ("dcm", "json", "clinical"))
    by_s3 = export("s3://four", tmp_path / "s", ("dcm", "json", "clinical"))
    below = export("s3://sites/site a", tmp_path / "p", ("dcm", "json", "clinical"))
    assert by_folder.digest == by_s3.digest == below.digest
    assert by_s3.about["sources"] == ["s3://four"]
    total = by_s3.about["counts"]["objects"]
    first = below.polars().row(0, named=True)
    assert first["uri"] == f"s3://sites/site a/{first['key']}"
    assert (
        f"cp --raw 's3://sites/site a/{first['key']}' '{first['key']}'"
        in (below.folder / "download.s5cmd").read_text().splitlines()
    )

    found = download(below, tmp_path / "data")
    assert (found.fetched, found.failed, found.checks) == (total, [], {How.MD5: total})
    for row in by_folder.polars().iter_rows(named=True):
        assert (tmp_path / "data" / row["key"]).read_bytes() == Path(row["uri"]).read_bytes()
    assert (download(by_s3, tmp_path / "data").kept) == total  # the MD5s are those of any bucket

    assert verify(by_s3).holds
    copied = verify(by_folder, source="s3://four")
    assert (copied.holds, copied.by_size) == (True, total)
    assert verify(below, source="s3://four").by_size == 0


@pytest.mark.slow
def test_what_is_gone_or_replaced_on_s3_is_named(s3: S3, tmp_path: Path) -> None:
    objects = {}
    for image in ("1", "2", "3"):
        head, dcm = keys_of(image)
        objects |= {head: header(image), dcm: image.encode() * 100}
    s3.put("changing", objects)
    made = export("s3://changing", tmp_path / "c")
    s3.client().delete_object(Bucket="changing", Key=keys_of("1")[1])
    s3.client().put_object(Bucket="changing", Key=keys_of("2")[1], Body=b"x" * 100)
    verdict = verify(made)
    assert [(row["status"], row["key"]) for row in verdict.problems.to_pylist()] == [
        ("changed", keys_of("2")[1]),
        ("missing", keys_of("1")[1]),
    ]
    found = download(made, tmp_path / "data")
    assert dict(found.failed) == {
        keys_of("1")[1]: "missing from the bucket",
        keys_of("2")[1]: "changed in the bucket since the manifest was made",
    }
    with pytest.raises(warehouse.ManifestError, match="2 of 6 objects"):
        raise_for_failed(made, tmp_path / "data", found)


@pytest.mark.slow
def test_objects_in_parts_are_checked_by_the_md5_of_their_parts(s3: S3, tmp_path: Path) -> None:
    """Parts of 5 MiB are usual; S3 reports 6 MiB; otherwise S3's checksum is compared, or the size alone."""
    client = s3.client()
    s3.put("parts", {keys_of(image)[0]: header(image) for image in ("1", "2", "3")})
    contents = {}
    for image, part in (("1", 5 * MIB), ("2", 6 * MIB)):
        content = contents[image] = os.urandom(11 * MIB)
        key = keys_of(image)[1]
        upload = client.create_multipart_upload(Bucket="parts", Key=key)["UploadId"]
        parts = [
            {
                "PartNumber": number,
                "ETag": client.upload_part(
                    Bucket="parts", Key=key, UploadId=upload, PartNumber=number, Body=content[at : at + part]
                )["ETag"],
            }
            for number, at in enumerate(range(0, len(content), part), 1)
        ]
        client.complete_multipart_upload(Bucket="parts", Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
    client.put_object(Bucket="parts", Key=keys_of("3")[1], Body=b"one")
    made = export("s3://parts", tmp_path / "m", ("dcm",))
    etags = dict(made.polars().select("SOPInstanceUID", "etag").iter_rows())
    assert (etags["1"][-2:], etags["2"][-2:]) == ("-3", "-2")
    found = download(made, tmp_path / "data")
    assert found.failed == []
    assert found.checks[How.MD5] == 1
    assert found.checks[How.PARTS] >= 1
    assert found.checks.total() == 3
    for image, content in contents.items():
        path = tmp_path / "data" / keys_of(image)[1]
        assert path.read_bytes() == content
    path = tmp_path / "data" / keys_of("1")[1]
    path.write_bytes(contents["1"][:-1] + b"?")
    again = download(made, tmp_path / "data")
    assert again.fetched >= 1
    assert path.read_bytes() == contents["1"]


@pytest.mark.slow
def test_no_key_of_a_bucket_is_written_outside_the_folder(s3: S3, tmp_path: Path) -> None:
    """`..` may be the name of a patient to S3; it must not be that of a folder."""
    _, evil = keys_of("../../../escaped", "training/..")
    good_head, good = keys_of("1")
    sly_head, sly = keys_of("2", "training/..")
    s3.put("evil", {good_head: header("1"), good: b"good", sly_head: header("2", ".."), sly: b"sly", evil: b"evil"})
    made = export("s3://evil", tmp_path / "m")
    assert sly in made.polars()["key"].to_list()
    text = (made.folder / "download.s5cmd").read_text()
    assert f"cp --raw 's3://evil/{good}'" in text
    assert "'training/.." not in text
    before = {path for path in tmp_path.rglob("*") if "data" not in path.parts}
    found = download(made, tmp_path / "in" / "data")
    assert {reason for _, reason in found.failed} == {"would be written outside the folder"}
    assert {key for key, _ in found.failed} == {sly, sly_head}
    assert {path.name for path in (tmp_path / "in").iterdir()} == {"data"}
    assert before <= {path for path in tmp_path.rglob("*") if "data" not in path.parts}
    assert (tmp_path / "in/data" / good).read_bytes() == b"good"


@pytest.mark.slow
def test_another_server_with_keys_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """rclone: refusals are one line, and what it serves is downloaded and verified like S3's."""
    root = tmp_path / "served"
    make_bucket(root / "bucket", 2)
    with serve_rclone(root) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        made = export("s3://bucket", tmp_path / "m")
        assert verify(made).holds
        found = download(made, tmp_path / "data", workers=4)
        assert found.failed == []
        assert found.fetched == made.about["counts"]["objects"]
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        with pytest.raises(warehouse.SourceError, match="secret key"):
            download(made, tmp_path / "more")


@pytest.mark.slow
def test_a_bucket_that_ends_early_or_serves_other_bytes_is_asked_again(s3: S3, tmp_path: Path) -> None:
    """A part from a download that was cut, with bytes that went bad on the way: what does not match is fetched anew."""
    head, dcm = keys_of("1")
    content = os.urandom(3 * MIB)
    s3.put("cut", {head: header("1"), dcm: content})
    made = export("s3://cut", tmp_path / "m", ("dcm",))
    row = made.polars().row(0, named=True)
    part = tmp_path / "data/.chest/parts" / hashlib.sha256(f"{row['uri']}\n{row['etag']}".encode()).hexdigest()
    part.parent.mkdir(parents=True)
    part.write_bytes(content[: 2 * MIB])
    assert download(made, tmp_path / "data").bytes == MIB
    assert (tmp_path / "data" / dcm).read_bytes() == content
    (tmp_path / "data" / dcm).unlink()
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 2 * MIB)
    found = download(made, tmp_path / "data")
    assert (found.failed, found.checks) == ([], {How.MD5: 1})
    assert (tmp_path / "data" / dcm).read_bytes() == content
