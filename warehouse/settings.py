"""Where the bucket and the lake are, and the limits a refresh keeps: environment variables with defaults.

The AWS_* names (AWS_ENDPOINT_URL, AWS_PROFILE, AWS_REGION and the rest of the usual chain) are read by
boto3 in bucket.py and are not repeated here. A plain dataclass on purpose: pydantic takes a third of a
second to import, more than a whole `chest sql` may cost.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from warehouse.errors import UsageError
from warehouse.masking import MASK, name_address, show_fields

LAKE_VARIABLE = "CHEST_LAKE"
SOURCE_VARIABLE = "CHEST_SOURCE"
SHARE_VARIABLE = "CHEST_SHARE"
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
    # What a scheduled deployment needs besides (pipelines/, docs/operations.md):
    sources: str = ""  # several buckets of one lake, as in "training=s3://a validation=s3://b"
    refresh_schedule: str = "0 3 * * 1,4"  # cron, in `timezone`: Monday and Thursday 03:00
    maintenance_schedule: str = "0 4 * * 0"  # Sunday 04:00
    timezone: str = "Europe/London"
    manifests: str = "./manifests"  # where scheduled cohorts put their manifests and reports
    inventory: str = ""  # s3://BUCKET/PREFIX/CONFIG of an S3 Inventory that stands in for the listing
    event_queue: str = ""  # URL of the SQS queue that hears of new objects
    alert: str = ""  # where failures are reported: a log file, https://… or smtp://…
    keep_days: int = 90  # that published snapshots, and Dagster's runs, are kept

    def __repr__(self) -> str:
        """What is not as by default, without secrets; of the place of alerts only its host."""
        try:
            shown = replace(self, alert=name_address(self.alert))
        except ValueError:
            shown = replace(self, alert=MASK)
        return show_fields(shown)


#: Names that variables had before; they are taken for one minor version more.
_FORMER_NAMES = {"CHEST_MAINTENANCE_SCHEDULE": "CHEST_UPKEEP_SCHEDULE"}


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings with CHEST_* variables applied; UsageError names a variable that is not a number."""
    values: dict[str, Any] = {}
    for field in fields(Settings):
        name = f"CHEST_{field.name.upper()}"
        if not (text := environ.get(name, "") or environ.get(_FORMER_NAMES.get(name, ""), "")):
            continue
        kind: Any = field.type
        try:
            values[field.name] = kind(text)
        except ValueError:
            raise UsageError(f"{name}={text!r} is not a number. Unset it or give a number.") from None
        if kind is not str and float(text) < 0:
            raise UsageError(f"{name}={text!r} is negative. Unset it or give a number from 0.")
    return Settings(**values)


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

    UsageError when it is no such base.
    """
    text = environ.get(SUPPRESS_VARIABLE, "").strip()
    try:
        base = int(text or SUPPRESS)
    except ValueError:
        raise UsageError(f"{SUPPRESS_VARIABLE}={text!r} is not a whole number. Unset it or give a number.") from None
    return require_base(base, SUPPRESS_VARIABLE)
