"""No secret leaves: canaries in every spelling go in, and none comes out of any command, file, repr, log or lake."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import dagster as dg
import pytest
from commands import NAMES, build_words
from conftest import Chest
from hypothesis import given
from hypothesis import strategies as st
from servers import HOST, S3, Postgres, serve_moto, serve_postgres

import warehouse
from pipelines import notify
from pipelines.definitions import chest_definitions
from pipelines.deployment import STEPS, Deployment
from pipelines.resources import ChestWarehouse
from pipelines.settings import PipelineSettings
from warehouse import masking
from warehouse.errors import WarehouseError
from warehouse.lake import location, store
from warehouse.masking import MASK, mask_secrets
from warehouse.object_store.opening import open_bucket
from warehouse.settings import Settings
from warehouse.synthetic import make_bucket

#: In every canary, however it is spelt: letters and digits are written alike in all encodings.
CANARY = "C4n4ry"
PASSWORD = f"{CANARY}-p@s:s/w?o#r&d% ' \" \\ +é"
LIBPQ = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
ENCODED = quote(PASSWORD, safe="")

DATA = "data_path=/nowhere/data"

#: Addresses of PostgreSQL with a canary, as DuckDB, libpq, SQLAlchemy and JDBC take them, and slips of them.
ADDRESSES = {
    "uri": f"postgres://me:{ENCODED}@{HOST}:9/db?{DATA}",
    "long scheme": f"postgresql://me:{ENCODED}@{HOST}:9/db?{DATA}",
    "upper case": f"POSTGRES://me:{ENCODED}@{HOST}:9/db?{DATA}",
    "sqlalchemy": f"postgresql+psycopg2://me:{ENCODED}@{HOST}:9/db?{DATA}",
    "asyncpg": f"PostgreSQL+asyncpg://me:{ENCODED}@{HOST}:9/db?{DATA}",
    "not encoded": f"postgres://me:{PASSWORD}@{HOST}:9/db?{DATA}",
    "slash": f"postgres://me:12/{CANARY}@{HOST}:9/db?{DATA}",
    "question mark": f"postgres://me:12?{CANARY}@{HOST}:9/db?{DATA}",
    "hash": f"postgres://me:12#{CANARY}@{HOST}:9/db?{DATA}",
    "at": f"postgres://me:12@{CANARY}@{HOST}:9/db?{DATA}",
    "colon": f"postgres://me:12:{CANARY}@{HOST}:9/db?{DATA}",
    "ipv6": f"postgres://me:{ENCODED}@[::1]:9/db?{DATA}",
    "several hosts": f"postgres://me:{ENCODED}@{HOST}:9,{HOST}:10/db?{DATA}",
    "bad port": f"postgres://me:{ENCODED}@{HOST}:port/db?{DATA}",
    "no data path": f"postgres://me:{ENCODED}@{HOST}:9/db",
    "query": f"postgres://{HOST}:9/db?user=me&password={ENCODED}&{DATA}",
    "query of ssl": f"postgres://{HOST}:9/db?user=me&sslmode=prefer&sslpassword={ENCODED}&{DATA}",
    "user in query": f"postgres:///db?host={HOST}&port=9&user=me&password={ENCODED}&{DATA}",
    "unknown option": f"postgres://me:{ENCODED}@{HOST}:9/db?bogus=1&{DATA}",
    "passfile": f"postgres://me@{HOST}:9/db?passfile=/home/{CANARY}&{DATA}",
    "keywords": f"host={HOST} port=9 user=me password='{LIBPQ}' dbname=db",
    "keywords, bare": f"host={HOST} password={CANARY} dbname=db",
    "keywords, spaced": f"dbname = db password = '{LIBPQ}'",
    "ducklake": f"ducklake:postgres:host={HOST} password='{LIBPQ}' dbname=db",
    "ducklake uri": f"ducklake:postgres:postgres://me:{ENCODED}@{HOST}/db",
    "ducklake uri, quoted": f"ducklake:postgres:'postgres://me:{PASSWORD}@{HOST}/db'",
    "jdbc": f"jdbc:postgresql://{HOST}:9/db?user=me&password={ENCODED}",
    "data path": f"postgres://{HOST}:9/db?data_path=s3://KEY:{CANARY}/x+y@bucket/lake",
    "data path, key in query": f"postgres://{HOST}:9/db?data_path="
    + quote(f"s3://b/x?s3_secret_access_key={CANARY}", safe=""),
    **{f"keywords, bare, {sign}": f"host={HOST} password=12{sign}{CANARY} dbname=db" for sign in ",;&)]}\"'\\"},
    **{f"ducklake, bare, {sign}": f"ducklake:postgres:host={HOST} password=12{sign}{CANARY}" for sign in ",;&)"},
    "without slashes": f"postgresql:me:{CANARY}@{HOST}/db",
    "one slash": f"postgresql:/me:12:{CANARY}@{HOST}/db",
    "another scheme": f"mysql://me:{ENCODED}@{HOST}/db",
    "s3": f"s3://KEY:{CANARY}/a+b@bucket/lake",
}

#: Texts as libraries write them, each with a canary; what is around it must stay.
TEXTS = {
    f'Could not connect to the endpoint URL: "http://me:{CANARY}@{HOST}:9/bucket?list-type=2"': "list-type=2",
    f"Unable to connect to Postgres at \"host=h password='{LIBPQ}' user=me\": refused": ": refused",
    f"attach 'host=h password=''{CANARY} x'' user=me' as pg": "as pg",
    f"https://b.s3.amazonaws.com/k?X-Amz-Signature={CANARY}&X-Amz-Date=1": "X-Amz-Date=1",
    f"https://b.s3.amazonaws.com/k?X-Amz-Security-Token={CANARY}%2F&x=1": "&x=1",
    f"https://b.s3.amazonaws.com/k?AWSAccessKeyId={CANARY}&Signature={CANARY}%3D&Expires=1": "&Expires=1",
    f"GET https://h/k Authorization: Bearer {CANARY}.x-y_z failed": "failed",
    f"Authorization: Basic {CANARY}== failed": "failed",
    f"{{'aws_secret_access_key': '{CANARY}', 'region': 'eu'}}": "'region': 'eu'",
    f'{{"token": "{CANARY}", "region": "eu"}}': '"region": "eu"',
    f"aws_session_token = {CANARY}\nregion = eu": "region = eu",
    f"create secret s (type s3, secret '{CANARY}', region 'eu')": "region 'eu'",
    f"https://hooks.slack.com/services/T0/B0/{CANARY} refused": "refused",
    f"https://example.webhook.office.com/webhookb2/{CANARY}/x refused": "refused",
    f"http://10.0.0.1:8065/hooks/{CANARY} refused": "refused",
    f"smtp://me:{CANARY}@mail.example:25/?to=a refused": "refused",
    f"https://{CANARY}@example.org/path refused": "/path refused",
    f"redis://:{CANARY}@h/0 refused": "h/0 refused",
    f"PGPASSWORD={CANARY} psql": "psql",
    f"Credential=AKIA{'A' * 16}/2020, SignedHeaders=host, Signature={CANARY}": "SignedHeaders=host",
}


@pytest.mark.parametrize("text", TEXTS)
def test_secrets_are_masked_by_their_form(text: str) -> None:
    masked = mask_secrets(text)
    assert CANARY not in masked
    assert MASK in masked
    assert TEXTS[text] in masked


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket: the secret key is wrong. Check AWS_SECRET_ACCESS_KEY or AWS_PROFILE.",
        "s3://bucket: the session token is not valid. Log in again.",
        "s3://bucket/training/a@b/c.json is not there; http://127.0.0.1:9000/bucket/key is.",
        "postgres://127.0.0.1/chest: say where the Parquet files go, as in postgres://h/d?data_path=s3://bucket/lake",
        "Line 3: there is no column token in patients; the password: none is needed.",
        "select * from images where SOPInstanceUID = '1.2.3'",
        "someone@example.org",
    ],
)
def test_texts_without_a_secret_stay_as_they_are(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_remembered", set())  # another test's password may be a word of these
    assert mask_secrets(text) == text


@pytest.mark.parametrize(
    "address",
    [f"me:{CANARY}@h:9", f"me:12@{CANARY}@h", f"s3:KEY:{CANARY}@bucket/x", f"postgresql//me:{CANARY}@h/db"],
)
def test_a_login_without_a_scheme_is_masked_wherever_an_address_is_read(
    address: str, here: Chest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masking, "_remembered", set())
    for command in (("status", "--lake", address), ("refresh", address), ("manifest", "list", "--lake", address)):
        assert CANARY not in here(*command).stderr
    for variable in ("AWS_ENDPOINT_URL", "HTTPS_PROXY", "CHEST_SOURCE"):
        monkeypatch.setenv(variable, address)
        assert CANARY not in mask_secrets(f"cannot reach {address}")
        monkeypatch.delenv(variable)
    with pytest.raises(WarehouseError) as refused:
        open_bucket(address, Settings())
    assert CANARY not in str(refused.value)


plain = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1).map(
    lambda text: f"{CANARY}{text}{CANARY}"
)


@given(plain)
def test_any_password_is_masked_by_its_form(password: str) -> None:
    libpq = password.replace("\\", "\\\\").replace("'", "\\'")
    for text in (
        f"cannot open postgres://me:{quote(password, safe='')}@h/db: refused",
        f"cannot open 'postgres://h/db?password={quote_plus(password)}&x=1'",
        f"cannot open host=h password='{libpq}' user=me",
        f"cannot open {json.dumps({'password': password})}",
        f"cannot open {json.dumps({'password': password}, ensure_ascii=False)}",
        f"create secret x (type s3, secret '{password.replace(chr(39), chr(39) * 2)}')",
    ):
        assert CANARY not in mask_secrets(text), text


@given(plain)
def test_a_known_password_is_masked_anywhere(password: str) -> None:
    address = f"postgres://me:{quote(password, safe='')}@h/db"
    before = dict(os.environ)
    os.environ["CHEST_LAKE"] = address
    libpq = password.replace("\\", "\\\\").replace("'", "\\'")
    try:
        for spelt in (
            password,
            quote(password, safe=""),
            quote(password),
            quote_plus(password),
            libpq,
            libpq.replace("'", "''"),
            password.replace("'", "''"),
            json.dumps(password),
            json.dumps(password, ensure_ascii=False),
            repr(password),
            repr(libpq),
        ):
            assert CANARY not in mask_secrets(f"the server had {spelt} and more")
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.mark.parametrize("end", ["", "@", "/hooks", "='"])
@pytest.mark.parametrize(
    "part",
    ["a", "password", "token='", "https://", "https://a:", "https://a/", "hook", "a@", "://", "Bearer ", "''", " "],
)
def test_a_long_text_takes_no_longer_than_it_is_long(part: str, end: str) -> None:
    """What tries each place again from each place before it takes a minute for this, and hours for ten times that."""
    start = time.process_time()
    assert mask_secrets(part * (200_000 // len(part)) + end)
    assert time.process_time() - start < 5


@given(st.text())
def test_masking_twice_changes_nothing_more(text: str) -> None:
    assert mask_secrets(mask_secrets(text)) == mask_secrets(text)


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
def test_an_address_of_any_spelling_shows_no_secret(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_remembered", set())
    with pytest.raises(WarehouseError) as refused:
        warehouse.refresh("/nowhere", address)
    assert CANARY not in str(refused.value) + repr(refused.value)
    assert not Path(address).exists()


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with serve_postgres() as running:
        yield Postgres(running.port, running.psql, "curator", running.password)


@pytest.fixture(scope="module")
def objects() -> Iterator[S3]:
    with serve_moto() as running:
        yield running


def login(s3: S3) -> dict[str, str]:
    """What a user sets to reach a server whose endpoint has a login, and canaries wherever a secret may stand."""
    return {
        **s3.environment,
        "AWS_ENDPOINT_URL": s3.endpoint.replace("://", f"://me:{CANARY}%40end@"),
        "AWS_SECRET_ACCESS_KEY": f"{CANARY}/secret+key",
        "AWS_SESSION_TOKEN": f"{CANARY}//token==",
        "CHEST_ALERT": f"https://example.org/{CANARY}-alert/x?key={CANARY}",
        "CHEST_EVENT_QUEUE": f"https://me:{CANARY}@sqs.eu-west-2.example.org/1/queue",
    }


@pytest.fixture(scope="module")
def filled(server: Postgres, objects: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """A lake in PostgreSQL whose role has a canary for a password, refreshed from S3 by an endpoint with a login."""
    folder = tmp_path_factory.mktemp("filled")
    make_bucket(folder / "bucket", 6)
    objects.upload(folder / "bucket", "images")
    server.run(f"create role canary superuser login password '{PASSWORD.replace(chr(39), chr(39) * 2)}'")
    server.run("create database chest")
    mine = Postgres(server.port, server.psql, "canary", PASSWORD)
    address = mine.address("chest", folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in login(objects).items():
            patch.setenv(name, value)
        warehouse.refresh("s3://images", address)
        with warehouse.open(address) as wh:
            row = wh.sql("select patient_id from patients order by n_images desc").fetchone()
            assert row is not None
            from warehouse.manifests.export import export_manifest

            export_manifest(wh.cohort("covid_risk"), folder / "manifest")
        yield {
            "source": "s3://images",
            "lake": address,
            "patient_id": row[0],
            "folder": folder / "manifest",
            "old": folder / "manifest",
            "new": folder / "manifest",
            "query": "select count(*) from duckdb_databases()",
            "name": "covid_risk",
            "check.name": "books",
            "table": "images",
            "root": folder,
        }


def wrong(server: Postgres, data: object) -> dict[str, str]:
    """Addresses that cannot be opened, each with a canary."""
    return {
        "wrong password": Postgres(server.port, server.psql, password=PASSWORD).address("postgres", data),
        "nobody there": Postgres(9, server.psql, password=PASSWORD).address("postgres", data),
    }


def targets(tmp_path: Path) -> dict[str, object]:
    return {"output": tmp_path / "out", "out": tmp_path / "out", "backup.folder": tmp_path / "out", "target": "x"}


def written(folder: Path) -> str:
    """What stands in the files of a folder, and their names."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".parquet"]
    return "".join(f"{path}{path.read_bytes().decode('utf-8', 'replace')}" for path in files)


