"""A Spark cluster loads what one process loads, by Spark Connect and as an application, whoever is killed."""

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from conftest import Chest, write_objects
from faulty import answer_with, reset_connection, serve_faulty
from servers import S3, find_free_port, serve_postgres
from spark import Spark, require_spark, serve_spark
from unit_fixtures import ALONE, build_objects, read_rejects, read_tables

import warehouse
from warehouse.errors import LakeError, SourceError, UsageError
from warehouse.settings import Settings

Tables = dict[str, Any]


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spark]:
    """A cluster of two workers; its executors have keys of their own."""
    with serve_spark(tmp_path_factory.mktemp("spark"), list_own_keys()) as running:
        yield running


@pytest.fixture(scope="module")
def local_spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spark]:
    """A Connect server without a cluster: one JVM instead of six."""
    with serve_spark(tmp_path_factory.mktemp("local"), list_own_keys(), machines=0) as running:
        yield running


@pytest.fixture
def connect(request: pytest.FixtureRequest, machines: str) -> str:
    """The address of the Connect server of either."""
    return str(request.getfixturevalue({"one machine": "local_spark", "a cluster": "spark"}[machines]).connect)


def list_own_keys() -> dict[str, str]:
    """The keys that executors have."""
    keys = S3("").environment
    return {name: keys[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}


def load_by(engine: str) -> Settings:
    """Settings of a refresh by an engine, with several units of a bucket of two hundred objects."""
    return Settings(engine=engine, unit_objects=20)


@pytest.mark.slow(cases=("a cluster",))
@pytest.mark.parametrize("machines", ["one machine", "a cluster"])
def test_spark_connect_loads_what_one_process_loads(
    connect: str, unit_bucket: Path, tmp_path: Path, calm_tables: Tables, chest: Chest, here: Chest
) -> None:
    lake = tmp_path / "lake"
    # By the command, which hides pandas from libraries that can do without; PySpark cannot.
    words = ("refresh", unit_bucket, "--lake", lake, "--engine", connect, "--quiet", "--format", "json")
    made = chest(*words, env={**os.environ, "CHEST_UNIT_OBJECTS": "50"})
    assert made.returncode == 0, made.stderr
    images = json.loads(made.stdout)["images"]
    assert (images["loaded"], images["rejected"]) == (62, 8)
    assert read_tables(lake) == calm_tables
    # Every file is recorded with its checksum, and is where DuckLake would have put it.
    assert here("doctor", "--lake", lake).returncode == 0
    assert not warehouse.refresh(unit_bucket, lake, settings=load_by(connect)).published.is_new


@pytest.mark.slow
def test_an_application_writes_to_s3_with_its_own_keys(
    spark: Spark, unit_bucket: Path, calm_tables: Tables, s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The catalogue is PostgreSQL's. The cluster knows neither its login nor, until it is told, the endpoint of S3."""
    s3.client().create_bucket(Bucket="lakes")
    monkeypatch.setenv("SPARK_CONF_DIR", str(spark.folder / "conf"))
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    before = signal.getsignal(signal.SIGINT)
    with serve_postgres() as postgres:
        postgres.run("create database spark")
        lake = postgres.address("spark", "s3://lakes/spark")
        monkeypatch.setenv("CHEST_LAKE", lake)
        warehouse.refresh(unit_bucket, lake, settings=load_by(spark.master))
        assert read_tables(lake) == calm_tables
    assert signal.getsignal(signal.SIGINT) is before


def find_reader(handler: BaseHTTPRequestHandler) -> int:
    """The process at the other end of a connection: that with the socket of its port."""
    port = f":{handler.client_address[1]:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    inodes = {f"socket:[{line.split()[9]}]" for line in lines if line.split()[1].endswith(port)}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(folder.name) != os.getpid() and any(
                str(link.readlink()) in inodes for link in (folder / "fd").iterdir()
            ):
                return int(folder.name)
    raise AssertionError("nobody asked")


def list_ancestors(pid: int) -> list[int]:
    """The processes that a process comes from, nearest first."""
    found = []
    while pid > 1:
        found.append(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])
    return found


@pytest.mark.slow
def test_an_object_that_ends_every_process_is_rejected_and_an_error_of_the_bucket_is_raised_as_itself(
    spark: Spark, tmp_path: Path, server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths: list[int] = []

    def kill_reader(handler: BaseHTTPRequestHandler) -> None:
        deaths.append(find_reader(handler))
        os.kill(deaths[-1], signal.SIGKILL)
        reset_connection(handler)

    def deny(step: str, done: int, total: int) -> None:
        if step == "images":
            proxy.fail(answer_with(403, "InvalidAccessKeyId"))

    write_objects(tmp_path / "bucket", build_objects(range(1, 7)))
    server.upload(tmp_path / "bucket", "deadly")
    settings = Settings(engine=spark.connect, unit_objects=4)
    with serve_faulty(server) as proxy:
        for name, value in proxy.s3.environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SourceError, match="does not know this access key"):
            warehouse.refresh("s3://deadly", tmp_path / "lake", settings=settings, progress=deny)
        proxy.fail(kill_reader, when=lambda path: "/images_metadata/" in path and path.endswith("/2.json"))
        made = warehouse.refresh("s3://deadly", tmp_path / "lake", settings=settings)
    assert (made.images.loaded, made.images.rejected) == (5, 1)
    # Four headers, halved twice, each with both attempts of Spark.
    assert len(deaths) == 6
    ((key, reason, retry),) = read_rejects(tmp_path / "lake", "header")
    assert key.endswith("/2.json")
    assert reason.startswith("ended the process that read it")
    assert not retry


