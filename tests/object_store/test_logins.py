"""Ways to S3 that are closed: certificates and logins. One line that states the remedy, exit code 2, no prompt."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import DAY, make_authority, make_server_files
from conftest import Chest
from servers import HOST, S3, find_free_port

from warehouse.object_store.base import ReadFailure
from warehouse.object_store.s3 import S3Bucket
from warehouse.settings import Settings


@contextlib.contextmanager
def over_tls(files: list[str]) -> Iterator[S3]:
    """An S3 server whose only way in is TLS; it shares what moto holds with every other of the process."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    port = find_free_port()
    app = DomainDispatcherApplication(create_backend_app)
    running = make_server(HOST, port, app, threaded=True, ssl_context=(files[0], files[1]))
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    try:
        yield S3(f"https://{HOST}:{port}")
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


RECORD = b'{"Age": "70"}'
KEY = "training/Covid1/data/2020-05-01/data.json"


@pytest.fixture(scope="module")
def tls(server: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Addresses of servers by what is wrong with their certificate, and the file of the authority."""
    server.put("closed", {KEY: RECORD})
    folder = tmp_path_factory.mktemp("certificates")
    ca = make_authority(folder)
    kinds = {"good": (HOST, DAY), "expired": (HOST, -DAY), "another": ("127.0.0.2", DAY)}
    with contextlib.ExitStack() as stack:
        found = {}
        for name, (address, until) in kinds.items():
            files = make_server_files(folder, name, address, until=until, ca=ca)
            found[name] = stack.enter_context(over_tls(files)).endpoint
        yield {**found, "bundle": str(ca[2])}


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: S3) -> Iterator[Path]:
    """A file of AWS profiles that counts; keys, and a home without logins."""
    file = tmp_path / "config"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    # Whoever asks at a terminal gets nothing, and would wait: the descriptor stays open.
    reading, writing = os.pipe()
    saved = os.dup(0)
    os.dup2(reading, 0)
    yield file
    os.dup2(saved, 0)
    for descriptor in (reading, writing, saved):
        os.close(descriptor)


def refused(here: Chest, lake: Path, *words: str) -> None:
    done = here("refresh", "s3://closed", "--lake", lake)
    line = done.stderr.strip()
    assert (done.returncode, done.stdout) == (2, ""), line
    assert line.count("\n") == 0, line
    assert all(word in line for word in words), line
    assert not lake.exists()


@pytest.mark.slow
def test_a_bundle_is_used_to_list_and_to_read(
    tls: dict[str, str], s3: S3, here: Chest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", tls["good"])
    monkeypatch.setenv("AWS_CA_BUNDLE", tls["bundle"])
    done = here("refresh", "s3://closed", "--lake", tmp_path / "lake")
    assert done.returncode == 0, done.stderr
    assert "1 clinical file; 0 rejected" in done.stdout


def test_the_bundle_of_a_profile_is_used(
    tls: dict[str, str], s3: S3, profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile.write_text(f"[profile site]\nca_bundle = {tls['bundle']}\n")
    monkeypatch.setenv("AWS_PROFILE", "site")
    monkeypatch.setenv("AWS_ENDPOINT_URL", tls["good"])
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    bucket = S3Bucket("s3://closed", Settings())
    assert [key for batch in bucket.listing() for key in batch.column("key").to_pylist()] == [KEY]
    content = bucket.stream(KEY)
    assert not isinstance(content, ReadFailure)
    assert b"".join(map(bytes, content.chunks)) == RECORD


@pytest.mark.parametrize(
    ("server_of", "bundle", "words"),
    [
        ("good", None, ["certificate is not trusted", "Set AWS_CA_BUNDLE"]),
        ("expired", "bundle", ["certificate is not trusted", "expired"]),
        ("another", "bundle", ["certificate is not trusted", "another name", "AWS_ENDPOINT_URL"]),
        ("good", "missing.pem", ["missing.pem", "Correct AWS_CA_BUNDLE"]),
        ("good", "garbage.pem", ["garbage.pem", "Correct AWS_CA_BUNDLE"]),
        ("good", "empty.pem", ["empty.pem", "Correct AWS_CA_BUNDLE"]),
        ("good", "", ["directory", "Correct AWS_CA_BUNDLE"]),
    ],
)
def test_certificates_that_are_not_trusted(
    tls: dict[str, str], s3: S3, here: Chest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    server_of: str, bundle: str | None, words: list[str],
) -> None:  # fmt: skip
    (tmp_path / "garbage.pem").write_text("-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n")
    (tmp_path / "empty.pem").write_text("")
    monkeypatch.setenv("AWS_ENDPOINT_URL", tls[server_of])
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    if bundle is not None:
        monkeypatch.setenv("AWS_CA_BUNDLE", tls.get(bundle, str(tmp_path / bundle)))
    refused(here, tmp_path / "lake", *words)


PROFILES = {
    "sso session": (
        "[profile site]\nsso_session = hospital\nsso_account_id = 111122223333\nsso_role_name = Reader\n"
        "[sso-session hospital]\nsso_start_url = https://example.awsapps.com/start\nsso_region = eu-west-2\n",
        ["aws sso login --profile site"],
    ),
    "sso of old": (
        "[profile site]\nsso_start_url = https://example.awsapps.com/start\nsso_region = eu-west-2\n"
        "sso_account_id = 111122223333\nsso_role_name = Reader\n",
        ["aws sso login --profile site"],
    ),
    "mfa": (
        "[profile base]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = secret\n"
        "[profile site]\nrole_arn = arn:aws:iam::111122223333:role/Reader\nsource_profile = base\n"
        "mfa_serial = arn:aws:iam::111122223333:mfa/jo\n",
        ["code of MFA", "aws configure export-credentials"],
    ),
    "no keys": ("[profile site]\nregion = eu-west-2\n", ["no AWS credentials were found"]),
    "a program that is not there": (
        "[profile site]\ncredential_process = /nonexistent/program\n", ["Check AWS_PROFILE"],
    ),
    "a source that is not there": (
        "[profile site]\nrole_arn = arn:aws:iam::1:role/R\nsource_profile = nobody\n", ["Check AWS_PROFILE"],
    ),
    "another profile": ("[profile other]\nregion = eu-west-2\n", ["site", "could not be found"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", PROFILES)
def test_logins_that_are_missing(
    kind: str, here: Chest, tmp_path: Path, profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, words = PROFILES[kind]
    profile.write_text(text)
    monkeypatch.setenv("AWS_PROFILE", "site")
    refused(here, tmp_path / "lake", *words)
