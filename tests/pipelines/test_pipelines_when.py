"""When a refresh starts by itself: the schedules' times, and the sensors of a bucket and of its queue."""

import functools
import json
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import boto3
import dagster as dg
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._utils.schedules import schedule_execution_time_iterator
from servers import S3, serve_moto

import warehouse
from pipelines import event_prefixes, run_state
from pipelines.definitions import chest_definitions
from warehouse import synthetic
from warehouse.errors import UsageError

LONDON = ZoneInfo("Europe/London")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def kept() -> Iterator[dg.DagsterInstance]:
    """An instance on disk, which schedules ask for."""
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as instance:
        yield instance


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("when") / "bucket"
    synthetic.make_bucket(folder, 3, "dated", 1)
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with serve_moto() as running:
        yield running


@functools.cache
def definitions(**environ: str) -> dg.Definitions:
    """The real ones, made once for each environment."""
    return chest_definitions(environ)


def schedule(name: str = "refresh", **environ: str) -> dg.ScheduleDefinition:
    found = definitions(**environ).resolve_schedule_def(f"{name}_schedule")
    assert isinstance(found, dg.ScheduleDefinition)
    return found


def times(found: dg.ScheduleDefinition, start: datetime, count: int) -> list[datetime]:
    """The next ticks of a schedule as the daemon reckons them, in its own time zone."""
    zone = ZoneInfo(found.execution_timezone or "UTC")
    ticks = schedule_execution_time_iterator(start.timestamp(), found.cron_schedule, found.execution_timezone)
    return [datetime.fromtimestamp(tick.timestamp(), zone) for tick in islice(ticks, count)]


def begun(instance: dg.DagsterInstance, event: str, job: str = "refresh", **environ: str) -> dg.DagsterRun:
    """A run of a job that has come as far as an event."""
    where = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="pipelines.definitions"))
    run = instance.create_run_for_job(
        definitions(**environ).resolve_job_def(job),
        remote_job_origin=RemoteJobOrigin(RemoteRepositoryOrigin(where, "__repository__"), job),
        job_code_origin=None,
    )
    become(instance, run, event)
    return run


def become(instance: dg.DagsterInstance, run: dg.DagsterRun, event: str) -> None:
    """What Dagster writes when a run comes that far."""
    instance.report_dagster_event(dg.DagsterEvent(f"PIPELINE_{event}", run.job_name), run.run_id)


UNFINISHED = ["ENQUEUED", "STARTING", "START", "CANCELING"]


@pytest.mark.parametrize(
    ("start", "expected", "offsets"),
    [
        # clocks go forward on Sunday 29 March 2026 at 01:00, and back on Sunday 25 October at 02:00
        (datetime(2026, 3, 25, tzinfo=LONDON), ["03-26", "03-30", "04-02"], [0, 1, 1]),
        (datetime(2026, 10, 21, tzinfo=LONDON), ["10-22", "10-26", "10-29"], [1, 0, 0]),
    ],
)
def test_refresh_is_at_three_in_london_in_summer_and_winter(
    start: datetime, expected: list[str], offsets: list[int]
) -> None:
    found = schedule()
    assert found.default_status == dg.DefaultScheduleStatus.RUNNING
    ticks = times(found, start, 3)
    assert [f"{tick:%m-%d}" for tick in ticks] == expected
    assert {(tick.hour, tick.minute) for tick in ticks} == {(3, 0)}
    assert {f"{tick:%a}" for tick in ticks} == {"Mon", "Thu"}
    assert [tick.utcoffset() for tick in ticks] == [timedelta(hours=hours) for hours in offsets]


@pytest.mark.parametrize("day", [datetime(2026, 3, 28, 12, tzinfo=LONDON), datetime(2026, 10, 24, 12, tzinfo=LONDON)])
def test_a_time_that_the_change_of_clocks_skips_or_repeats_is_ticked_once(day: datetime) -> None:
    nightly = schedule(CHEST_REFRESH_SCHEDULE="30 1 * * *")
    ticks = times(nightly, day, 3)
    assert [tick.date() for tick in ticks] == [(day + timedelta(days=n)).date() for n in (1, 2, 3)]


def test_the_times_are_set_by_the_environment_alone() -> None:
    found = schedule(CHEST_REFRESH_SCHEDULE="0 22 * * *", CHEST_TIMEZONE="America/New_York")
    (tick,) = times(found, datetime(2026, 1, 1, tzinfo=ZoneInfo("America/New_York")), 1)
    assert (tick.hour, tick.utcoffset()) == (22, timedelta(hours=-5))
    assert {f"{tick:%a %H:%M}" for tick in times(schedule("maintenance"), datetime(2026, 5, 1, tzinfo=LONDON), 4)} == {
        "Sun 04:00"
    }


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CHEST_REFRESH_SCHEDULE", "at three"),
        ("CHEST_MAINTENANCE_SCHEDULE", "0 25 * * *"),
        ("CHEST_TIMEZONE", "London"),
    ],
)
def test_an_invalid_schedule_names_its_variable(variable: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"{variable}='{value}'".replace("*", r"\*")):
        chest_definitions({variable: value})