@pytest.mark.slow
def test_an_executor_with_another_duckdb_is_refused(
    spark: Spark, unit_bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.10.0")
    with pytest.raises(LakeError, match=r"executor \S+ \(.*\) has DuckDB .*, and the driver 0\.10\.0"):
        warehouse.refresh(unit_bucket, tmp_path / "lake", settings=load_by(spark.connect))


@pytest.mark.slow
def test_a_worker_that_is_killed_in_the_middle_takes_nothing_with_it(
    spark: Spark, unit_bucket: Path, tmp_path: Path, calm_tables: Tables, server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last test with both workers: the machine whose executor asks for a certain object is no more."""
    killed: list[int] = []

    def kill_worker(handler: BaseHTTPRequestHandler) -> None:
        ancestors = list_ancestors(find_reader(handler))
        (place,) = [place for place, process in enumerate(spark.workers) if process.pid in ancestors]
        # The Python process, its executor and its worker, as if their machine had gone.
        killed.extend(ancestors[: ancestors.index(spark.workers[place].pid) + 1])
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        reset_connection(handler)

    server.upload(unit_bucket, "films")
    with serve_faulty(server) as proxy:
        for name, value in proxy.s3.environment.items():
            monkeypatch.setenv(name, value)
        warehouse.refresh("s3://films", tmp_path / "alone", settings=ALONE)
        proxy.fail(kill_worker, times=1, when=lambda path: "/images_metadata/" in path and path.endswith("/30.json"))
        warehouse.refresh("s3://films", tmp_path / "lake", settings=load_by(spark.connect))
    assert len(killed) >= 3
    assert read_tables(tmp_path / "lake") == read_tables(tmp_path / "alone")


@pytest.mark.parametrize("engine", ["flink", "spark://", "sc://", "local-cluster[2]", "http://127.0.0.1:7077"])
def test_an_unknown_engine_is_refused_in_one_line(unit_bucket: Path, tmp_path: Path, here: Chest, engine: str) -> None:
    done = here("refresh", unit_bucket, "--lake", tmp_path / "lake", "--engine", engine)
    assert done.returncode == 2
    assert f"{engine} is not an engine" in done.stderr
    assert not (tmp_path / "lake").exists()


def test_without_pyspark_its_extra_is_named(unit_bucket: Path, here: Chest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("CHEST_ENGINE", "sc://cluster:15002/;token=s3cr3t-word")
    done = here("refresh", unit_bucket)
    assert done.returncode == 2
    assert "pip install 'chest-data-warehouse[spark]'" in done.stderr
    assert "s3cr3t-word" not in done.stdout + done.stderr


def test_a_cluster_that_does_not_answer_is_reported_in_one_line(
    unit_bucket: Path, tmp_path: Path, here: Chest, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_spark()
    engine = f"sc://127.0.0.1:{find_free_port()}"
    monkeypatch.setenv("CHEST_UNIT_OBJECTS", "20")
    done = here("refresh", unit_bucket, "--lake", tmp_path / "lake", "--engine", engine, "--quiet")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"Spark at {engine} does not answer" in done.stderr


def test_no_spark_of_the_folder_above_is_run(
    unit_bucket: Path, tmp_path: Path, here: Chest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PySpark looks there first, and the working directory may be in a bucket."""
    require_spark()
    for path, text in {
        "bucket/bin/spark-submit": f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 1\n",
        "bucket/jars/any.jar": "",
        "java/bin/java": "#!/bin/sh\nexit 1\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
        (tmp_path / path).chmod(0o755)
    (tmp_path / "bucket" / "training").mkdir()
    monkeypatch.chdir(tmp_path / "bucket" / "training")
    monkeypatch.delenv("SPARK_HOME", raising=False)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "java"))
    monkeypatch.setenv("CHEST_UNIT_OBJECTS", "20")
    done = here("refresh", unit_bucket, "--lake", tmp_path / "lake", "--engine", "local-cluster[1,1,512]", "--quiet")
    assert done.returncode == 2
    assert "JAVA_GATEWAY_EXITED" in done.stderr
    assert not (tmp_path / "ran").exists()


def test_an_encrypted_lake_is_refused(unit_bucket: Path, tmp_path: Path) -> None:
    require_spark()
    settings = Settings(engine="sc://127.0.0.1:1", encrypted=1)
    with pytest.raises(UsageError, match="is encrypted: only the process that holds it"):
        warehouse.refresh(unit_bucket, tmp_path / "lake", settings=settings)


@pytest.mark.slow
def test_few_objects_need_no_cluster(unit_bucket: Path, tmp_path: Path, calm_tables: Tables) -> None:
    """The engine is not even asked, for what a single unit has."""
    require_spark()
    warehouse.refresh(unit_bucket, tmp_path / "lake", settings=Settings(engine="sc://127.0.0.1:1"))
    assert read_tables(tmp_path / "lake") == calm_tables


@pytest.mark.slow
def test_dagsters_resource_has_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.resources import ChestWarehouse

    monkeypatch.setenv("CHEST_ENGINE", "yarn")
    assert ChestWarehouse().settings.engine == "yarn"
    secret = "sc://cluster/;token=s3cr3t-word"
    assert ChestWarehouse(engine=secret).settings.engine == secret
    assert "s3cr3t-word" not in repr(ChestWarehouse(engine=secret))
