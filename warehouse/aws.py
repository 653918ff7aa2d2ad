"""AWS: the session, and its errors, each explained in one line that states whether a retry may succeed."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from warehouse.errors import SourceDownError, SourceError
from warehouse.masking import mask_secrets, remember_secret
from warehouse.settings import Settings

_MAY_NOT_LIST = (
    "these credentials may not list it. Ask for s3:ListBucket and s3:GetObject, or choose another AWS_PROFILE."
)
_LOG_IN = "the credentials have expired. Log in again."

#: What a refusal means and what to do; the codes are AWS's own.
_ADVICE = {
    "NoSuchBucket": "the bucket does not exist. Check the name.",
    "404": "the bucket does not exist. Check the name.",
    "AccessDenied": _MAY_NOT_LIST,
    "403": _MAY_NOT_LIST,
    "AllAccessDisabled": "the bucket is closed to everybody.",
    "InvalidAccessKeyId": "S3 does not know this access key. Check AWS_ACCESS_KEY_ID or AWS_PROFILE.",
    "SignatureDoesNotMatch": "the secret key is wrong. Check AWS_SECRET_ACCESS_KEY or AWS_PROFILE.",
    "ExpiredToken": _LOG_IN,
    "ExpiredTokenException": _LOG_IN,
    "InvalidToken": "the session token is not valid. Log in again.",
    "PermanentRedirect": "it is in another region or at another endpoint. Set AWS_REGION or AWS_ENDPOINT_URL.",
    "InvalidBucketName": "this is not a valid bucket name.",
    "Redirect": "the server redirects to another address, which is not followed. Check AWS_ENDPOINT_URL.",
}

#: Those that are of the bucket or of who asks, whichever object is asked for.
_OF_ALL = {*_ADVICE} - {"AccessDenied", "403", "404", "Redirect"}
#: An answer with another address: codes of boto3, and the text of obstore, which has no code for it.
_REDIRECTED = {"301", "302", "303", "307", "308", "TemporaryRedirect", "Redirect"}
_FOLLOWED = "error following redirect"

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

#: The texts with which obstore reports a missing or interrupted response; there are no codes for them.
_CUT = re.compile(
    r"error sending request|timed? ?out|connection (?:reset|closed|refused|error)|error trying to connect|dns error"
    r"|broken pipe|end of file|incomplete|decoding response body|error reading a body|request or response body",
    re.IGNORECASE,
)
#: obstore's own limits, which it repeats in every error. Each word is read once: an error may quote a server's answer.
_LIMITS = re.compile(r"(?<!\w)(?=\w*?(?:retry|retries|timeout))\w++: [^,\s]+")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status(?: code)?:? (\d{3})\b")
#: A connection that will not come about whatever one waits for.
_NEVER = re.compile(
    "certificate|self.signed|invalid peer|SSL validation|CERTIFICATE_VERIFY|UnknownIssuer", re.IGNORECASE
)


def create_session() -> Any:
    """boto3's session, which asks nobody anything; with AWS_REGION honoured: boto3 knows AWS_DEFAULT_REGION only."""
    import boto3

    made = boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
    _refuse_to_prompt(made)
    return made


def find_credentials(session: Any, name: str) -> Any:
    """The credentials of a session, fetched now (access_key, secret_key, token), or None.

    Never prompts: SourceError explains what to do if a login is missing or has expired, or if
    the profile wants a code of MFA. `name` is what they are for.
    """
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        SSOTokenLoadError,
        TokenRetrievalError,
        UnauthorizedSSOTokenError,
    )

    profile = f" --profile {session.profile_name}" if session.profile_name != "default" else ""
    try:
        found = session.get_credentials()
        frozen = found.get_frozen_credentials() if found else None
    except (SSOTokenLoadError, TokenRetrievalError, UnauthorizedSSOTokenError):
        raise SourceError(
            f"{name}: the SSO login of this profile is missing or has expired. Log in:  aws sso login{profile}"
        ) from None
    except ClientError as error:
        raise to_source_error(name, error, _OF_ROLES) from None
    except BotoCoreError as error:
        raise (
            to_connection_error(name, error) if _is_retryable_error(error) else _to_profile_error(name, error)
        ) from None
    except (OSError, ValueError) as error:  # the program of a profile's credential_process
        raise _to_profile_error(name, error) from None
    if frozen:
        remember_secret(frozen.secret_key)
        remember_secret(frozen.token)
    return frozen


#: What refusals mean where a role is to be taken on.
_OF_ROLES = dict.fromkeys(
    ("AccessDenied", "403"), "the role of this profile may not be assumed. Check its role_arn and source_profile."
)


def _to_profile_error(name: str, error: Exception) -> SourceError:
    return SourceError(
        f"{name}: no credentials could be had: {to_one_line(error)} Check AWS_PROFILE and ~/.aws/config."
    )


def _refuse_to_prompt(session: Any) -> None:
    """Let a profile that wants a code of MFA be an error: botocore would wait at the terminal for it.

    Right after the session is made: credentials keep the prompt that there was when they were first looked for.
    """

    def refuse(prompt: str = "") -> str:  # noqa: ARG001
        raise SourceError(
            f"The profile {session.profile_name} wants a code of MFA, which cannot be given here. Get a "
            "session first:  aws configure export-credentials --format env  and set what it prints."
        )

    resolver = session._session.get_component("credential_provider")
    for provider in resolver.providers:
        if hasattr(provider, "_prompter"):
            provider._prompter = refuse


