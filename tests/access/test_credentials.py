"""What AWS is given: policies of what an agreement covers, and addresses that end with it and with their token."""

import csv
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import boto3
import botocore.auth
import pytest
from agreed_lakes import TERMS, append, end_of, find_last, make_lake, make_objects
from botocore.exceptions import ClientError
from conftest import Chest
from dicom_files import build_file
from hypothesis import given
from hypothesis import strategies as st
from servers import S3, serve_rclone

import warehouse
from warehouse.access import log, policy, vocabulary
from warehouse.errors import AccessRefusedError, UsageError
from warehouse.lake.location import parse_address
from warehouse.manifests.presigning import (
    LONGEST,
    Address,
    Signer,
    compute_end,
    format_length,
    parse_length,
    render_addresses,
)
from warehouse.settings import Settings, load_settings

BUCKET = "chest-agreed"
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
PERIOD = policy.Period(NOW, NOW + timedelta(days=30))


@pytest.fixture(scope="module")
def lake(server: S3, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A lake of a bucket on S3, which enforces its agreements."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        server.put(
            BUCKET, {key: text.encode() if isinstance(text, str) else text for key, text in make_objects().items()}
        )
        return make_lake(tmp_path_factory.mktemp("agreed"), bucket=f"s3://{BUCKET}")


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("cohort") / "films.sql"
    path.write_text(
        "-- title: All images\n-- question: Which images are there?\n-- grain: image\n"
        "select SOPInstanceUID, patient_id, Modality from images\n"
    )
    return str(path)


@pytest.fixture
def folder(here: Chest, s3: S3, lake: str, films: str, tmp_path: Path) -> Path:
    """A manifest of Leeds."""
    done = here("manifest", "export", films, "--lake", lake, "--agreement", "2026-0003", "-o", tmp_path / "manifest")
    assert done.returncode == 0, done.stderr
    return tmp_path / "manifest"


@pytest.mark.slow
def test_the_policy_of_an_agreement_is_one_that_aws_takes(here: Chest, s3: S3, lake: str) -> None:
    done = here("access", "policy", "2026-0001", "--lake", lake, "--deny-others")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    allow, read, deny = made["Statement"]
    until = f"{end_of('2026-0001') + timedelta(days=1)}T00:00:00Z"
    assert allow["Condition"]["StringLike"] == {"s3:prefix": ["training/*"]}
    assert read["Resource"] == [f"arn:aws:s3:::{BUCKET}/training/*"]
    assert deny["Resource"] == [f"arn:aws:s3:::{BUCKET}/validation/*"]
    assert [each["Condition"]["DateLessThan"] for each in (allow, read)] == [{"aws:CurrentTime": until}] * 2
    assert f"1 prefixes, until {until}" in done.stderr
    assert "it fits the inline policies of a user" in done.stderr
    client = boto3.client("iam", endpoint_url=s3.endpoint, region_name="us-east-1")
    client.create_policy(PolicyName="agreed", PolicyDocument=json.dumps(made))  # moto refuses what is no policy
    broken = json.dumps(made).replace('"Allow"', '"Permit"')
    with pytest.raises(ClientError, match="Syntax errors in policy"):
        client.create_policy(PolicyName="broken", PolicyDocument=broken)


@pytest.mark.slow
def test_the_policy_of_a_manifest_has_a_prefix_for_each_patient(
    here: Chest, s3: S3, lake: str, films: str, tmp_path: Path
) -> None:
    folder = tmp_path / "manifest"
    assert here("manifest", "export", films, "--lake", lake, "--agreement", "2026-0001", "-o", folder).returncode == 0
    role = "arn:aws:iam::111122223333:role/reader"
    done = here("access", "policy", "2026-0001", "--manifest", folder, "--principal", role, "--lake", lake)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    prefixes = [f"training/Pat{name}/*" for name in "ABC"]
    assert made["Statement"][0]["Condition"]["StringLike"] == {"s3:prefix": prefixes}
    assert made["Statement"][1]["Principal"] == {"AWS": role}
    assert "the policy of a bucket" in done.stderr
    s3.client().put_bucket_policy(Bucket=BUCKET, Policy=done.stdout)
    s3.client().delete_bucket_policy(Bucket=BUCKET)