@pytest.mark.slow
@pytest.mark.parametrize("command", NAMES)
def test_no_command_shows_a_secret_of_what_works(
    command: str, filled: dict[str, object], here: Chest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in login_of(filled):
        monkeypatch.setenv(name, value)
    values = {**filled, **targets(tmp_path), "target": filled["lake"]}
    done = here(*build_words(command, values, lake=filled["lake"], label="covid_status", from_="2020-05-01"))
    helped = here(*command.split(), "--help")
    assert "Traceback" not in done.stderr
    assert CANARY not in done.stdout + done.stderr + helped.stdout
    assert CANARY not in written(tmp_path)
    if command == "status":
        assert done.returncode == 0
        assert "s3://images" in done.stdout
        assert CANARY not in here("status", "--lake", filled["lake"], "--format", "json").stdout


def login_of(filled: dict[str, object]) -> list[tuple[str, str]]:
    """The environment that the module's lake was filled in."""
    names = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION")
    assert filled
    return [(name, _KEPT[name]) for name in names]


_KEPT: dict[str, str] = {}


@pytest.fixture(autouse=True, scope="module")
def _kept(objects: S3) -> None:
    _KEPT.update(login(objects))


@pytest.mark.slow(cases=("cohort test",))
@pytest.mark.parametrize("trouble", ["wrong password"])
@pytest.mark.parametrize("command", NAMES)
def test_no_command_shows_a_secret_of_what_fails(
    command: str,
    trouble: str,
    filled: dict[str, object],
    server: Postgres,
    here: Chest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in login_of(filled):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://me:{CANARY}%40end@{HOST}:9")
    monkeypatch.setenv("CHEST_SQL_SECONDS", "5")
    address = wrong(server, tmp_path / "data")[trouble]
    values = {**filled, **targets(tmp_path), "target": address}
    done = here(*build_words(command, values, lake=address, label="covid_status", from_="2020-05-01"))
    assert "Traceback" not in done.stderr
    assert CANARY not in done.stdout + done.stderr
    assert CANARY not in written(tmp_path)


@pytest.mark.parametrize("command", ["status", "move"])
@pytest.mark.parametrize("spelling", ADDRESSES)
def test_no_command_shows_a_secret_of_an_invalid_address(
    command: str, spelling: str, here: Chest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values = {**targets(tmp_path), "source": tmp_path, "folder": tmp_path / "out", "target": ADDRESSES[spelling]}
    done = here(*build_words(command, values, lake=ADDRESSES[spelling]))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert CANARY not in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("CHEST_LAKE", ADDRESSES[spelling])
    by_environment = here(*build_words(command, values))
    assert CANARY not in by_environment.stdout + by_environment.stderr


@pytest.mark.parametrize("name", ["source", "inventory"])
def test_an_address_of_a_bucket_has_no_login(name: str, here: Chest, tmp_path: Path) -> None:
    address = f"s3://KEY:{CANARY}/a+b@bucket/x/y/z"
    source = address if name == "source" else "s3://bucket"
    more = ["--inventory", address] if name == "inventory" else []
    done = here("refresh", source, "--lake", tmp_path / "lake", *more)
    assert done.returncode == 2
    assert CANARY not in done.stdout + done.stderr


def test_no_traceback_shows_a_secret(filled: dict[str, object], chest: Chest) -> None:
    program = (
        "import warehouse.cli as cli, warehouse.cli.status as module\n"
        "def status(): raise ZeroDivisionError('Unable to connect at \"host=h password=' + repr('C4n4ry x') + '\"')\n"
        "module.add_to = lambda app: app.command()(status)\n"
        "import sys; sys.argv = ['chest', 'status']\n"
        "cli.main()"
    )
    done = subprocess.run([sys.executable, "-X", "dev", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "Unable to connect" in done.stderr
    assert CANARY not in done.stderr.replace("repr('C4n4ry x')", "")


def test_nothing_of_a_secret_is_in_the_lake(filled: dict[str, object], server: Postgres) -> None:
    dump = server.dump("chest")
    assert "s3://images" in dump
    for secret in (CANARY, "password="):
        assert secret not in dump
    with warehouse.open(str(filled["lake"])) as wh:
        history = json.dumps([[s.message, s.info] for s in store.list_snapshots(wh.con)], default=str)
        assert "s3://images" in history
        assert CANARY not in history
        assert CANARY not in str(wh.sql("select * from duckdb_databases()").fetchall())
        assert CANARY not in str(wh.con.execute("select * from duckdb_secrets()").fetchall())
    assert CANARY not in written(Path(str(filled["root"])) / "manifest")


def test_messages_of_commits_are_masked(tmp_path: Path) -> None:
    place = location.parse_address(str(tmp_path / "lake"))
    with store.open_writer(place, Settings()) as con:
        store.transact(
            con, f"from s3://k:{CANARY}@b", lambda: None, source=f"http://me:{CANARY}@h", n=[f"pwd={CANARY}"]
        )
        con.execute("create table lake.main.t (i integer)")
        history = str([(s.message, s.info) for s in store.list_snapshots(con)])
    assert CANARY not in history


def test_no_repr_shows_a_secret(filled: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in login_of(filled):
        monkeypatch.setenv(name, value)
    address = str(filled["lake"])
    settings = Settings(
        lake=address,
        source=f"s3://k:{CANARY}@bucket",
        sources=f"a=s3://k:{CANARY}@bucket b=s3://other",
        inventory=f"s3://k:{CANARY}@bucket/x/y",
    )
    scheduled = PipelineSettings(
        event_queue=f"https://me:{CANARY}@sqs.example.org/1/q?token={CANARY}",
        alert=f"https://example.org/{CANARY}",
    )
    with warehouse.open(address, settings=settings) as wh:
        cohort = wh.cohort("covid_risk")
        things: list[object] = [
            settings,
            scheduled,
            Deployment(scheduled, {"a": "s3://other"}),
            ChestWarehouse(lake=address, source=settings.source, sources={"a": settings.source}),
            wh,
            wh.location,
            wh.snapshot,
            wh.sandboxed(),
            wh.patient(str(filled["patient_id"])),
            cohort,
            cohort.definition,
            wh.check("books"),
            warehouse.manifest(str(filled["folder"])),
            open_bucket("s3://images", settings),
            wh.con,
        ]
        for thing in things:
            for shown in (repr(thing), str(thing), f"{thing}"):
                assert CANARY not in shown, type(thing)
                assert ENCODED not in shown
    assert "s3://" in repr(settings)
    assert repr(scheduled).endswith("alert='https://example.org')")


def test_an_alert_names_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (
        f"https://{HOST}:9/{CANARY}",
        f"smtp://me:{CANARY}@{HOST}:9/?to=a&from=b",
        f"http://{CANARY}@{HOST}:9/",
    ):
        with pytest.raises(WarehouseError) as refused:
            notify.post_line(place, "a line")
        assert CANARY not in str(refused.value)
        assert CANARY not in notify.name_place(place)


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("trouble", ["nobody there", "no bucket", "works"])
def test_dagster_hears_no_secret(
    trouble: str, filled: dict[str, object], server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in login_of(filled):
        monkeypatch.setenv(name, value)
    if trouble == "no bucket":
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://me:{CANARY}%40end@{HOST}:9")
    address = wrong(server, tmp_path / "data").get(trouble, str(filled["lake"]))
    monkeypatch.setenv("CHEST_MANIFESTS", str(tmp_path / "manifests"))
    with dg.DagsterInstance.ephemeral() as instance:
        # As a deployment has it: the address is in the environment, not in the configuration of the resource.
        monkeypatch.setenv("CHEST_LAKE", address)
        monkeypatch.setenv("CHEST_SOURCE", "s3://images")
        chest = ChestWarehouse(first_wait=0.01)
        job = chest_definitions({}, chest=chest).resolve_job_def("refresh")
        steps = {dg.AssetKey(step) for step in (*STEPS, "published")}
        job = job.get_subset(asset_selection=steps, asset_check_selection=set())
        result = job.execute_in_process(instance=instance, raise_on_error=False)
        logs = "".join(f"{record.user_message}{record!r}" for record in instance.all_logs(result.run_id))
    assert result.success == (trouble == "works")
    assert CANARY not in logs
    assert "C4n4ry" not in written(tmp_path)


def test_a_fault_of_the_program_in_dagster_shows_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines import retries

    with pytest.raises(RuntimeError) as raised, retries.retry_when_healing(dg.build_op_context()):  # type: ignore[arg-type]
        raise ValueError(f"http://me:{CANARY}@h/ did not answer")
    assert str(raised.value) == "ValueError: http://***@h/ did not answer"
    assert raised.value.__suppress_context__
