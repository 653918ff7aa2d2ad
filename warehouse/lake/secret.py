"""The secret of a lake, and the digests that are keyed with it.

A digest of rows confirms a guess of them. Where pages show digests to people who may not see rows, these are HMACs with
a secret that whoever may read the lake's files can read, and nobody else: `lake.key` beside its Parquet files. It is
made by the first writer that finds none, with the permissions of the lake's other files. A backup has it too: what is
keyed with it, such as the standing list of withdrawals, stays readable in a restored lake.

The files of an encrypted lake may be seen by people who may not read them: its secret is in the catalogue, as the keys
of the files are, and so it is in a backup too.
"""

from __future__ import annotations

import contextlib
import hmac
import re
import secrets

import duckdb

from warehouse.errors import LakeError
from warehouse.lake import encryption
from warehouse.lake.location import Location
from warehouse.lake.text_files import read_text, write_text

#: The file with the secret, as 64 hex digits.
KEY = "lake.key"
#: The setting of the catalogue with the secret of an encrypted lake.
_SETTING = "chest_key"
#: The form of the secret.
FORM = re.compile("[0-9a-f]{64}")


def make_secret(con: duckdb.DuckDBPyConnection, location: Location) -> None:
    """Make the secret of a lake unless it has one. Never fails: without it, no digest is shown."""
    with contextlib.suppress(duckdb.Error, OSError, UnicodeError):
        if not FORM.fullmatch(_read(con, location)):
            text = secrets.token_hex(32)
            if encryption.is_encrypted(con):
                encryption.add_setting(con, location, _SETTING, text)
            else:
                write_text(con, location.data_path + KEY, text)


def read_secret(con: duckdb.DuckDBPyConnection, location: Location) -> bytes | None:
    """Read the secret of a lake; None if there is none to read."""
    try:
        secret = _read(con, location)
    except (duckdb.Error, OSError, UnicodeError):
        return None
    return bytes.fromhex(secret) if FORM.fullmatch(secret) else None


def require_secret(con: duckdb.DuckDBPyConnection, location: Location, why: str) -> bytes:
    """Read the secret of a lake; LakeError, with what it is needed for, if there is none to read."""
    if found := read_secret(con, location):
        return found
    raise LakeError(f"The secret of {location.name} cannot be read, and {why}. Restore {KEY} from a backup.")


def compute_digest(secret: bytes, text: str) -> str:
    """Compute `hmac-sha256:` and 64 hex digits of a text with a secret."""
    return f"hmac-sha256:{hmac.digest(secret, text.encode(), 'sha256').hex()}"


def compute_patient_digest(secret: bytes, patient: str) -> str:
    """Compute the digest by which the standing list of withdrawn patients has a pseudonym."""
    return compute_digest(secret, f"patient {patient}")


def compute_keyed_digest(con: duckdb.DuckDBPyConnection, location: Location, text: str) -> str | None:
    """Compute the same with the lake's secret; None if there is none to read."""
    secret = read_secret(con, location)
    return compute_digest(secret, text) if secret else None


def _read(con: duckdb.DuckDBPyConnection, location: Location) -> str:
    if encryption.is_encrypted(con):
        return encryption.read_setting(con, _SETTING) or ""
    return (read_text(con, location.data_path + KEY) or "").strip()