@pytest.mark.slow
def test_a_tick_is_skipped_while_a_refresh_runs_or_waits(kept: dg.DagsterInstance) -> None:
    refresh, maintenance = schedule(), schedule("maintenance")

    def tick(found: dg.ScheduleDefinition) -> tuple[int, str]:
        with dg.build_schedule_context(kept) as context:
            done = found.evaluate_tick(context)
        return len(done.run_requests or []), done.skip_message or ""

    assert tick(refresh) == (1, "")
    for event in UNFINISHED:
        run = begun(kept, event)
        count, message = tick(refresh)
        assert (count, run.run_id in message) == (0, True), event
        assert tick(maintenance) == (1, ""), "it waits in the queue for the lake"
        become(kept, run, "SUCCESS")
        assert tick(refresh) == (1, "")


class Sensor:
    """A sensor that is ticked as the daemon does: its cursor is kept, and what it asks for is queued."""

    def __init__(self, instance: dg.DagsterInstance, name: str = "first_refresh", **environ: str) -> None:
        self.defs = definitions(**environ)
        self.sensor = self.defs.resolve_sensor_def(name)
        self.instance = instance
        self.cursor: str | None = None
        self.skip_message = ""

    def tick(self) -> list[dg.RunRequest]:
        """What it asks for."""
        context = dg.build_sensor_context(self.instance, cursor=self.cursor, definitions=self.defs)
        done = self.sensor.evaluate_tick(context)
        self.cursor = done.cursor
        self.skip_message = done.skip_message or ""
        return list(done.run_requests or [])


def test_the_sensors_run_from_the_start() -> None:
    for environ in ({}, {"CHEST_EVENT_QUEUE": "https://sqs.eu-west-2.amazonaws.com/1/q"}):
        sensors = {sensor.name: sensor for sensor in chest_definitions(environ).sensors or []}
        assert set(sensors) == {"first_refresh", "automation", "alerts"} | ({"events"} if environ else set())
        assert {sensor.default_status for sensor in sensors.values()} == {dg.DefaultSensorStatus.RUNNING}


