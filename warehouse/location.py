"""Where a lake lies: reads what `--lake` says into a catalogue and a data path.

./lake                                      catalogue ./lake/catalog.sqlite, Parquet in ./lake/data/
postgres://user@host/db?data_path=s3://…    catalogue in PostgreSQL, Parquet where data_path says;
                                            &schema=NAME where several lakes share one database
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from warehouse.errors import UsageError

CATALOGUE = "catalog.sqlite"


@dataclass(frozen=True, slots=True)
class Location:
    """A lake's catalogue and data path. `name` is safe to print: it has no password."""

    name: str
    data_path: str
    folder: Path | None = None  # of a lake with a SQLite catalogue
    postgres: str = ""  # connection string of a PostgreSQL catalogue
    schema: str = "public"

    @property
    def attach_uri(self) -> str:
        """What ATTACH takes."""
        return f"ducklake:postgres:{self.postgres}" if self.postgres else f"ducklake:sqlite:{self.catalogue}"

    @property
    def catalogue(self) -> Path:
        """The SQLite file of the catalogue."""
        return (self.folder or Path()) / CATALOGUE


def parse(text: str) -> Location:
    """Read a lake's address; UsageError says what is missing from it."""
    if not text.strip():
        raise UsageError("No lake was given. Say --lake PATH or set CHEST_LAKE.")
    if text.startswith(("postgres://", "postgresql://")):
        return _postgres(text)
    if "://" in text:
        raise UsageError(
            f"{text}: a lake is a folder or postgres://…?data_path=…; "
            "the Parquet files of a PostgreSQL lake may lie on S3."
        )
    folder = Path(text).expanduser().absolute()
    return Location(name=text, data_path=f"{folder / 'data'}/", folder=folder)


def _postgres(text: str) -> Location:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"The address of the PostgreSQL lake cannot be read: {error}.") from None
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    data_path = query.get("data_path", "")
    name = f"postgres://{parts.hostname or ''}{parts.path}"
    if not data_path:
        raise UsageError(f"{name}: say where the Parquet files go, as in {name}?data_path=s3://bucket/lake")
    schema = query.get("schema", "public")
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", schema):
        raise UsageError(f"{name}: {schema!r} is no name for a schema. Use letters, digits and _.")
    if "://" not in data_path:
        data_path = str(Path(data_path).expanduser().absolute())
    words = {
        "dbname": unquote(parts.path.lstrip("/")),
        "host": query.get("host", unquote(parts.hostname or "")),
        "port": str(port or query.get("port", "")),
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
    }
    dsn = " ".join(f"{key}={_quote(value)}" for key, value in words.items() if value)
    return Location(name=name, data_path=data_path.rstrip("/") + "/", postgres=dsn, schema=schema)


def _quote(value: str) -> str:
    """Quote a value for a libpq connection string."""
    if value.replace(".", "").replace("_", "").replace("/", "").isalnum():
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