def find_ca_bundle(session: Any) -> str:
    """The file of certificates that AWS_CA_BUNDLE or the profile's ca_bundle names; "" for the system's own.

    SourceError when it cannot be read.
    """
    import ssl

    path = str(session._session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE") or "")
    if path:
        try:
            written = Path(path).stat()
            _require_certificates(path, written.st_mtime_ns, written.st_size)
        except OSError as error:
            why = "it contains no certificate in PEM format" if isinstance(error, ssl.SSLError) else error.strerror
            raise SourceError(
                f"The certificates in {path} cannot be read: {why}. Correct AWS_CA_BUNDLE, or the profile's ca_bundle."
            ) from None
    return path


@lru_cache(maxsize=8)
def _require_certificates(path: str, written_at: int, size: int) -> None:  # noqa: ARG001 - the file, as it was read
    """OSError unless a file has certificates. Read once: those of a system take a tenth of a second."""
    import ssl

    ssl.create_default_context(cafile=path)


def get_error_code(error: Exception) -> str:
    """The code of a refusal, from boto3's error or the text of obstore's, or ""."""
    if isinstance(error, RecursionError):  # boto3 looks for a region in each redirection
        return "Redirect"
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        code = str(response.get("Error", {}).get("Code", ""))
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = "Redirect" if code in _REDIRECTED else code
        return code if code in _ADVICE or status < 500 or code in _THROTTLED else str(status)
    text = str(error)
    found = _CODE.search(text) or _STATUS.search(text)
    return found[1] if found else "Redirect" if _FOLLOWED in text else ""


def to_source_error(name: str, error: Exception, advice: dict[str, str] | None = None) -> SourceError:
    """What an error of boto3 or obstore means for the thing of that name: SourceDownError when it may heal by itself.

    `advice` explains codes for that thing; codes it lacks are explained as for a bucket.
    """
    code = get_error_code(error)
    if _NEVER.search(str(error)):
        return _to_certificate_error(name, error)
    if code in _THROTTLED:
        return SourceDownError(f"{name}: it asks for fewer requests ({code}). Wait a little, then run it again.")
    if code in _BROKEN:
        return SourceDownError(f"{name}: it has a fault of its own ({code}). Wait a little, then run it again.")
    if words := {**_ADVICE, **(advice or {})}.get(code):
        return SourceError(f"{name}: {words}")
    if _is_retryable_error(error):
        return SourceDownError(
            f"{name} does not answer any more: {to_one_line(error)} What was loaded is safe; run it again."
        )
    if code:
        return SourceError(f"{name}: it was refused ({code}): {to_one_line(error)}")
    return SourceError(f"{name} cannot be read: {to_one_line(error)} What was loaded is safe. Check the AWS settings.")


def is_of_one_object(error: Exception) -> bool:
    """Whether a refusal may be that of one object alone; else no other would be given either."""
    code = get_error_code(error)
    return code not in _OF_ALL and (bool(code) or _is_retryable_error(error))


def is_odd_answer(error: Exception) -> bool:
    """Whether an answer came that obstore cannot read, such as metadata in other letters; it is no refusal."""
    return not get_error_code(error) and not _is_retryable_error(error) and not _NEVER.search(str(error))


def describe_refusal(error: Exception) -> str:
    """Why an object could not be had, without its key: for rejects."""
    code = get_error_code(error)
    if code in _THROTTLED:
        return f"S3 asked for fewer requests ({code})"
    if code == "Redirect":
        return "the server redirected to another address, which is not followed"
    return f"S3 answered with a fault ({code})" if code else "the connection broke off while it was read"


def to_connection_error(name: str, error: Exception) -> SourceError:
    """Explain an error on the first request."""
    if _NEVER.search(str(error)):
        return _to_certificate_error(name, error)
    kind = SourceDownError if _is_retryable_error(error) else SourceError
    return kind(f"{name} cannot be reached: {to_one_line(error)} Check the network and AWS_ENDPOINT_URL.")


def _to_certificate_error(name: str, error: Exception) -> SourceError:
    text = str(error).lower()
    if "hostname" in text or "doesn't match" in text or "not valid for name" in text or "ip address mismatch" in text:
        why = "it is for another name. Check AWS_ENDPOINT_URL."
    elif "expired" in text:
        why = "it has expired. Whoever runs the server must renew it."
    else:
        why = "it is signed by nobody that is known here. Set AWS_CA_BUNDLE to the file of its authority (PEM)."
    return SourceError(f"{name}: the server's certificate is not trusted: {why}")


def _is_retryable_error(error: Exception) -> bool:
    """Whether the connection failed: it was refused or reset, or it timed out."""
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
    text = _LIMITS.sub("", str(error))
    return isinstance(error, cut) or bool(_CUT.search(text))


def to_one_line(error: Exception) -> str:
    """The first line of an error, as a sentence without secrets."""
    return mask_secrets(str(error).strip().split("\n")[0]).rstrip(". ") + "."


def client_timeouts(settings: Settings) -> dict[str, Any]:
    """How long boto3's clients wait and how often they try again: as long as a short throttling lasts, not minutes."""
    return {
        "connect_timeout": min(5.0, settings.request_seconds),
        "read_timeout": settings.request_seconds,
        "retries": {"max_attempts": 4, "mode": "standard"},
    }


def find_endpoint(session: Any, client: Any = None) -> str:
    """The endpoint that AWS_ENDPOINT_URL or the profile sets; "" for Amazon's own.

    `client` is the session's client of S3, if it has one already: to make another takes as long as to connect.
    """
    client = client or session.client("s3", region_name=session.region_name or "us-east-1")
    url: str = client.meta.endpoint_url
    return "" if url.rstrip("/").endswith(".amazonaws.com") else url
