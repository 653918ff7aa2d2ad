"""Receives the events of an SQS queue about objects written and removed; they are deleted once acted upon."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Sequence
from typing import Any

from warehouse import aws
from warehouse.change_detection.events import read_message
from warehouse.change_detection.result import Changes, find_prefixes
from warehouse.errors import UsageError
from warehouse.settings import Settings

_LOG = logging.getLogger(__name__)

#: Messages taken at one time; the rest waits for the next look.
_MOST = 1_000
#: What SQS gives, and takes back, in one request.
_BATCH = 10
#: Seconds that SQS looks for messages, so that no server of its own is overlooked; and that it hides those it gave.
_WAIT, _HIDDEN = 1, 300

_MAY_NOT = (
    "these credentials may not read the queue. Ask for sqs:ReceiveMessage, DeleteMessage and ChangeMessageVisibility."
)
_NO_QUEUE = "the queue does not exist. Check CHEST_EVENT_QUEUE and its region."
_ADVICE = {
    "AccessDenied": _MAY_NOT,
    "AccessDeniedException": _MAY_NOT,
    "403": _MAY_NOT,
    "AWS.SimpleQueueService.NonExistentQueue": _NO_QUEUE,
    "QueueDoesNotExist": _NO_QUEUE,
    "404": _NO_QUEUE,
    "InvalidClientTokenId": "AWS does not know this access key. Check AWS_ACCESS_KEY_ID or AWS_PROFILE.",
    "UnrecognizedClientException": "AWS does not know this access key. Check AWS_ACCESS_KEY_ID or AWS_PROFILE.",
}


@contextlib.contextmanager
def receive_events(queue: str, source: str | Sequence[str], settings: Settings) -> Iterator[Changes]:
    """The changes that a queue reports for a source (or for each of several), as one Changes; `queue` is its URL.

    When the block ends without error the messages are deleted; when it raises they are given back and come again, as
    they do when the process dies. So an event may come twice, which does no harm, and none is lost. Messages of other
    buckets or prefixes, tests and those of an unknown format are deleted with the others and counted in a
    warning: a queue belongs to one deployment, and what is left in it would come again for ever. So give all the
    sources that the queue serves.

    Raises SourceError if the queue does not exist or may not be read, SourceDownError if it does not respond.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    sources = [source] if isinstance(source, str) else [*source]
    client = _create_client(queue, settings)
    try:
        taken = _receive(client, queue)
    except (ClientError, BotoCoreError) as error:
        raise aws.to_source_error(queue, error, _ADVICE) from None
    try:
        yield _collect_changes([body for _, body in taken], sources)
    except BaseException:
        with contextlib.suppress(ClientError, BotoCoreError):  # else they come back by themselves, later
            _release(client, queue, taken)
        raise
    try:
        _delete(client, queue, taken)
    except (ClientError, BotoCoreError) as error:
        raise aws.to_source_error(queue, error, _ADVICE) from None


def _create_client(queue: str, settings: Settings) -> Any:
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    if not re.match("https?://[^/]+/.", queue):
        raise UsageError(
            f"{queue!r} is not a queue URL. Set CHEST_EVENT_QUEUE to the URL that SQS shows (https://sqs.…)."
        )
    try:
        session = aws.create_session()
        aws.find_credentials(session, queue)
        region = re.match(r"https://sqs\.([a-z0-9-]+)\.", queue)
        return session.client(
            "sqs",
            region_name=region[1] if region else session.region_name or "us-east-1",
            config=Config(**aws.client_timeouts(settings)),
        )
    except (BotoCoreError, ValueError) as error:
        raise aws.to_source_error(queue, error, _ADVICE) from None


def _receive(client: Any, queue: str) -> list[tuple[str, str]]:
    """Messages as (receipt, body), until the queue is empty or there are enough."""
    taken: dict[str, tuple[str, str]] = {}
    for _ in range(_MOST // _BATCH):
        answer = client.receive_message(
            QueueUrl=queue, MaxNumberOfMessages=_BATCH, WaitTimeSeconds=_WAIT, VisibilityTimeout=_HIDDEN
        )
        found = answer.get("Messages", [])
        if not found:
            break
        for message in found:  # one that is given twice counts once; its last receipt is the one that holds
            taken[message["MessageId"]] = (message["ReceiptHandle"], message["Body"])
    return [*taken.values()]


def _collect_changes(bodies: list[str], sources: list[str]) -> Changes:
    changed: dict[str, set[str]] = {}
    strange = foreign = 0
    for body in bodies:
        found = read_message(body)
        strange += found is None
        for event in found or []:
            url = f"s3://{event.bucket}/{event.key}"
            mine = [source for source in sources if url.startswith(f"{source.rstrip('/')}/")]
            foreign += not mine
            for source in mine:
                changed.setdefault(source, set()).add(url.removeprefix(f"{source.rstrip('/')}/"))
    if strange or foreign:
        _LOG.warning(
            "The event queue held %d messages of an unknown format and %d events of other buckets or prefixes; "
            "they were removed from it.",
            strange,
            foreign,
        )
    count = sum(map(len, changed.values()))
    # Not how many: Dagster shows this to many readers, and they may be the objects of one patient.
    why = f"The queue reports {'objects written or removed' if count else 'no changes'}."
    return Changes(
        bool(count),
        count,
        why,
        sources=tuple(source for source in sources if source in changed),
        # With several sources, a prefix would not name its source.
        prefixes=find_prefixes(next(iter(changed.values()))) if len(changed) == 1 else (),
    )


def _split_into_batches(taken: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    for at in range(0, len(taken), _BATCH):
        yield [(str(place), receipt) for place, (receipt, _) in enumerate(taken[at : at + _BATCH])]


def _delete(client: Any, queue: str, taken: list[tuple[str, str]]) -> None:
    for batch in _split_into_batches(taken):
        client.delete_message_batch(
            QueueUrl=queue, Entries=[{"Id": place, "ReceiptHandle": receipt} for place, receipt in batch]
        )


def _release(client: Any, queue: str, taken: list[tuple[str, str]]) -> None:
    for batch in _split_into_batches(taken):
        client.change_message_visibility_batch(
            QueueUrl=queue,
            Entries=[{"Id": place, "ReceiptHandle": receipt, "VisibilityTimeout": 0} for place, receipt in batch],
        )
