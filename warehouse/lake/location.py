"""The location of a lake: parses the address in `--lake` into a catalogue and a data path.

./lake                                      catalogue ./lake/catalog.sqlite, Parquet in ./lake/data/
postgres://user@host/db?data_path=s3://…    catalogue in PostgreSQL, Parquet in data_path;
                                            &schema=NAME if several lakes share one database;
                                            &sslmode=require and other options of libpq
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote

from warehouse.engine.placeholders import refuse_placeholders
from warehouse.errors import UsageError
from warehouse.masking import find_secrets, has_login, mask_secrets, remember_secret

CATALOGUE = "catalog.sqlite"
#: The copy for readers, beside the catalogue (read_copy.py).
READ_COPY = "catalog.read.sqlite"

#: The scheme of a PostgreSQL address; other spellings are refused with a hint.
_POSTGRES = re.compile("postgres(?:ql)?://", re.IGNORECASE)
_OTHER_POSTGRES = re.compile(
    r"(?:ducklake:|jdbc:|postgres(?:ql)?[+:])|(?:^|\s)(?:host|hostaddr|dbname|password)\s*=", re.I
)
_URI = re.compile(
    r"[^:]+://(?:(?P<login>[^/?#]*)@)?(?P<hosts>[^/?#@]*)(?:/(?P<database>[^?#@]*))?(?:\?(?P<query>[^#]*))?"
)
#: The options of DuckDB's PostgreSQL secret; the others are in the attach string, which errors may quote.
_OF_SECRET = {"host": "host", "port": "port", "user": "user", "password": "password", "dbname": "database"}
#: Settings of every session, over those that the database or the role has. DuckDB and DuckLake name operators without a
#: schema: a stranger's `public.= (varchar, varchar)` would fit better than PostgreSQL's own, and run as whoever is
#: logged in, as would what a database's own search_path puts before pg_catalog. And a backslash ends no literal.
_SESSION = "-c search_path=pg_catalog -c standard_conforming_strings=on"


@dataclass(frozen=True, slots=True)
class Location:
    """A lake's catalogue and data path. `name` is safe to print: it has no login.

    `login` is passed to DuckDB as a secret, so that no attach string, error or list of databases shows it.
    """

    name: str
    data_path: str
    folder: Path | None = None  # of a lake with a SQLite catalogue
    postgres: str | None = field(
        default=None, repr=False
    )  # options of libpq besides the login; None without PostgreSQL
    login: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    schema: str = "public"

    @property
    def is_postgres(self) -> bool:
        """Whether the catalogue is in PostgreSQL."""
        return self.postgres is not None

    @property
    def attach_uri(self) -> str:
        """The argument of ATTACH."""
        return f"ducklake:postgres:{self.postgres}" if self.is_postgres else f"ducklake:sqlite:{self.catalogue}"

    @property
    def catalogue(self) -> Path:
        """The SQLite file of the catalogue."""
        return (self.folder or Path()) / CATALOGUE

    def __repr__(self) -> str:
        """The name and the data path."""
        return f"Location({self.name!r}, data_path={mask_secrets(self.data_path)!r})"


def parse_address(address: str | Path) -> Location:
    """Parse a lake's address; UsageError names what is missing."""
    text = str(address)
    if not text.strip():
        raise UsageError("No lake was given. Give --lake PATH or set CHEST_LAKE.")
    for secret in find_secrets(text):
        remember_secret(secret)
    refuse_placeholders("The address of the lake", mask_secrets(text))
    if _POSTGRES.match(text):
        return _parse_postgres(text)
    if "://" in text or _OTHER_POSTGRES.search(text):
        raise UsageError(
            f"{mask_secrets(text)}: a lake is a folder or postgres://…?data_path=…; "
            "the Parquet files of a PostgreSQL lake may be on S3."
        )
    folder = Path(text).expanduser().absolute()
    refuse_placeholders("The path of the lake", str(folder))
    return Location(name=text, data_path=f"{folder / 'data'}/", folder=folder)


def _parse_postgres(text: str) -> Location:
    found = _URI.fullmatch(text)
    if found is None:
        raise UsageError(
            "The address of the PostgreSQL lake cannot be read. Write  "
            "postgres://USER:PASSWORD@HOST:PORT/DATABASE?data_path=…  and percent-encode special characters of a "
            "password: @ is %40, / is %2F, : is %3A, ? is %3F, # is %23."
        )
    query = {name: values[-1] for name, values in parse_qs(found["query"] or "").items()}
    hosts, ports = _split_hosts(found["hosts"])
    database = unquote(found["database"] or "")
    name = f"postgres://{query.get('host', hosts)}/{query.get('dbname', database)}"
    data_path = query.pop("data_path", "")
    if not data_path:
        raise UsageError(f"{name}: data_path is missing. Example: {name}?data_path=s3://bucket/lake")
    schema = query.pop("schema", "public")
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", schema):
        raise UsageError(f"{name}: {schema!r} is not a valid schema name. Use letters, digits and _.")
    if has_login(data_path):
        raise UsageError(
            f"{name}: its data_path has a login, which would be readable in the catalogue. Give "
            "data_path=s3://BUCKET/PREFIX and the keys by AWS_PROFILE or AWS_ACCESS_KEY_ID."
        )
    if "://" not in data_path:
        data_path = str(Path(data_path).expanduser().absolute())
    refuse_placeholders("data_path", data_path)
    user, _, password = (found["login"] or "").partition(":")
    words = {"dbname": database, "host": hosts, "port": ports, "user": unquote(user), "password": unquote(password)}
    words |= query  # as in libpq: the query takes precedence
    # Of a setting that is there twice, the last counts.
    words["options"] = f"{words.get('options', '')} {_SESSION}".lstrip()
    for secret in (words["password"], query.get("sslpassword")):
        remember_secret(secret)
    login = {_OF_SECRET[key]: words.pop(key) for key in _OF_SECRET}
    options = " ".join(f"{key}={_quote(value)}" for key, value in words.items() if value)
    return Location(
        name=name,
        data_path=data_path.rstrip("/") + "/",
        postgres=options,
        login={key: value for key, value in login.items() if value},
        schema=schema,
    )


def _split_hosts(text: str) -> tuple[str, str]:
    """Hosts and ports for libpq's keywords: one or several, separated by commas, IPv6 without brackets."""
    parts = [re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::(\d*))?", one) for one in text.split(",")]
    if not all(parts):
        raise UsageError(
            "The address of the PostgreSQL lake has a host or port that cannot be read. Write  HOST:PORT, and "
            "[::1]:PORT for IPv6; percent-encode special characters of a password."
        )
    hosts = ",".join(unquote(part[1]).strip("[]") for part in parts if part)
    ports = ",".join(part[2] or "" for part in parts if part)
    return hosts, ports if ports.strip(",") else ""


def _quote(value: str) -> str:
    """Quote a value for a libpq connection string."""
    if value.replace(".", "").replace("_", "").replace("/", "").isalnum():
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