@pytest.mark.slow
def test_the_first_refresh_starts_by_itself_and_the_others_are_the_schedules(
    instance: dg.DagsterInstance, bucket: Path, new_lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = str(new_lake)
    monkeypatch.setenv("CHEST_SOURCE", str(bucket))
    monkeypatch.setenv("CHEST_LAKE", lake)
    sensor = Sensor(instance)
    (request,) = sensor.tick()
    assert request.job_name == "refresh"
    (again,) = Sensor(instance).tick()
    assert again.run_key == request.run_key, "Dagster starts a key once, whoever asks"
    run = begun(instance, "START")
    warehouse.refresh(str(bucket), lake)
    become(instance, run, "SUCCESS")
    assert not sensor.tick()
    assert "the schedule refreshes it" in sensor.skip_message


def test_no_sensor_starts_a_refresh_beside_another(
    instance: dg.DagsterInstance, bucket: Path, new_lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHEST_SOURCE", str(bucket))
    monkeypatch.setenv("CHEST_LAKE", str(new_lake))
    sensor = Sensor(instance)
    for event in UNFINISHED:
        run = begun(instance, event)
        assert not sensor.tick(), event
        assert run.run_id in sensor.skip_message
        become(instance, run, "SUCCESS")
    assert len(sensor.tick()) == 1


def test_after_a_failed_refresh_events_wait_and_the_schedule_does_not(
    kept: dg.DagsterInstance, bucket: Path, new_lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHEST_SOURCE", str(bucket))
    monkeypatch.setenv("CHEST_LAKE", str(new_lake))
    run = begun(kept, "FAILURE")
    sensor = Sensor(kept)
    assert not sensor.tick()
    assert run.run_id in sensor.skip_message
    with dg.build_schedule_context(kept) as context:
        assert len(schedule().evaluate_tick(context).run_requests or []) == 1
    monkeypatch.setattr(run_state, "REST", timedelta())  # three hours later
    assert len(sensor.tick()) == 1


def test_an_unreadable_bucket_is_one_line(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor = Sensor(instance)
    assert not sensor.tick()
    assert "CHEST_SOURCE" in sensor.skip_message
    monkeypatch.setenv("CHEST_SOURCE", str(tmp_path / "nowhere"))
    assert not sensor.tick()
    assert "nowhere" in sensor.skip_message


@pytest.fixture
def sqs(server: S3, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CHEST_SOURCE", "s3://chest")
    return boto3.client("sqs", region_name="us-east-1")


@pytest.fixture
def queue(sqs: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    url: str = sqs.create_queue(QueueName=f"q{abs(hash(request.node.name))}")["QueueUrl"]
    monkeypatch.setenv("CHEST_EVENT_QUEUE", url)
    return url


def send_event(sqs: Any, queue: str, bucket: str = "chest") -> None:
    """Send the queue the event of a new object, as S3 does."""
    key = {"bucket": {"name": bucket}, "object": {"key": "training/Covid1/data/2020-03-01/data.json"}}
    body = json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": key}]})
    sqs.send_message(QueueUrl=queue, MessageBody=body)


def left(sqs: Any, queue: str) -> int:
    """Messages of a queue, hidden ones too."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return sum(int(counts[name]) for name in names)


def test_a_message_starts_one_refresh_and_is_deleted(instance: dg.DagsterInstance, sqs: Any, queue: str) -> None:
    sensor = Sensor(instance, "events", CHEST_EVENT_QUEUE=queue)
    assert not sensor.tick(), "an empty queue"
    sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"}))
    sqs.send_message(QueueUrl=queue, MessageBody="not for us")
    send_event(sqs, queue, "another-bucket")
    assert not sensor.tick()
    assert left(sqs, queue) == 0
    send_event(sqs, queue)
    send_event(sqs, queue)
    (request,) = sensor.tick()
    assert request.job_name == "refresh"
    assert left(sqs, queue) == 0


def test_with_an_inventory_only_reported_prefixes_are_listed(
    instance: dg.DagsterInstance, sqs: Any, queue: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An inventory is older than what the queue reports: it would not show it."""
    monkeypatch.setenv("CHEST_INVENTORY", "s3://lists/chest/daily")
    monkeypatch.setenv("CHEST_MANIFESTS", str(tmp_path))
    sensor = Sensor(instance, "events", CHEST_EVENT_QUEUE=queue, CHEST_MANIFESTS=str(tmp_path))
    send_event(sqs, queue)
    (request,) = sensor.tick()
    name = request.run_config["ops"]["objects"]["config"]["changes"]
    assert request.run_config == {"ops": {"objects": {"config": {"changes": name}}}}, "Dagster shows it: no patient"
    assert event_prefixes.read_prefixes(tmp_path, name) == ["training/Covid1/"]
    event_prefixes.forget_prefixes(tmp_path, 1)
    assert event_prefixes.read_prefixes(tmp_path, name)
    event_prefixes.forget_prefixes(tmp_path, 0)
    with pytest.raises(UsageError, match="no longer in"):
        event_prefixes.read_prefixes(tmp_path, name)
    with pytest.raises(UsageError, match="is not the name of changes"):
        event_prefixes.read_prefixes(tmp_path, "../../etc/passwd")


def test_messages_that_come_during_a_refresh_lead_to_another(
    instance: dg.DagsterInstance, sqs: Any, queue: str
) -> None:
    sensor = Sensor(instance, "events", CHEST_EVENT_QUEUE=queue)
    send_event(sqs, queue)
    (first,) = sensor.tick()
    run = begun(instance, "START")
    send_event(sqs, queue)
    assert not sensor.tick()
    assert run.run_id in sensor.skip_message
    assert left(sqs, queue) == 1
    become(instance, run, "SUCCESS")
    (second,) = sensor.tick()
    assert second.run_key != first.run_key
    assert left(sqs, queue) == 0


def test_a_queue_of_several_sources_refreshes_the_one_it_names(
    instance: dg.DagsterInstance, sqs: Any, queue: str
) -> None:
    sources = {"CHEST_EVENT_QUEUE": queue, "CHEST_SOURCES": "training=s3://chest validation=s3://held"}
    sensor = Sensor(instance, "events", **sources)
    send_event(sqs, queue, "held")
    (one,) = sensor.tick()
    steps = ["validation/objects", "validation/images", "validation/clinical", "published"]
    assert [key.to_user_string() for key in one.asset_selection or []] == steps
    job = sensor.defs.resolve_job_def("refresh")
    part = job.get_subset(
        asset_selection=set(one.asset_selection or []), asset_check_selection=set(one.asset_check_keys or [])
    )
    whole = sensor.defs.resolve_job_def("refresh_validation")
    assert {node.name for node in part.nodes} == {node.name for node in whole.nodes}
    send_event(sqs, queue, "held")
    send_event(sqs, queue)
    (both,) = sensor.tick()
    assert both.asset_selection is None
    run = begun(instance, "START", "refresh_training", **sources)
    send_event(sqs, queue)
    assert not sensor.tick()
    assert run.run_id in sensor.skip_message


def test_several_sources_have_a_sensor_each(
    instance: dg.DagsterInstance, bucket: Path, tmp_path: Path, new_lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHEST_LAKE", str(new_lake))
    sources = {"CHEST_SOURCES": f"here={bucket} there={tmp_path / 'nowhere'}"}
    (request,) = Sensor(instance, "first_refresh_here", **sources).tick()
    assert request.job_name == "refresh_here"
    assert not Sensor(instance, "first_refresh_there", **sources).tick()


def test_a_queue_that_is_not_there_is_one_line(
    instance: dg.DagsterInstance, sqs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = sqs.create_queue(QueueName="gone")["QueueUrl"]
    sqs.delete_queue(QueueUrl=queue)
    sensor = Sensor(instance, "events", CHEST_EVENT_QUEUE=queue)
    monkeypatch.setenv("CHEST_EVENT_QUEUE", queue)
    assert not sensor.tick()
    assert "CHEST_EVENT_QUEUE" in sensor.skip_message
