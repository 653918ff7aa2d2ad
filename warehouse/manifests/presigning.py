"""Presigned addresses of a manifest's objects: whoever has one can read the object until it ends, and needs no login.

An address ends when the first of these does: what was asked for, the agreement, the token of temporary credentials that
signs it (S3 refuses it from then on, whatever the address states), and seven days (Signature Version 4). The end is
computed before anything is signed, and refused if it is before what was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from warehouse import aws
from warehouse.errors import AccessRefusedError, SourceError, UsageError
from warehouse.manifests import paths
from warehouse.object_store.s3 import is_spellable

#: The longest that Signature Version 4 allows; the shortest that is of any use.
LONGEST = timedelta(days=7)
_SHORTEST = timedelta(minutes=1)
#: The folder below which a list for curl has its files: curl writes into the working directory, aria2c where -d says.
_CURL_FOLDER = "data"


@dataclass(frozen=True, slots=True)
class End:
    """When addresses end, and what ends them."""

    at: datetime
    by: str


@dataclass(frozen=True, slots=True)
class Address:
    """An object and its address."""

    key: str
    object: str
    size: int
    etag: str
    url: str


class Signer:
    """Signs addresses with the credentials that there are now: later ones have another end."""

    def __init__(self) -> None:
        """Find the credentials; SourceError without any, or if a token does not state when it ends."""
        from botocore.config import Config

        session = aws.create_session()
        held = session.get_credentials()
        frozen = aws.find_credentials(session, "Presigned addresses")
        if frozen is None:
            raise SourceError("No AWS credentials were found to sign with. Set AWS_PROFILE, or log in.")
        self.token_end = _find_token_end(held, frozen)
        self._client = session.client(
            "s3",
            region_name=session.region_name or "us-east-1",
            aws_access_key_id=frozen.access_key,
            aws_secret_access_key=frozen.secret_key,
            aws_session_token=frozen.token,
            config=Config(signature_version="s3v4"),
        )

    def sign(self, source: str, key: str, end: datetime) -> str:
        """The address of an object of a bucket, which ends no later than that."""
        bucket, _, below = source.removeprefix("s3://").partition("/")
        place = {"Bucket": bucket, "Key": f"{below.strip('/')}/{key}".removeprefix("/") if below else key}
        seconds = int((end - datetime.now(UTC)).total_seconds())
        if seconds < 1:
            raise AccessRefusedError("The addresses would end before all are signed. Ask for fewer objects.")
        return str(self._client.generate_presigned_url("get_object", Params=place, ExpiresIn=seconds))


def _find_token_end(held: Any, frozen: Any) -> datetime | None:
    """When a token of temporary credentials ends; None for keys without a token, which have no end."""
    if not frozen.token:
        return None
    ends = getattr(held, "_expiry_time", None)
    if ends is None:
        raise SourceError(
            "The credentials have a token that does not state when it ends, so neither can the addresses. Set "
            "AWS_CREDENTIAL_EXPIRATION, as  aws configure export-credentials --format env  prints it."
        )
    return ends.astimezone(UTC)  # type: ignore[no-any-return]


def compute_end(
    now: datetime, asked: timedelta | None, *, agreement: datetime | None = None, token: datetime | None = None
) -> End:
    """When addresses end that are signed now; without `asked`, as late as they may.

    AccessRefusedError if that is before what was asked for, with the end and what ends them.
    """
    limits = [End(now + LONGEST, "seven days, the most that AWS allows")]
    limits += [End(agreement, "the agreement")] if agreement else []
    limits += [End(token, "the token that signs them")] if token else []
    real = min(limits, key=lambda end: end.at)
    wanted = _SHORTEST if asked is None else asked
    if real.at < now + wanted:
        words = "" if asked is None else f", not in {format_length(asked)}"
        raise AccessRefusedError(
            f"The addresses would end at {format_moment(real.at)}{words}, with {real.by}. Ask for less (--for), or "
            f"{'log in again' if 'token' in real.by else 'choose other credentials or another agreement'}."
        )
    return real if asked is None else End(now + asked, "what was asked for")


def parse_length(text: str) -> timedelta:
    """A length of time such as 45m, 12h or 7d; UsageError for anything else."""
    units = {"m": "minutes", "h": "hours", "d": "days"}
    number, unit = text.strip()[:-1], text.strip()[-1:]
    if not (number.isascii() and number.isdigit() and unit in units and 0 < int(number) < 100_000):
        raise UsageError(f"{text!r} is not a length of time. Give minutes, hours or days: 45m, 12h, 7d.")
    return timedelta(**{units[unit]: int(number)})


def format_length(length: timedelta) -> str:
    """A length of time as it is given."""
    seconds = int(length.total_seconds())
    size, unit = next((size, unit) for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")) if not seconds % size)
    return f"{seconds // size}{unit}"


def format_moment(at: datetime) -> str:
    """A moment for people, to the minute, rounded down."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def sign_rows(
    signer: Signer, rows: Iterator[Sequence[Any]], places: Mapping[str, str], end: datetime
) -> Iterator[Address]:
    """Sign the objects of rows of uri, key, object, size and etag; `places` has the bucket to read for each source.

    The credentials that sign can read more than the manifest's reader meant: no other source is signed (KeyError).
    """
    for uri, key, kind, size, etag in rows:
        source = places[uri.removesuffix(f"/{key}")]
        if not source.startswith("s3://"):
            raise UsageError(f"{source} is a folder: only objects of S3 have addresses. Use chest manifest download.")
        yield Address(key, kind, size, etag, signer.sign(source, key, end))


def render_addresses(addresses: Iterator[Address], form: str, end: datetime) -> Iterator[str]:
    """The lines of a file of addresses: csv, a list for aria2 (aria2c -i FILE), or one for curl (curl -K FILE)."""
    if form == "csv":
        yield "key,object,size,etag,ends,url\n"
    for each in addresses:
        if form == "csv":
            cells = (each.key, each.object, str(each.size), each.etag, f"{end:%Y-%m-%dT%H:%M:%SZ}", each.url)
            yield ",".join(map(_quote_cell, cells)) + "\n"
            continue
        if not _may_be_written(each.key):
            raise UsageError(f"The key {quote(each.key)} cannot be a path. Write a .csv, which has addresses alone.")
        if form == "aria2":
            yield f"{each.url}\n  out={each.key}\n"
        else:
            yield f'url = "{each.url}"\noutput = "{_CURL_FOLDER}/{each.key}"\n'


def _may_be_written(key: str) -> bool:
    """Whether another program may write an object to the path of its key: a manifest of somebody else may name one
    that is read as settings or run (`.bashrc`)."""
    is_hidden = key.startswith(".") or "/." in key
    return is_spellable(key) and paths.is_safe(key) and not is_hidden and not set(key) & set('"\\')


def _quote_cell(text: str) -> str:
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if set(text) & set(',"\r\n') else text
