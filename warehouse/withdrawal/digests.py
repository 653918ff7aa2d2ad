"""Keyed digests of patients: how the lake remembers who has withdrawn without naming anybody."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from warehouse.errors import LakeError
from warehouse.lake import secret

if TYPE_CHECKING:
    import duckdb

    from warehouse.lake.location import Location

#: A fixed word, whose digest shows whether the key has changed.
_CHECK = "standing list"


@dataclass(frozen=True, slots=True)
class Key:
    """The key of a lake. The digests of patients, objects and of the fixed word never coincide: each has its prefix."""

    secret: bytes = field(repr=False)

    def digest_patient(self, patient: str) -> str:
        """The keyed digest of a pseudonym."""
        return secret.compute_patient_digest(self.secret, patient)

    def digest_object(self, source: str, key: str) -> str:
        """The keyed digest of an object's source and key."""
        return secret.compute_digest(self.secret, f"object {source}\n{key}")

    def find_patients(self, texts: Iterable[str], digests: set[str]) -> dict[str, str]:
        """Those of the texts that are a pseudonym with one of the digests, each with its digest."""
        return {text: found for text in texts if (found := self.digest_patient(text)) in digests}

    @property
    def check(self) -> str:
        """The digest of the fixed word."""
        return secret.compute_digest(self.secret, _CHECK)


def open_key(con: duckdb.DuckDBPyConnection, location: Location, checks: Iterable[str] = ()) -> Key:
    """Read the key of a lake; LakeError without one, or if it is not the one that `checks` were computed with.

    A list that cannot be recognised must not look like an empty one.
    """
    found = secret.read_secret(con, location)
    if found is None:
        raise LakeError(
            f"The key of {location.name} cannot be read ({location.data_path}{secret.KEY}), so withdrawn patients "
            "cannot be recognised. Restore it from a backup, or get permission to read it."
        )
    key = Key(found)
    if any(check != key.check for check in checks):
        raise LakeError(
            f"The key of {location.name} ({location.data_path}{secret.KEY}) is not the one that its list of withdrawn "
            "patients was made with, so they cannot be recognised. Restore that file from a backup."
        )
    return key
