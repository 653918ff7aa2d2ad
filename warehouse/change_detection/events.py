"""Reading what an event queue holds: S3's own notifications, wrapped by SNS or not, and EventBridge's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

#: How deep one message may lie within others: EventBridge → SNS → SQS.
_DEEPEST = 3


@dataclass(frozen=True, slots=True)
class Event:
    """An object that was written or removed."""

    bucket: str
    key: str


def read_message(body: str) -> list[Event] | None:
    """The events of a message: [] for one about no object (s3:TestEvent), None for an unknown format."""
    content: Any = body
    for _ in range(_DEEPEST):
        if isinstance(content, str):
            try:
                content = json.loads(content)
            except (ValueError, RecursionError):
                return None
        if not isinstance(content, dict):
            return None
        if "Message" not in content:
            break
        content = content["Message"]
    if not isinstance(content, dict):
        return None
    if content.get("Event") == "s3:TestEvent":
        return []
    try:
        return _read_eventbridge(content) if "detail-type" in content else _read_s3_records(content["Records"])
    except (KeyError, TypeError, AttributeError):
        return None


def _read_s3_records(records: list[dict[str, Any]]) -> list[Event]:
    """S3's own shape; its keys are encoded as in a form: `+` is a space."""
    return [
        Event(str(record["s3"]["bucket"]["name"]), unquote_plus(record["s3"]["object"]["key"]))
        for record in records
        if str(record["eventName"]).removeprefix("s3:").startswith(("ObjectCreated", "ObjectRemoved", "Lifecycle"))
    ]


def _read_eventbridge(content: dict[str, Any]) -> list[Event]:
    """EventBridge's shape; its keys are as they are."""
    if content["detail-type"] not in ("Object Created", "Object Deleted"):
        return []
    detail = content["detail"]
    return [Event(str(detail["bucket"]["name"]), str(detail["object"]["key"]))]
