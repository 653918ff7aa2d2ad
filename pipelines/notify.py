"""Delivers one line to the destination in CHEST_ALERT: a log file, a webhook, or a mailbox.

Independent of Dagster. A destination may contain a password or a secret path, so errors use only its `name_place()`.
"""

import json
import smtplib
import ssl
import urllib.error
import urllib.request
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import formatdate
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from warehouse.errors import UsageError, WarehouseError
from warehouse.filesystem import files
from warehouse.masking import name_address

VARIABLE = "CHEST_ALERT"
_SECONDS = 10.0


class PostingError(WarehouseError):
    """The line was not delivered; a later attempt may succeed."""

    heals = True


def check_place(place: str) -> None:
    """Validate a destination before the first alert; UsageError names the variable."""
    parts = _split_url(place)
    if parts is None:
        return
    if parts.scheme not in {"http", "https", "smtp", "smtps"}:
        raise UsageError(
            f"{VARIABLE}: {parts.scheme}:// is not a destination for alerts. Give a log file, https://… or smtp://HOST/?to=…&from=…"
        )
    if not parts.hostname:
        raise UsageError(f"{VARIABLE}: the host is missing after {parts.scheme}://.")
    if parts.scheme.startswith("smtp") and not all(_read_mailboxes(parts)):
        raise UsageError(f"{VARIABLE}: the recipient is missing. Example: {name_place(place)}/?to=…&from=…")


def name_place(place: str) -> str:
    """Name a destination for a log: without user, password, path and query."""
    _split_url(place)
    return name_address(place)


def post_line(place: str, line: str) -> None:
    """Deliver one line. PostingError, in one line without passwords, when it is not delivered."""
    check_place(place)
    parts = _split_url(place)
    try:
        if parts is None:
            _append_to_file(Path(place), line)
        elif parts.scheme.startswith("http"):
            _post_to_webhook(place, line)
        else:
            _send_mail(parts, line)
    except PostingError:
        raise
    except (urllib.error.HTTPError, smtplib.SMTPResponseException) as error:
        code = error.code if isinstance(error, urllib.error.HTTPError) else error.smtp_code
        raise PostingError(f"{name_place(place)} refused an alert with {code}. Check {VARIABLE}.") from None
    except (OSError, HTTPException, smtplib.SMTPException) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
        raise PostingError(f"{name_place(place)} did not accept an alert: {reason}. Check {VARIABLE}.") from None


def _split_url(place: str) -> SplitResult | None:
    """A URL's parts; None for a path."""
    if "://" not in place:
        return None
    try:
        parts = urlsplit(place)
        _ = parts.port
    except ValueError:
        raise UsageError(f"{VARIABLE} is not a valid URL. Check its host and port.") from None
    return parts


def _append_to_file(path: Path, line: str) -> None:
    files.make_folder(path.parent)
    with files.open_to_append(path) as file:
        file.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}\n".encode())


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET without its line: better an error."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _post_to_webhook(url: str, line: str) -> None:
    """Post the body that Slack, Teams, Mattermost and most others accept."""
    request = urllib.request.Request(  # noqa: S310 (http and https alone, by check())
        url, json.dumps({"text": line}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.build_opener(_NoRedirect).open(request, timeout=_SECONDS):
        pass


def _read_mailboxes(parts: SplitResult) -> tuple[str, str]:
    """Recipients and sender of a smtp:// URL; "" where it has none."""
    query = parse_qs(parts.query)
    return ", ".join(query.get("to", [])), query.get("from", [""])[0]


def _send_mail(parts: SplitResult, line: str) -> None:
    message = EmailMessage()
    message["To"], message["From"] = _read_mailboxes(parts)
    message["Subject"] = line.replace("\n", " ")[:120]
    message["Date"] = formatdate()
    message.set_content(line)
    secure = ssl.create_default_context()
    host = parts.hostname or ""
    with (
        smtplib.SMTP_SSL(host, parts.port or 465, timeout=_SECONDS, context=secure)
        if parts.scheme == "smtps"
        else smtplib.SMTP(host, parts.port or 25, timeout=_SECONDS)
    ) as server:
        server.ehlo()
        encrypted = parts.scheme == "smtps"
        if not encrypted and server.has_extn("starttls"):
            server.starttls(context=secure)
            encrypted = True
        if parts.username:
            if not encrypted:
                raise PostingError(
                    f"{parts.scheme}://{host} offers no encryption, so the password of {VARIABLE} was not sent. "
                    "Use a server with STARTTLS or smtps://, or leave the password out."
                )
            server.login(unquote(parts.username), unquote(parts.password or ""))
        server.send_message(message)