@pytest.mark.parametrize(
    ("agreement", "kind"), [("2026-0002", "modalities"), ("2026-0003", "centres"), ("2026-0004", "fields")]
)
def test_no_policy_is_made_of_what_no_prefix_expresses(
    here: Chest, s3: S3, lake: str, agreement: str, kind: str
) -> None:
    done = here("access", "policy", agreement, "--lake", lake)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"it is limited to {kind}" in done.stderr
    assert "chest manifest presign" in done.stderr


def test_no_policy_is_made_of_an_agreement_that_has_ended(here: Chest, s3: S3, lake: str) -> None:
    done = here("access", "policy", "2026-0005", "--lake", lake)
    assert (done.returncode, done.stdout) == (1, "")
    assert find_last(lake, vocabulary.REFUSED).body["what"] == "chest access policy"


@pytest.mark.slow
def test_no_policy_is_made_of_keys_that_do_not_begin_with_group_and_patient(
    here: Chest, s3: S3, films: str, tmp_path: Path
) -> None:
    """By day and site, a prefix of one patient's key was that of all patients of the day and site."""
    s3.put(
        "chest-by-day", {f"2020-03-02/leeds/{name}/1.dcm": build_file(name, f"1.{name[-1]}") for name in ("P1", "P2")}
    )
    place = tmp_path / "lake"
    warehouse.refresh(
        "s3://chest-by-day",
        str(place),
        settings=replace(load_settings(), layout="{date}/{*}/{patient}/{image}.dcm", layout_group="training"),
    )
    log.append(parse_address(str(place)), Settings(), log.NewEvent(vocabulary.APPROVED, "2026-0001", TERMS))
    one = tmp_path / "one.sql"
    one.write_text(Path(films).read_text().rstrip() + " where patient_id = 'P1'\n")
    given = ("--lake", place, "--agreement", "2026-0001")
    assert here("manifest", "export", one, *given, "-o", tmp_path / "m", "--objects", "dcm").returncode == 0
    for more in (
        (),
        ("--manifest", tmp_path / "m"),
        ("--manifest", tmp_path / "m", "--principal", "arn:aws:iam::1:role/r"),
    ):
        done = here("access", "policy", "2026-0001", *more, "--lake", place)
        assert (done.returncode, done.stdout) == (1, ""), done.stdout
        assert "its keys are laid out by '{date}/{*}/{patient}/{image}.dcm'" in done.stderr
        assert "chest manifest presign" in done.stderr
    done = here("manifest", "presign", tmp_path / "m", "-o", tmp_path / "a.csv", "--lake", place)
    assert done.returncode == 0, done.stderr
    assert [row["key"] for row in read_addresses(tmp_path / "a.csv")] == ["2020-03-02/leeds/P1/1.dcm"]


@pytest.mark.slow
def test_nothing_is_signed_on_the_word_of_a_manifest_alone(here: Chest, s3: S3, films: str, tmp_path: Path) -> None:
    """A stranger's manifest names objects of any bucket that its opener can read: who gets the addresses gets them."""
    objects = {key: text.encode() if isinstance(text, str) else text for key, text in make_objects().items()}
    for name in ("chest-ours", "chest-private"):
        s3.put(name, objects)
        warehouse.refresh(f"s3://{name}", str(tmp_path / name))
    theirs = tmp_path / "theirs"
    assert here("manifest", "export", films, "--lake", tmp_path / "chest-private", "-o", theirs).returncode == 0
    for lake in (tmp_path / "chest-ours", tmp_path / "none"):
        done = here("manifest", "presign", theirs, "-o", tmp_path / "a.csv", "--lake", lake)
        assert done.returncode == 2
        assert f"theirs points to s3://chest-private, which the lake {lake} does not have" in done.stderr
        assert not (tmp_path / "a.csv").exists()
    for more, bucket in (
        (("--source", "s3://chest-private"), "chest-private"),
        (("--source", "s3://chest-private=s3://chest-ours"), "chest-ours"),
        (("--source", "s3://chest-ours"), "chest-ours"),
    ):
        done = here("manifest", "presign", theirs, "-o", tmp_path / "a.csv", "--lake", tmp_path / "chest-ours", *more)
        assert done.returncode == 0, done.stderr
        assert {urlsplit(row["url"]).path.split("/")[1] for row in read_addresses(tmp_path / "a.csv")} == {bucket}


