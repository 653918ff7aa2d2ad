"""Failed runs and a stale `published` are reported in one line each, to the address in CHEST_ALERT."""

import dataclasses
import time
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path

import dagster as dg
import pytest
from alert_places import Hook, serve_mailbox, serve_webhook
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange
from servers import HOST, find_free_port

from pipelines import alerts, notify
from pipelines.definitions import chest_definitions
from pipelines.deployment import Deployment
from pipelines.resources import ChestWarehouse
from pipelines.settings import PipelineSettings
from warehouse.errors import UsageError


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    with serve_webhook() as hook:
        yield hook


@dataclasses.dataclass
class Sensor:
    """The alert sensor of a place, ticked as the daemon does: its cursor is kept between ticks."""

    instance: dg.DagsterInstance
    place: str
    cursor: str | None = None

    def tick(self) -> str:
        """Tick once; return the message of the tick."""
        (sensor,) = alerts.build(Deployment(PipelineSettings(alert=self.place)))
        assert isinstance(sensor, dg.SensorDefinition)
        context = dg.build_sensor_context(self.instance, cursor=self.cursor)
        tick = sensor.evaluate_tick(context)
        self.cursor = tick.cursor
        return tick.skip_message or ""


def fail(instance: dg.DagsterInstance, folder: object = "/nowhere/here") -> str:
    """A refresh of a bucket that is not there; the run's id."""
    defs = chest_definitions({}, chest=ChestWarehouse(source=str(folder), lake="/nowhere/lake"))
    done = defs.resolve_job_def("refresh").execute_in_process(instance=instance, raise_on_error=False)
    assert not done.success
    return done.run_id


def fault(instance: dg.DagsterInstance) -> str:
    """A run that a fault of the program ends, with a value of a patient in its message."""

    @dg.op
    def stumbles() -> None:
        raise ValueError("Covid12 was born in 1950")

    @dg.job
    def stumbling() -> None:
        stumbles()

    return stumbling.execute_in_process(instance=instance, raise_on_error=False).run_id


