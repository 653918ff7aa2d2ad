"""Tokens: who may ask, and with which rights. A token file holds their SHA-256, never the tokens.

    {"tokens": [{"name": "ward-7", "sha256": "…", "rights": "rows", "groups": ["training"], "expires": "2027-01-31"}]}

A token is 32 random bytes, so that a plain SHA-256 of it cannot be searched. An entry without `sha256` is for a name
that a reverse proxy has authenticated. The file is read again when it changes, so that a token can be withdrawn at any
time.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from warehouse.errors import UsageError
from warehouse.filesystem import files
from warehouse.query.days import parse_day
from warehouse.query.session import ALL_GROUPS


class Rights(enum.IntEnum):
    """What a caller may see; each includes those before it."""

    counts = 1  #: rounded counts of patients
    rows = 2  #: rows of the views and headers
    pixels = 3  #: images


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a name for the log, the rights, the groups, the last day of both (None: no end), and the agreement."""

    name: str
    rights: Rights
    groups: tuple[str, ...] = ("training",)
    expires: date | None = None
    agreement: str = ""

    @property
    def remembered_as(self) -> str:
        """The name that counts are remembered under: tokens of an agreement share one, others have their own."""
        return f"agreement {self.agreement}" if self.agreement else f"token {self.name}"

    def may_see(self, group: str) -> bool:
        """Whether the caller may ask about a group; `all` only with the right to all groups."""
        return ALL_GROUPS in self.groups or group in self.groups


#: Fields of an entry; anything else is an error, so that a misspelt limit is not overlooked.
_FIELDS = frozenset({"name", "sha256", "rights", "groups", "expires", "agreement"})


class TokenFile:
    """A file of tokens, read again when it changes."""

    def __init__(self, path: Path) -> None:
        """Read the file; UsageError if it cannot be read or is not valid."""
        self.path = path
        self._lock = Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._entries: tuple[tuple[str, Caller], ...] = ()
        self._load()

    def find_by_token(self, token: str) -> Caller | None:
        """The caller of a token, or None if it is unknown or has expired; takes equally long for every token."""
        digest = hash_token(token)
        found = None
        for sha256, caller in self._load():
            if sha256 and hmac.compare_digest(sha256, digest):
                found = caller
        return found if found and not _has_expired(found) else None

    def find_by_name(self, name: str) -> Caller | None:
        """The caller of an entry without a token, for a name that a proxy vouches for."""
        for sha256, caller in self._load():
            if not sha256 and caller.name == name and not _has_expired(caller):
                return caller
        return None

    def _load(self) -> tuple[tuple[str, Caller], ...]:
        with self._lock:
            try:
                facts = self.path.stat()
                stamp = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
                if stamp != self._stamp:
                    self._entries = parse_entries(_read(self.path), self.path)
                    self._stamp = stamp
            except OSError as error:
                raise UsageError(f"The token file {self.path} cannot be read: {error.strerror}.") from None
            return self._entries


def hash_token(token: str) -> str:
    """The SHA-256 of a token, in hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()


def parse_entries(document: Any, path: Path) -> tuple[tuple[str, Caller], ...]:
    """Parse a token file into pairs of SHA-256 ("" for none) and caller; UsageError names the entry and the fault."""
    if not isinstance(document, dict) or not isinstance(document.get("tokens"), list):
        raise UsageError(f'{path} is not a token file: it has no list "tokens". Make one:  chest token add --help')
    found = [_parse_entry(entry, f"{path}, entry {number}") for number, entry in enumerate(document["tokens"], 1)]
    names = [caller.name for _, caller in found]
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"{path} has two entries {doubled!r}. Give each a name of its own.")
    return tuple(found)


def add_token(path: Path, caller: Caller, *, by_proxy: bool = False) -> str:
    """Add an entry to a token file, which is made if it is missing, and return the token ("" with `by_proxy`).

    UsageError if the name is taken or the file is not valid.
    """
    document = _read(path) if path.exists() else {"tokens": []}
    known = parse_entries(document, path)
    if caller.name in {each.name for _, each in known}:
        raise UsageError(f"{path} has an entry {caller.name!r} already. Remove it first, or choose another name.")
    token = "" if by_proxy else secrets.token_urlsafe(32)
    entry: dict[str, Any] = {"name": caller.name, "rights": caller.rights.name, "groups": list(caller.groups)}
    if token:
        entry["sha256"] = hash_token(token)
    if caller.expires:
        entry["expires"] = str(caller.expires)
    if caller.agreement:
        entry["agreement"] = caller.agreement
    document["tokens"].append(entry)
    _write(path, document)
    return token


def list_callers(path: Path) -> list[tuple[Caller, str]]:
    """The callers of a token file, and how each is recognised: by a token or by a proxy."""
    return [(caller, "token" if sha256 else "proxy") for sha256, caller in parse_entries(_read(path), path)]


def remove_token(path: Path, name: str) -> None:
    """Remove an entry of a token file; UsageError if there is none of this name."""
    document = _read(path)
    kept = [
        entry
        for entry, (_, caller) in zip(document["tokens"], parse_entries(document, path), strict=True)
        if caller.name != name
    ]
    if len(kept) == len(document["tokens"]):
        raise UsageError(f"{path} has no entry {name!r}.")
    _write(path, {**document, "tokens": kept})


def _parse_entry(entry: Any, where: str) -> tuple[str, Caller]:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"]:
        raise UsageError(f"{where} is not valid: it has no name.")
    where = f"{where} ({entry['name']!r})"
    if unknown := sorted(entry.keys() - _FIELDS):
        raise UsageError(f"{where} has an unknown field {unknown[0]!r}. The fields are {', '.join(sorted(_FIELDS))}.")
    rights, groups, sha256 = entry.get("rights"), entry.get("groups", ["training"]), entry.get("sha256", "")
    if not isinstance(rights, str) or rights not in Rights.__members__:
        raise UsageError(f"{where}: rights are {', '.join(Rights.__members__)}, not {rights!r}.")
    if not isinstance(groups, list) or not groups or not all(isinstance(group, str) for group in groups):
        raise UsageError(f'{where}: groups is a list of names, such as ["training"].')
    if not isinstance(sha256, str) or (sha256 and not _is_sha256(sha256)):
        raise UsageError(f"{where}: sha256 is not 64 hexadecimal digits.")
    agreement = entry.get("agreement", "")
    if not isinstance(agreement, str):
        raise UsageError(f"{where}: agreement is an ID such as 2026-0001, not {agreement!r}.")
    expires = _parse_expiry(entry.get("expires"), where)
    return sha256, Caller(entry["name"], Rights[rights], tuple(groups), expires, agreement)


def _parse_expiry(expires: Any, where: str) -> date | None:
    """The last day of an entry; None only if it names none."""
    if expires is None:
        return None
    try:
        return parse_day(expires if isinstance(expires, str) else "")
    except UsageError:
        raise UsageError(f"{where}: expires is a day such as 2027-01-31, not {expires!r}.") from None


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and all(character in "0123456789abcdef" for character in text)


def _has_expired(caller: Caller) -> bool:
    return caller.expires is not None and datetime.now(UTC).date() > caller.expires


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"The token file {path} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise UsageError(f"The token file {path} is not JSON.") from None


def _write(path: Path, document: Any) -> None:
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    with files.write_text_atomically(path, may_stream=False) as file:
        file.write(text)
