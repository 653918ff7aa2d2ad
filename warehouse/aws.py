"""AWS: the session, and what a refusal means: one clear line, and whether a later try may go well."""

import os
import re
from typing import Any

from warehouse.errors import SourceDownError, SourceError
from warehouse.settings import Settings

_MAY_NOT_LIST = (
    "these credentials may not list it. Ask for s3:ListBucket and s3:GetObject, or choose another AWS_PROFILE."
)
_LOG_IN = "the credentials have expired. Log in again."

#: What a refusal means and what to do; the codes are AWS's own.
_ADVICE = {
    "NoSuchBucket": "there is no such bucket. Check the name.",
    "404": "there is no such bucket. Check the name.",
    "AccessDenied": _MAY_NOT_LIST,
    "403": _MAY_NOT_LIST,
    "AllAccessDisabled": "the bucket is closed to everybody.",
    "InvalidAccessKeyId": "S3 does not know this access key. Check AWS_ACCESS_KEY_ID or AWS_PROFILE.",
    "SignatureDoesNotMatch": "the secret key is wrong. Check AWS_SECRET_ACCESS_KEY or AWS_PROFILE.",
    "ExpiredToken": _LOG_IN,
    "ExpiredTokenException": _LOG_IN,
    "InvalidToken": "the session token is not valid. Log in again.",
    "PermanentRedirect": "it lies in another region, or elsewhere. Set AWS_REGION or AWS_ENDPOINT_URL.",
    "InvalidBucketName": "this is no name a bucket can have.",
}

#: Those that are of the bucket or of who asks, whichever object is asked for.
_OF_ALL = {*_ADVICE} - {"AccessDenied", "403", "404"}

#: Refusals that ask for fewer requests, or to come again.
_THROTTLED = {
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestLimitExceeded",
    "TooManyRequests",
    "TooManyRequestsException",
    "BandwidthLimitExceeded",
    "429",
    "503",
    "ServiceUnavailable",
}
_BROKEN = {"InternalError", "InternalFailure", "RequestTimeout", "RequestTimeoutException", "500", "502", "504"}

#: What obstore says, in words alone, of an answer that did not come or broke off.
_CUT = re.compile(
    r"error sending request|timed? ?out|connection (?:reset|closed|refused|error)|error trying to connect|dns error"
    r"|broken pipe|end of file|incomplete|decoding response body|error reading a body|request or response body",
    re.IGNORECASE,
)
#: obstore's own limits, which it repeats in every error.
_LIMITS = re.compile(r"\w*(?:retry|retries|timeout)\w*: [^,\s]+")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status(?: code)?:? (\d{3})\b")
#: A connection that will not come about whatever one waits for.
_NEVER = re.compile("certificate|self.signed|invalid peer|CERTIFICATE_VERIFY", re.IGNORECASE)


def session() -> Any:
    """boto3's session, with AWS_REGION honoured: boto3 itself knows AWS_DEFAULT_REGION only."""
    import boto3

    return boto3.Session(region_name=os.environ.get("AWS_REGION") or None)


def code_of(error: Exception) -> str:
    """The code of a refusal, from boto3's error or the text of obstore's; "" when there is none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        code = str(response.get("Error", {}).get("Code", ""))
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return code if code in _ADVICE or status < 500 or code in _THROTTLED else str(status)
    text = str(error)
    found = _CODE.search(text) or _STATUS.search(text)
    return found[1] if found else ""


def explained(name: str, error: Exception, advice: dict[str, str] | None = None) -> SourceError:
    """What an error of boto3 or obstore means for the thing of that name: SourceDownError when it may heal by itself.

    `advice` says of codes what they mean for that thing, before what they mean for a bucket.
    """
    code = code_of(error)
    if code in _THROTTLED:
        return SourceDownError(f"{name}: it asks for fewer requests ({code}). Wait a little, then run it again.")
    if code in _BROKEN:
        return SourceDownError(f"{name}: it has a fault of its own ({code}). Wait a little, then run it again.")
    if words := {**_ADVICE, **(advice or {})}.get(code):
        return SourceError(f"{name}: {words}")
    if _heals(error):
        return SourceDownError(
            f"{name} does not answer any more: {one_line(error)} What was loaded is safe; run it again."
        )
    if code:
        return SourceError(f"{name}: it was refused ({code}): {one_line(error)}")
    return SourceError(f"{name} cannot be read: {one_line(error)} What was loaded is safe. Check the AWS settings.")


def is_of_one_object(error: Exception) -> bool:
    """Whether a refusal may be that of one object alone; else no other would be given either."""
    code = code_of(error)
    return code not in _OF_ALL and (bool(code) or _heals(error))


def reason(error: Exception) -> str:
    """Why an object could not be had, without its key: for rejects."""
    code = code_of(error)
    if code in _THROTTLED:
        return f"S3 asked for fewer requests ({code})"
    return f"S3 answered with a fault ({code})" if code else "the connection broke off while it was read"


def unreachable(name: str, error: Exception) -> SourceError:
    """What an error means that came instead of the very first answer."""
    kind = SourceDownError if _heals(error) else SourceError
    return kind(f"{name} cannot be reached: {one_line(error)} Check the network and AWS_ENDPOINT_URL.")


def _heals(error: Exception) -> bool:
    """Whether it is the connection that failed: nobody there, or it was reset, or nothing came in time."""
    from botocore.exceptions import (
        ConnectionClosedError,
        IncompleteReadError,
        ReadTimeoutError,
        ResponseStreamingError,
        SSLError,
    )
    from botocore.exceptions import ConnectionError as NotConnected

    if _NEVER.search(str(error)) or isinstance(error, SSLError):
        return False
    cut = (NotConnected, ConnectionClosedError, IncompleteReadError, ReadTimeoutError, ResponseStreamingError, OSError)
    said = _LIMITS.sub("", str(error))
    return isinstance(error, cut) or bool(_CUT.search(said))


def one_line(error: Exception) -> str:
    """The first line of an error, as a sentence."""
    return str(error).strip().split("\n")[0].rstrip(". ") + "."


def patience(settings: Settings) -> dict[str, Any]:
    """How long boto3's clients wait and how often they try again: as long as a short throttling lasts, not minutes."""
    return {
        "connect_timeout": min(5.0, settings.request_seconds),
        "read_timeout": settings.request_seconds,
        "retries": {"max_attempts": 4, "mode": "standard"},
    }