def test_a_failed_run_is_one_line_in_a_log_file_once(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    sensor = Sensor(instance, str(tmp_path / "logs" / "alerts.log"))
    run = fail(instance)
    assert sensor.tick() == "Reported 1 line."
    assert sensor.tick() == "Nothing to report."
    (line,) = (tmp_path / "logs" / "alerts.log").read_text().splitlines()
    when, _, text = line.partition(" ")
    assert abs(time.mktime(time.strptime(when, "%Y-%m-%dT%H:%M:%SZ")) - time.mktime(time.gmtime())) < 60
    assert text.startswith("chest: refresh failed at objects: ")
    assert "/nowhere/here" in text
    assert text.endswith(f"(run {run})")


def test_a_webhook_gets_the_line_as_text(instance: dg.DagsterInstance, hook: Hook) -> None:
    hook.messages.clear()
    sensor = Sensor(instance, hook.url)
    runs = [fail(instance), fail(instance)]
    assert sensor.tick() == "Reported 2 lines."
    assert [line.rpartition("run ")[2].rstrip(")") for line in hook.messages] == runs
    assert all("\n" not in line for line in hook.messages)


def test_an_unreachable_destination_gets_the_line_with_a_later_tick(instance: dg.DagsterInstance, hook: Hook) -> None:
    hook.messages.clear()
    sensor = Sensor(instance, hook.url)
    first, second = fail(instance), fail(instance)
    for status in (500, 302, 404):
        hook.status = status
        message = sensor.tick()
        assert f"http://{HOST}" in message
        assert str(status) in message
        assert "S3CR3T" not in message
    hook.status = 200
    assert sensor.tick() == "Reported 2 lines."
    assert [first in hook.messages[0], second in hook.messages[1], len(hook.messages)] == [True, True, 2]


def test_missed_failures_are_reported_and_old_ones_are_not(
    instance: dg.DagsterInstance, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook.messages.clear()
    fail(instance)
    sensor = Sensor(instance, hook.url)
    now = time.time()
    with monkeypatch.context() as clock:  # four hours on
        clock.setattr(time, "time", lambda: now + 4 * 3600)
        assert sensor.tick() == "Nothing to report."
    late = fail(instance)
    assert sensor.tick() == "Reported 1 line."
    assert late in hook.messages[0]


def test_a_fault_of_the_program_gives_its_class_and_no_value(instance: dg.DagsterInstance, hook: Hook) -> None:
    hook.messages.clear()
    run = fault(instance)
    Sensor(instance, hook.url).tick()
    assert hook.messages == [
        f"chest: stumbling failed at stumbles: a fault of the program (ValueError); "
        f"the run has its traceback (run {run})"
    ]


def test_keys_of_objects_are_left_out_of_a_line(instance: dg.DagsterInstance, hook: Hook, tmp_path: Path) -> None:
    hook.messages.clear()
    fail(instance, tmp_path / "training" / "Covid12")
    fail(instance, "s3://bucket/of/Covid13.json")
    Sensor(instance, hook.url).tick()
    assert len(hook.messages) == 2
    assert not any("Covid1" in line for line in hook.messages)


def test_a_run_without_a_failed_step_gives_the_reason_that_dagster_has(
    instance: dg.DagsterInstance, hook: Hook
) -> None:
    hook.messages.clear()
    job = chest_definitions({}).resolve_job_def("refresh")
    run = instance.create_run_for_job(job)
    instance.report_run_failed(run, "Detected run worker status FAILED: 'The process that ran it is gone.'")
    Sensor(instance, hook.url).tick()
    assert hook.messages == [
        "chest: refresh failed: Detected run worker status FAILED: 'The process that ran it is gone.' "
        f"(run {run.run_id})"
    ]


def test_a_stale_snapshot_is_reported_once_and_so_is_its_recovery(instance: dg.DagsterInstance, hook: Hook) -> None:
    hook.messages.clear()
    key = dg.AssetKey("published")
    instance.report_runless_asset_event(dg.AssetMaterialization(key))

    def becomes(new: FreshnessState, old: FreshnessState) -> None:
        """What Dagster's freshness daemon writes when the state changes."""
        instance._report_runless_asset_event(
            FreshnessStateChange(key=key, new_state=new, previous_state=old, state_change_timestamp=time.time())
        )

    sensor = Sensor(instance, hook.url)
    assert sensor.tick() == "Nothing to report."
    becomes(FreshnessState.WARN, FreshnessState.PASS)
    assert sensor.tick() == "Nothing to report."
    becomes(FreshnessState.FAIL, FreshnessState.WARN)
    assert [sensor.tick(), sensor.tick()] == ["Reported 1 line.", "Nothing to report."]
    assert hook.messages[0].startswith("chest: published is stale: no refresh for 0 days.")
    becomes(FreshnessState.PASS, FreshnessState.FAIL)
    assert [sensor.tick(), sensor.tick()] == ["Reported 1 line.", "Nothing to report."]
    assert hook.messages[1:] == ["chest: published is fresh again."]


def test_without_a_destination_the_line_is_only_in_dagsters_log(
    instance: dg.DagsterInstance, capfd: pytest.CaptureFixture[str]
) -> None:
    run = fail(instance)
    capfd.readouterr()
    assert Sensor(instance, "").tick() == "Reported 1 line."
    assert f"(run {run})" in capfd.readouterr().err


def test_mail_gets_the_line_as_its_subject_and_text() -> None:
    with serve_mailbox() as (where, taken):
        notify.post_line(f"smtp://{where}/?to=a@example.org&to=b@example.org&from=chest@example.org", "chest: héllo")
    (mail,) = taken
    assert (mail.mail_from, mail.rcpt_tos) == ("chest@example.org", ["a@example.org", "b@example.org"])
    message = message_from_bytes(mail.content, policy=policy.default)
    assert message["Subject"] == "chest: héllo"
    assert message.get_content().strip() == "chest: héllo"  # type: ignore[attr-defined]


def test_a_password_never_travels_in_clear_nor_into_an_error() -> None:
    with serve_mailbox() as (where, taken), pytest.raises(notify.PostingError) as error:
        notify.post_line(f"smtp://me:p4ssw0rd@{where}/?to=a@example.org&from=b@example.org", "chest: hello")
    assert not taken
    assert "no encryption" in str(error.value)
    assert "p4ssw0rd" not in str(error.value)


@pytest.mark.parametrize(
    "place",
    [
        "http://{}/x",
        "smtp://me:p4ssw0rd@{}/?to=a@example.org&from=b@example.org",
        "smtps://{}/?to=a@b.org&from=b@b.org",
    ],
)
def test_an_unreachable_server_is_one_line(place: str) -> None:
    with pytest.raises(notify.PostingError) as error:
        notify.post_line(place.format(f"{HOST}:{find_free_port()}"), "chest: hello")
    assert "\n" not in str(error.value)
    assert "refused" in str(error.value).lower()
    assert "p4ssw0rd" not in str(error.value)


def test_a_log_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(notify.PostingError, match="Is a directory"):
        notify.post_line(str(tmp_path), "chest: hello")


@pytest.mark.parametrize(
    ("place", "word"),
    [
        ("ftp://host/x", "ftp://"),
        ("https:///x", "host"),
        ("smtp://host/", "to="),
        ("smtp://host/?to=a@example.org", "to="),
        ("http://host:port/x", "CHEST_ALERT"),
    ],
)
def test_an_invalid_address_is_refused_when_definitions_load(place: str, word: str) -> None:
    with pytest.raises(UsageError, match="CHEST_ALERT") as error:
        chest_definitions({"CHEST_ALERT": place})
    assert word in str(error.value)


def test_a_destination_is_checked_if_given() -> None:
    for place in ("", "alerts.log", "/var/log/chest.log", "https://h/x", "smtp://u:p@h:25/?to=a@b.c&from=d@e.f"):
        notify.check_place(place)