def test_a_policy_fits_where_its_size_lets_it() -> None:
    def find(patients: int) -> list[str]:
        prefixes = [f"training/Covid{number}/" for number in range(patients)]
        return policy.find_places(policy.measure(policy.build_policy({"chest-data-warehouse": prefixes}, PERIOD)))

    assert find(1)[0] == "the inline policies of a user"
    assert find(50)[0] == "the inline policies of a group"
    assert find(100) == ["the inline policies of a role"]
    assert find(1_000) == []
    assert policy.measure({"a": "b c"}) == len('{"a":"bc"}')


def test_grants_are_for_each_prefix() -> None:
    made = policy.list_grants({"a": ["training/X/", "training/Y/"]}, "arn:aws:iam::1:role/r")
    assert [grant["AccessGrantsLocationConfiguration"]["S3SubPrefix"] for grant in made] == [
        "training/X/*",
        "training/Y/*",
    ]
    assert {grant["Permission"] for grant in made} == {"READ"}
    with pytest.raises(UsageError, match="has a \\*"):
        policy.list_grants({"a": ["training/X/", "training/*/"]}, "arn:aws:iam::1:role/r")


def test_prefixes_are_those_of_both_layouts() -> None:
    keys = [
        "training/Covid1/images/2020-03-02/a.dcm",
        "training/ct/Covid2/1/2/a.dcm",
        "training/ct-metadata/Covid2/1/2/a.json",
        "training/data/Covid2/data_2020-03-02.json",
        "training/data/data/2020-03-02/data.json",
    ]
    assert policy.list_patient_prefixes(("s3://b/below", key) for key in keys) == {
        "b": [
            "below/training/Covid1/",
            "below/training/ct-metadata/Covid2/",
            "below/training/ct/Covid2/",
            "below/training/data/Covid2/",
            "below/training/data/data/",
        ]
    }
    with pytest.raises(UsageError, match="below no patient"):
        policy.list_patient_prefixes([("s3://b", "loose.dcm")])
    with pytest.raises(UsageError, match="is a folder"):
        policy.list_group_prefixes(["/data"], ["training"])


def test_signs_of_patterns_stand_for_themselves() -> None:
    assert policy.escape("a*b?$") == "a${*}b${?}${$}"


