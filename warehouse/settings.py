"""Settings: where the bucket and the lake are, and the limits of refreshes and queries; environment variables.

The AWS_* names (AWS_ENDPOINT_URL, AWS_PROFILE, AWS_REGION and the rest of the usual chain) are read by
boto3 (warehouse/aws.py) and are not repeated here; those of a scheduled deployment are in pipelines/settings.py. A
plain dataclass, because importing pydantic takes a third of a second, more than a whole `chest sql` may cost.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from warehouse.errors import UsageError
from warehouse.masking import show_fields

T = TypeVar("T")

LAKE_VARIABLE = "CHEST_LAKE"
SOURCE_VARIABLE = "CHEST_SOURCE"
SHARE_VARIABLE = "CHEST_SHARE"
ENCRYPTED_VARIABLE = "CHEST_ENCRYPTED"
AGREEMENT_VARIABLE = "CHEST_AGREEMENT"
#: CHEST_SQL_MEMORY_MB where it is not given: half of the machine's memory (machine_memory.py).
HALF_OF_MACHINE = -1
SUPPRESS_VARIABLE = "CHEST_SUPPRESS"
#: The default base to which the counts of reports are rounded, and the smallest that protects (disclosure_control.py).
SUPPRESS = 5


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """What a refresh and a reader need to know; each field is read from CHEST_<FIELD IN CAPITALS>."""

    lake: str = "./lake"
    source: str = ""
    memory_limit_mb: int = (
        0  # of DuckDB; 0: 320 in a refresh, whose process stays under 1 GiB, and a share of the machine's for readers
    )
    threads: int = 0  # of DuckDB; 0: one per core, less one in a refresh, which fetches and extracts on it
    workers: int = 0  # processes that load many objects in a refresh; 0: one per core, 1: none but its own
    engine: str = ""  # a Spark cluster that loads many objects in a refresh: sc://HOST:15002, spark://HOST:7077, yarn
    fetch_threads: int = 32  # requests in flight to S3
    request_seconds: float = 20.0  # that S3 or SQS may be silent; about twice that is tried again
    unit_objects: int = 8_192  # objects fetched, extracted and committed together ...
    unit_mb: int = 48  # ... but no more than this many MB of them
    max_object_mb: int = 16  # a larger .json is a reject: real headers are some kB
    check_etags: int = 1  # 0: do not compare objects with etags that look like MD5s (for a server with other etags)
    sql_seconds: float = 600.0  # that untrusted SQL may take (a manifest of 8 million images: minutes); 0: no limit
    # that the process may take for untrusted SQL, beyond what it holds; 0: no limit
    sql_memory_mb: int = HALF_OF_MACHINE
    sql_spill_mb: int = 4096  # that untrusted SQL may put on disk while it runs
    max_removals_percent: float = 10.0
    sources: str = ""  # several buckets of one lake, as in "training=s3://a validation=s3://b"
    layout: str = ""  # of the keys: standard, standard+dcm, any, or a pattern; "": as the lake remembers the source
    layout_group: str = ""  # the group of keys that name none, where the layout is `any` or a pattern
    inventory: str = ""  # S3 Inventory, or table of S3 Metadata, that stands in for the listing
    citation: str = ""  # how the owner of the data asks to be cited
    # the conditions of use: for research on COVID-19, for a time, by named users
    data_use: str = "DUO:0000007 MONDO:0100096 DUO:0000025 DUO:0000026"
    programme_end: str = ""  # the day on which the programme ends, and every agreement with it
    encrypted: int = 0  # 1: only lakes with encrypted files are written; a new one is made so
    airlock: str = ""  # where files wait for review; by default `airlock` in the folder of the lake
    keep_days: int = 90  # that published snapshots are kept, and the history of runs

    def __repr__(self) -> str:
        """The settings that differ from the defaults, without secrets."""
        return show_fields(self)


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings with CHEST_* variables applied; UsageError names a variable that is not a number."""
    return load_fields(Settings, environ)


def load_fields(kind: type[T], environ: Mapping[str, str], former: Mapping[str, str] = {}) -> T:
    """Return a dataclass of settings, each field read from CHEST_<FIELD IN CAPITALS> where that is set.

    `former` has the earlier names of variables, which are still read. UsageError as in `load_settings`.
    """
    values: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        name = f"CHEST_{field.name.upper()}"
        if not (text := environ.get(name, "") or environ.get(former.get(name, ""), "")):
            continue
        parse: Any = field.type
        try:
            values[field.name] = parse(text)
        except ValueError:
            raise UsageError(f"{name}={text!r} is not a number. Unset it or give a number.") from None
        if parse is not str and float(text) < 0:
            raise UsageError(f"{name}={text!r} is negative. Unset it or give a number from 0.")
    return kind(**values)


def load_share(environ: Mapping[str, str] = os.environ) -> str:
    """Who may read what is written, by CHEST_SHARE: `group` (owner and group; the default), `private` or `all`.

    It is the process's, as a umask is, and no field of Settings: two lakes of one process share it.
    UsageError when it is something else.
    """
    share = environ.get(SHARE_VARIABLE) or "group"
    if share not in ("private", "group", "all"):
        raise UsageError(f"{SHARE_VARIABLE}={share!r} must be private, group or all. Unset it or give one of these.")
    return share


def require_base(base: int, name: str = "suppress") -> int:
    """Return a base that counts may be rounded to: 0, which rounds nothing, or one that protects; else UsageError.

    `name` is what the user has set. With bases of 2 to 4 a count known to be above 0 has three values at most.
    """
    if base and base < SUPPRESS:
        raise UsageError(
            f"{name} is {base}, which does not protect small counts. Give 0 for exact counts, or {SUPPRESS} or more."
        )
    return base


def load_suppress(environ: Mapping[str, str] = os.environ) -> int:
    """The base by CHEST_SUPPRESS, 5 by default, for what has no `--suppress` (pipelines/).

    UsageError when it is not a valid base.
    """
    text = environ.get(SUPPRESS_VARIABLE, "").strip()
    try:
        base = int(text or SUPPRESS)
    except ValueError:
        raise UsageError(f"{SUPPRESS_VARIABLE}={text!r} is not a whole number. Unset it or give a number.") from None
    return require_base(base, SUPPRESS_VARIABLE)
