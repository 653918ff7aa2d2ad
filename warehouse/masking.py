"""Masks secrets: passwords, keys and tokens in any text that leaves the program.

Two methods, because neither is enough: by form (anything that looks like a login in an address, a password in a
connection string, a signature in a URL), and by value (the secrets that this process holds, in any quoting or
encoding). A leaf module: it imports nothing of the warehouse, and nothing slow.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus, urlsplit

#: The replacement of a secret.
MASK = "***"
#: Shorter values are masked only by form: elsewhere they would hide ordinary words.
_SHORTEST = 4

# A text may have any length and any origin (an error raised by a query, a key of a bucket). An expression that
# backtracks takes hours for a million characters, and blocks the process meanwhile. So repetitions are
# possessive (`++`), and patterns that may match anywhere in a word are searched once per word.
_NAME = (
    r"(?:(?=[\w.-]*?(?:password|passwd|passphrase|secret|token|credential|signature|api_?key))[\w.-]++"
    r"|(?:passfile|pwd|sig|(?:aws_?)?access_?key_?(?:id)?)(?![\w.-]))"
)
_WORD = re.compile(r"\S++")
#: `user:password@` and `user@` of any address; a password may contain what ends a host, so the last @ of the word
#: counts.
_LOGIN = re.compile(r"(?<=[A-Za-z0-9+.-])(?P<scheme>:/{2,})(?:[^\s/?#@:'\"]*:[^\s]*|[^\s/?#@]+)@")
#: A quoted login may also contain white space.
_QUOTED_LOGIN = re.compile(r"(?P<head>(?P<quote>['\"])[A-Za-z][A-Za-z0-9+.-]*:/{2,})[^\n'\"/?#@]*:[^\n'\"]*@")
#: `password=…` and its like, in the forms of libpq, URLs, JSON, Python and SQL. An unterminated quote masks the rest.
_PAIR = re.compile(
    rf"(?P<name>(?<![\w.-]){_NAME}[\"']?+)(?P<sign>\s*+[=:]\s*+|\s++(?='))"
    r"(?P<value>''.*?''(?!')|'(?:\\.|''|[^'\\\n])*(?:'|$)|\"(?:\\.|[^\"\\\n])*(?:\"|$)|(?:\\.|[^\s&;,\\'\")\]}])+)",
    re.IGNORECASE | re.MULTILINE,
)
_BEARER = re.compile(r"\b(?P<kind>Bearer|Basic)\s+[A-Za-z0-9+/=._~-]{8,}", re.IGNORECASE)
_KEY_ID = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b")
#: Addresses of webhooks are secrets from their path on.
_WEB_HOST = re.compile(r"https?://[\w.:-]++(?=/)", re.IGNORECASE)
_HOOK = re.compile("hooks?[/_]", re.IGNORECASE)
_WEB_PATH = re.compile(r"/[^\s'\"<>]*+")
#: Variables whose whole value is a secret, and those with an address that may contain one.
_SECRET_VARIABLE = re.compile(r"(?:SECRET|PASSWORD|PASSWD|TOKEN|ACCESS_KEY)", re.IGNORECASE)
_ADDRESS_VARIABLE = re.compile(
    r"(?:CHEST_\w+|AWS_ENDPOINT_URL\w*|\w*_PROXY|DAGSTER_\w+|PG\w+|DATABASE_URL)", re.IGNORECASE
)

#: The part before the @ of a login without a scheme, or without slashes after it: `user:password@host`.
_BARE_LOGIN = re.compile(r"(?<![^\s'\"=])(?![^\s'\"]*:/{2})([^\s'\"@:]*:[^\s'\"]{1,512})@")
_BARE_VALUE = re.compile(r"[^\s'\"]\S*")

#: Where an address within an address begins, as that of a data path.
_NEXT = re.compile(r"[?&\s]\w+=[\w+.-]+://")
#: Common words of our messages: a password equal to one is not masked, because masking it would hide nothing.
_OUR_WORDS = frozenset({"chest", "lake", "postgres", "training", "validation", "data"})

_remembered: set[str] = set()


def remember_secret(value: str | None) -> None:
    """Mask a value wherever it occurs from now on; for secrets read from files and addresses."""
    if value and len(value) >= _SHORTEST:
        _remembered.add(value)


def mask_secrets(text: str) -> str:
    """Replace every password, key and token in a text by `***`."""
    for spelling in _list_spellings():
        if spelling in text:
            text = text.replace(spelling, MASK)
    if "@" in text:
        text = _QUOTED_LOGIN.sub(rf"\g<head>{MASK}@", text)
        text = _WORD.sub(_mask_logins, text)
    text = _PAIR.sub(_mask_pair, text)
    text = _BEARER.sub(rf"\g<kind> {MASK}", text)
    text = _KEY_ID.sub(MASK, text)
    return _WORD.sub(_mask_webhooks, text) if "hook" in text.lower() else text


def _mask_logins(word: re.Match[str]) -> str:
    before, at, after = word[0].rpartition("@")
    return _LOGIN.sub(rf"\g<scheme>{MASK}@", before + at) + after if at else word[0]


def _mask_webhooks(found: re.Match[str]) -> str:
    """A word without the paths of hosts that are called a hook, or whose path is one's."""
    word, parts, end = found[0], [], 0
    last_hook = max((hook.start() for hook in _HOOK.finditer(word)), default=-1)
    for host in _WEB_HOST.finditer(word):
        if host.start() >= end and ("hook" in host[0].lower() or last_hook > host.end()):
            path = _WEB_PATH.match(word, host.end())
            parts += [word[end : host.end()], f"/{MASK}"]
            end = path.end() if path else host.end()
    return "".join([*parts, word[end:]])


