"""Changes of a bucket, from a real queue (moto's SQS, notified by moto's S3)."""

import json
from typing import Any

import boto3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import S3

from warehouse.change_detection import Changes, receive_events
from warehouse.change_detection.events import read_message
from warehouse.errors import SourceDownError, SourceError, UsageError
from warehouse.settings import Settings

RECORD = b'{"Pseudonym": "x", "SwabStatus": "Negative", "SubmittingCentre": "Leeds"}'
SOURCE = "s3://chest"
SETTINGS = Settings(request_seconds=5)


def key(patient: object, day: str = "2020-03-01") -> str:
    return f"training/Covid{patient}/data/{day}/data.json"


@pytest.fixture
def sqs(s3: S3) -> Any:
    return boto3.client("sqs", region_name="us-east-1")


@pytest.fixture
def queue(sqs: Any, request: pytest.FixtureRequest) -> str:
    url: str = sqs.create_queue(QueueName=f"q{abs(hash(request.node.name))}")["QueueUrl"]
    return url


def notice(object_key: str, event: str = "ObjectCreated:Put", bucket: str = "chest") -> dict[str, Any]:
    return {"Records": [{"eventName": event, "s3": {"bucket": {"name": bucket}, "object": {"key": object_key}}}]}


def send(sqs: Any, queue: str, *bodies: object) -> None:
    for body in bodies:
        sqs.send_message(QueueUrl=queue, MessageBody=body if isinstance(body, str) else json.dumps(body))


def left(sqs: Any, queue: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)


def receive(queue: str, source: Any = SOURCE) -> Changes:
    with receive_events(queue, source, SETTINGS) as changes:
        return changes


def test_a_bucket_notifies_its_queue_and_the_queue_is_read(s3: S3, sqs: Any, queue: str) -> None:
    s3.put("notifying", {})
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    wanted = [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}]
    s3.client().put_bucket_notification_configuration(
        Bucket="notifying", NotificationConfiguration={"QueueConfigurations": wanted}
    )
    s3.put("notifying", {key("1 ü+a"): RECORD, key(2): RECORD})
    with receive_events(queue, "s3://notifying", SETTINGS) as changes:
        assert (changes.new, changes.keys, changes.sources) == (True, 2, ("s3://notifying",))
        assert changes.prefixes == ("training/Covid1 ü+a/", "training/Covid2/")
        assert "Covid" not in f"{changes}"
    assert left(sqs, queue) == 0
    assert receive(queue, "s3://notifying") == Changes(False, 0, "The queue reports no changes.")


@pytest.mark.parametrize(
    "body",
    [
        notice("training/Covid+7/data/2020-03-01/data.json"),
        notice("training/Covid%207/data/2020-03-01/data.json", "s3:ObjectRemoved:Delete"),
        {"Type": "Notification", "Message": json.dumps(notice("training/Covid+7/data/2020-03-01/data.json"))},
        {
            "detail-type": "Object Created",
            "source": "aws.s3",
            "detail": {"bucket": {"name": "chest"}, "object": {"key": key(" 7")}},
        },
    ],
    ids=["s3", "removed", "sns", "eventbridge"],
)
def test_every_shape_of_event_is_read(sqs: Any, queue: str, body: object) -> None:
    send(sqs, queue, body, body)  # the same changes twice is one
    changes = receive(queue)
    assert (changes.keys, changes.prefixes) == (1, ("training/Covid 7/",))


def test_messages_come_again_when_the_block_fails(sqs: Any, queue: str) -> None:
    send(sqs, queue, *(notice(key(patient)) for patient in range(25)))

    def stumble() -> None:
        with receive_events(queue, SOURCE, SETTINGS) as changes:
            assert changes.keys == 25
            raise RuntimeError("the refresh could not be started")

    with pytest.raises(RuntimeError):
        stumble()
    assert left(sqs, queue) == 25
    changes = receive(queue)
    assert (changes.keys, changes.why) == (25, "The queue reports objects written or removed."), (
        "Dagster shows no number"
    )
    assert left(sqs, queue) == 0


def test_unrelated_and_odd_messages_are_counted_and_taken_out(
    sqs: Any, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    test_event = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "chest"}
    send(sqs, queue, test_event, "no json: Covid77", "[1]", '{"Records": [{}]}', "null")
    send(sqs, queue, notice(key(1), bucket="another"), notice("sites-old/a"), notice("sites/york/a"))
    changes = receive(queue, "s3://chest/sites/leeds")
    assert (changes.new, left(sqs, queue)) == (False, 0)
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("warehouse")]
    assert "4 messages of an unknown format and 3 events" in line
    assert "Covid" not in line


def test_one_queue_may_serve_several_sources(sqs: Any, queue: str) -> None:
    send(sqs, queue, notice("a/" + key(1)), notice("b/" + key(2)), notice("a/" + key(3)))
    changes = receive(queue, ["s3://chest/a", "s3://chest/b", "s3://chest/c"])
    assert (changes.keys, changes.sources, changes.prefixes) == (3, ("s3://chest/a", "s3://chest/b"), ())


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["Records", "Message", "detail-type", "detail", "s3", "bucket", "Event", "eventName"]),
                inner,
            )
        ),
    )
)
def test_no_message_is_too_odd(body: object) -> None:
    found = read_message(json.dumps(body))
    assert found is None or found == []


def test_a_queue_that_is_not_there_is_one_line(s3: S3) -> None:
    with pytest.raises(SourceError, match=r"the queue does not exist. Check CHEST_EVENT_QUEUE") as caught:
        receive(f"{s3.endpoint}/123456789012/nobody")
    assert not caught.value.heals
    with pytest.raises(UsageError, match="is not a queue URL"):
        receive("nobody")


def test_a_queue_that_does_not_answer_may_heal(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(SourceDownError, match="does not answer"):
        receive("http://127.0.0.1:9/1/q")