def read_addresses(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def find_end_of(url: str) -> datetime:
    """When an address ends, as it states itself."""
    query = parse_qs(urlsplit(url).query)
    signed = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return signed + timedelta(seconds=int(query["X-Amz-Expires"][0]))


@pytest.mark.slow
def test_an_address_gives_the_object_without_a_login(here: Chest, folder: Path, lake: str, tmp_path: Path) -> None:
    file = tmp_path / "addresses.csv"
    asked = datetime.now(UTC) + timedelta(hours=12)
    done = here("manifest", "presign", folder, "-o", file, "--for", "12h", "--lake", lake)
    assert done.returncode == 0, done.stderr
    assert re.search(r"4 addresses, valid until \d{4}-\d\d-\d\d \d\d:\d\d UTC", done.stdout)
    rows = read_addresses(file)
    assert [row["key"].split("/")[1] for row in rows] == ["PatA"] * 4
    for row in rows:
        with urllib.request.urlopen(row["url"], timeout=30) as answer:
            assert len(answer.read()) == int(row["size"])
        assert asked - timedelta(minutes=1) < find_end_of(row["url"]) <= datetime.fromisoformat(row["ends"])
    released = find_last(lake, vocabulary.RELEASED)
    assert (released.body["what"], released.body["objects"]) == ("chest manifest presign", 4)
    assert "TESTSECRET" not in file.read_text()


@pytest.mark.slow
def test_nothing_is_handed_out_of_a_patient_who_has_withdrawn(
    here: Chest, server: S3, s3: S3, films: str, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    lake = make_lake(tmp_path_factory.mktemp("withdrawn"), bucket=f"s3://{BUCKET}")
    given = ("--lake", lake, "--agreement", "2026-0001")
    assert here("manifest", "export", films, *given, "-o", tmp_path / "all").returncode == 0
    assert here("withdraw", "PatA", "--lake", lake).returncode == 0
    done = here("manifest", "presign", tmp_path / "all", *given, "-o", tmp_path / "all.csv", "--for", "1h")
    assert (done.returncode, "1 patient has withdrawn" in done.stderr) == (0, True), done.stderr
    assert "PatB" in (signed := (tmp_path / "all.csv").read_text())
    assert "PatA" not in signed
    done = here("access", "policy", "2026-0001", "--manifest", tmp_path / "all", "--lake", lake)
    assert ("PatA" in done.stdout, "PatB" in done.stdout) == (False, True)


@pytest.mark.slow
def test_a_registered_manifest_is_named_by_its_digest(here: Chest, folder: Path, lake: str, tmp_path: Path) -> None:
    digest = json.loads((folder / "manifest.json").read_text())["digest"].removeprefix("sha256:")[:12]
    given = ("manifest", "presign", digest, "-o", tmp_path / "a.csv", "--lake", lake)
    done = here(*given, "--agreement", "2026-0003")
    assert done.returncode == 0, done.stderr
    assert [row["key"].split("/")[1] for row in read_addresses(tmp_path / "a.csv")] == ["PatA"] * 4
    done = here(*given, "--agreement", "2026-0002")
    assert done.returncode == 1
    assert "differ in this lake as agreement 2026-0002 covers it" in done.stderr
    assert here(*given).returncode == 1
    assert "has no manifest 00000000" in here("manifest", "presign", "00000000", "-o", "a.csv", "--lake", lake).stderr


@pytest.mark.slow
@pytest.mark.parametrize(("name", "first"), [("a.aria2", "http://"), ("a.curl", 'url = "http://')])
def test_other_programs_can_fetch(here: Chest, folder: Path, lake: str, tmp_path: Path, name: str, first: str) -> None:
    done = here("manifest", "presign", folder, "-o", tmp_path / name, "--lake", lake)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / name).read_text()
    assert text.startswith(first)
    assert "training/PatA/" in text.splitlines()[1]


@pytest.mark.parametrize("key", [".bashrc", "a/.git/config", "../b", "/b", "a//b", "C:b", ".chest/lock", "a\nurl = x"])
def test_other_programs_write_no_key_that_is_hidden_or_leads_elsewhere(key: str) -> None:
    """A manifest of somebody else chooses its keys, and the bytes of its bucket."""
    given = Address(key, "dcm", 1, "etag", "https://host/b")
    for form in ("curl", "aria2"):
        with pytest.raises(UsageError, match="cannot be a path"):
            list(render_addresses(iter([given]), form, NOW))
    assert len(list(render_addresses(iter([given]), "csv", NOW))) == 2


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl_writes_below_a_folder_alone(
    here: Chest, folder: Path, lake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = here("manifest", "presign", folder, "-o", tmp_path / "a.curl", "--lake", lake)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    command = done.stderr.partition("To fetch:  ")[2].partition(",")[0].split()
    assert command[0] == "curl"
    subprocess.run([*command, "-s"], check=True)
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["data"]
    assert [path.name for path in (tmp_path / "work/data/training").iterdir()] == ["PatA"]


@pytest.mark.slow
def test_no_address_outlives_the_agreement(here: Chest, folder: Path, lake: str, tmp_path: Path) -> None:
    append(lake, log.NewEvent(vocabulary.RENEWED, "2026-0003", {"ends": str(datetime.now(UTC).date())}))
    midnight = datetime.combine(datetime.now(UTC).date() + timedelta(days=1), datetime.min.time(), UTC)
    done = here("manifest", "presign", folder, "-o", tmp_path / "a.csv", "--for", "2d", "--lake", lake)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"would end at {midnight:%Y-%m-%d} 00:00 UTC, not in 2d, with the agreement" in done.stderr
    assert not (tmp_path / "a.csv").exists()
    assert find_last(lake, vocabulary.REFUSED).about == "2026-0003"
    done = here("manifest", "presign", folder, "-o", tmp_path / "a.csv", "--for", "max", "--lake", lake)
    assert done.returncode == 0, done.stderr
    assert all(find_end_of(row["url"]) <= midnight for row in read_addresses(tmp_path / "a.csv"))
    append(lake, log.NewEvent(vocabulary.RENEWED, "2026-0003", {"ends": str(end_of("2026-0003"))}))


@pytest.mark.slow
def test_no_address_outlives_its_token(
    here: Chest, folder: Path, lake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token")
    done = here("manifest", "presign", folder, "-o", tmp_path / "a.csv", "--lake", lake)
    assert done.returncode == 2
    assert "does not state when it ends" in done.stderr
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=40)
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", ends.isoformat())
    done = here("manifest", "presign", folder, "-o", tmp_path / "a.csv", "--for", "12h", "--lake", lake)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"would end at {ends:%Y-%m-%d %H:%M} UTC, not in 12h, with the token that signs them" in done.stderr
    done = here("manifest", "presign", folder, "-o", tmp_path / "a.csv", "--for", "max", "--lake", lake)
    assert done.returncode == 0, done.stderr
    assert "They end with the token that signs them" in done.stderr
    assert all(find_end_of(row["url"]) <= ends for row in read_addresses(tmp_path / "a.csv"))


def test_an_address_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a server that checks signatures, which moto does not."""
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "key").write_text("pixels")
    with serve_rclone(tmp_path) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        signer = Signer()
        good = signer.sign("s3://bucket", "key", datetime.now(UTC) + timedelta(hours=1))
        with urllib.request.urlopen(good, timeout=30) as answer:
            assert answer.read() == b"pixels"
        ago = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: ago.replace(tzinfo=None))
        still = signer.sign("s3://bucket", "key", datetime.now(UTC) + timedelta(minutes=10))
        with urllib.request.urlopen(still, timeout=30) as answer:
            assert answer.read() == b"pixels"
        old = signer.sign("s3://bucket", "key", datetime.now(UTC) + timedelta(minutes=1))
        assert find_end_of(old) < datetime.now(UTC)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(old, timeout=30)
        assert "AccessDenied" in refused.value.read().decode()
    with pytest.raises(AccessRefusedError, match="would end before"):
        signer.sign("s3://bucket", "key", datetime.now(UTC))


MOMENTS = st.none() | st.timedeltas(timedelta(days=-1), timedelta(days=20)).map(lambda length: NOW + length)


@given(asked=st.none() | st.integers(1, 15_000).map(lambda n: timedelta(minutes=n)), agreement=MOMENTS, token=MOMENTS)
def test_the_end_is_never_after_any_of_its_limits(
    asked: timedelta | None, agreement: datetime | None, token: datetime | None
) -> None:
    least = min([NOW + LONGEST, *filter(None, (agreement, token))])
    try:
        end = compute_end(NOW, asked, agreement=agreement, token=token)
    except AccessRefusedError:
        assert least < NOW + (asked or timedelta(minutes=1))
    else:
        assert end.at <= least
        assert end.at == (NOW + asked if asked else least)


def test_a_length_of_time_is_minutes_hours_or_days() -> None:
    assert [parse_length(text) for text in ("45m", "12h", "7d")] == [
        timedelta(minutes=45), timedelta(hours=12), timedelta(days=7),
    ]  # fmt: skip
    assert [format_length(parse_length(text)) for text in ("90m", "60m", "48h")] == ["90m", "1h", "2d"]
    for wrong in ("", "h", "0h", "-1h", "1w", "١h", "12"):
        with pytest.raises(UsageError, match="is not a length of time"):
            parse_length(wrong)