def _mask_pair(found: re.Match[str]) -> str:
    value = found["value"]
    if found["sign"].strip() in ("", ":") and value[0] not in "'\"" and found["name"][-1] not in "'\"":
        return found[0]  # words of a sentence, as in "the secret key is wrong"
    mark = value[0] if value[0] in "'\"" else ""
    return f"{found['name']}{found['sign']}{mark}{MASK}{mark}"


def mask_within(value: Any) -> Any:
    """The same for every text inside of lists and mappings."""
    match value:
        case str():
            return mask_secrets(value)
        case dict():
            return {name: mask_within(item) for name, item in value.items()}
        case list() | tuple():
            return [mask_within(item) for item in value]
    return value


def name_address(address: str) -> str:
    """The printable part of an address: scheme, host and port, without login, path and query; a path unchanged.

    ValueError if the address is not valid.
    """
    if "://" not in address:
        return address
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname or ''}" + (f":{parts.port}" if parts.port else "")


def has_login(address: str) -> bool:
    """Whether an address contains a user, a password or another secret."""
    return mask_secrets(address) != address


def show_fields(thing: Any) -> str:
    """The repr of a dataclass: its fields that are not as by default, each without secrets."""
    shown = [
        f"{field.name}={mask_secrets(repr(value))}"
        for field in fields(thing)
        if field.repr and (value := getattr(thing, field.name)) != field.default
    ]
    return f"{type(thing).__name__}({', '.join(shown)})"


def _list_spellings() -> list[str]:
    """The secrets of this process in every spelling, the longest first."""
    found = {spelling for secret in _iterate_secrets() for spelling in _spell(secret) if len(spelling) >= _SHORTEST}
    return sorted(found - _OUR_WORDS, key=len, reverse=True)


def _iterate_secrets() -> Iterator[str]:
    yield from _remembered
    for name, value in os.environ.items():
        if not value or len(value) < _SHORTEST:
            continue
        if _ADDRESS_VARIABLE.fullmatch(name):
            yield from find_secrets(value)
        if name == "CHEST_ALERT" and value.lower().startswith("http"):
            yield from _find_in_path(value)
        if _SECRET_VARIABLE.search(name) and not name.endswith(("_FILE", "_URI", "_URL")):
            yield value
    for word in sys.argv[1:]:
        if "://" in word or "=" in word or "@" in word:
            yield from find_secrets(word)


def find_secrets(address: str) -> Iterator[str]:
    """Find the secrets in an address or connection string, as written; over-inclusive if it is ambiguous."""
    for word in address.split() if re.match(r"[a-z]\w*=\w+://", address) else [address]:
        for sign in re.finditer(r":/{2,}", word):
            rest = _NEXT.split(word[sign.end() :], maxsplit=1)[0]
            for end in [at.start() for at in re.finditer("@", rest)]:
                user, colon, password = rest[:end].partition(":")
                yield from (password, rest[:end]) if colon else (user,)
    for word in _BARE_LOGIN.findall(address):
        yield from (word[at.end() :] for at in re.finditer(":", word))
    for found in _PAIR.finditer(address):
        if found["sign"].strip() == "=":
            yield from _unquote(found["value"])
            if bare := _BARE_VALUE.match(address, found.start("value")):  # in libpq only white space ends it
                yield from _unquote(bare[0])


def _find_in_path(url: str) -> Iterator[str]:
    rest = url.partition("://")[2]
    path = rest.partition("/")[2]
    if path:
        yield path
        yield from (part for part in re.split(r"[/?&#]", path) if len(part) >= 8)


def _unquote(value: str) -> Iterator[str]:
    if value[:1] in "'\"" and len(value) > 1:
        inner = value.strip(value[0])
        yield inner
        yield re.sub(r"\\(.)", r"\1", inner)
        yield inner.replace("''", "'")
    else:
        yield re.sub(r"\\(.)", r"\1", value)


def _spell(secret: str) -> Iterable[str]:
    """The possible forms of a value: plain, percent-encoded or decoded, quoted for libpq, SQL, JSON and Python."""
    for plain in {secret, unquote(secret), unquote_plus(secret)}:
        yield plain
        encoded = {quote(plain, safe=""), quote(plain), quote_plus(plain)}
        yield from encoded
        yield from (re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), one) for one in encoded)
        libpq = plain.replace("\\", "\\\\").replace("'", "\\'")
        yield from (libpq, libpq.replace("'", "''"), plain.replace("'", "''"), plain.replace('"', '""'))
        yield from (json.dumps(plain)[1:-1], json.dumps(plain, ensure_ascii=False)[1:-1], repr(plain)[1:-1])
        yield repr(libpq)[1:-1]
