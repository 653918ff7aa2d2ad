"""AWS policies for an agreement: while groups, or a few prefixes of keys, express what it covers.

Sizes, in characters without white space: of all inline policies of a user 2,048, of a group 5,120, of a role 10,240; of
a managed policy 6,144 (IAM User Guide, "IAM and AWS STS quotas"). A bucket policy has up to 20 KB (S3 User Guide,
"Bucket policies"). The 5 KB and 20 KB that S3's guide on Access Grants names are those of a group and of a bucket.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from warehouse.errors import UsageError
from warehouse.object_store.keys import GROUPS

#: Where a policy can be, and how long it may be there.
LIMITS = {
    "the inline policies of a user": 2_048,
    "the inline policies of a group": 5_120,
    "a managed policy": 6_144,
    "the inline policies of a role": 10_240,
    "the policy of a bucket": 20_480,
}
#: Grants that an instance of S3 Access Grants can have.
MOST_GRANTS = 100_000
_BUCKET = "the policy of a bucket"

#: The part of a key that is a patient's: group and patient, with the folder between them in the published layout.
_OF_PATIENT = re.compile(r"[^/]+/(?:(?:ct|mri|xray|x-ray|unknown)(?:-metadata)?/|data/(?![0-9]{4}-))?[^/]+/")


@dataclass(frozen=True, slots=True)
class Period:
    """When a policy allows something: from its first moment until before its last."""

    starts: datetime
    ends: datetime

    @property
    def condition(self) -> dict[str, Any]:
        """The same as a condition of a policy."""
        return {
            "DateGreaterThanEquals": {"aws:CurrentTime": format_time(self.starts)},
            "DateLessThan": {"aws:CurrentTime": format_time(self.ends)},
        }


def format_time(at: datetime) -> str:
    """A time as policies have it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def list_group_prefixes(sources: Iterable[str], groups: Sequence[str] | None) -> dict[str, list[str]]:
    """The prefixes of groups in each bucket of some sources; None for all groups: all that the source has."""
    found: dict[str, list[str]] = {}
    for source in sources:
        bucket, below = split_source(source)
        found.setdefault(bucket, []).extend([below] if groups is None else [f"{below}{group}/" for group in groups])
    return found


def list_patient_prefixes(uris: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The prefixes of the patients of some objects, each by its source and key, in each bucket."""
    found: dict[str, set[str]] = {}
    for source, key in uris:
        bucket, below = split_source(source)
        match = _OF_PATIENT.match(key)
        if match is None:
            raise UsageError(f"{source} has objects that are below no patient, so no prefix is theirs alone.")
        found.setdefault(bucket, set()).add(f"{below}{match[0]}")
    return {bucket: sorted(prefixes) for bucket, prefixes in found.items()}


def split_source(source: str) -> tuple[str, str]:
    """The bucket of a source, and the prefix below which its keys are; UsageError for a folder."""
    if not source.startswith("s3://"):
        raise UsageError(
            f"{source} is a folder: its access is that of the operating system, and AWS does not control it."
        )
    bucket, _, below = source.removeprefix("s3://").partition("/")
    return bucket, f"{below.strip('/')}/" if below.strip("/") else ""


def build_policy(
    prefixes: Mapping[str, Sequence[str]], period: Period, *, principal: str = "", denies_others: bool = False
) -> dict[str, Any]:
    """The policy that lets objects below prefixes be listed and read, within a period, and nothing else.

    With a `principal` (an ARN) it is that of a bucket. `denies_others` also denies the other groups of the buckets: a
    denial holds against any other policy of the same user.
    """
    who = {"Principal": {"AWS": principal}} if principal else {}
    made: list[dict[str, Any]] = []
    for number, (bucket, below) in enumerate(prefixes.items(), 1):
        arn = f"arn:aws:s3:::{bucket}"
        listed = sorted({f"{escape(prefix)}*" for prefix in below})
        made.append(
            {
                "Sid": f"List{number}",
                "Effect": "Allow",
                **who,
                "Action": "s3:ListBucket",
                "Resource": arn,
                "Condition": {"StringLike": {"s3:prefix": listed}, **period.condition},
            }
        )
        read = [f"{arn}/{pattern}" for pattern in listed]
        made.append(
            {
                "Sid": f"Read{number}",
                "Effect": "Allow",
                **who,
                "Action": "s3:GetObject",
                "Resource": read,
                "Condition": period.condition,
            }
        )
        if denies_others and (others := _list_other_groups(below)):
            denied = [f"{arn}/{escape(prefix)}*" for prefix in others]
            made.append({"Sid": f"Deny{number}", "Effect": "Deny", **who, "Action": "s3:GetObject", "Resource": denied})
    return {"Version": "2012-10-17", "Statement": made}


def _list_other_groups(prefixes: Sequence[str]) -> list[str]:
    """The groups that every bucket may have, and of which nothing is among the prefixes."""
    found = []
    for group in GROUPS:
        places = {prefix.partition(f"{other}/")[0] for prefix in prefixes for other in GROUPS if f"{other}/" in prefix}
        found += [f"{place}{group}/" for place in sorted(places)]
    return [each for each in found if not any(prefix.startswith(each) for prefix in prefixes)]


def escape(prefix: str) -> str:
    """A prefix in a pattern of a policy: `*` and `?` stand for themselves, and so does `$`."""
    return "".join(f"${{{sign}}}" if sign in "*?$" else sign for sign in prefix)


def measure(policy: Mapping[str, Any]) -> int:
    """The size of a policy as AWS counts it: characters without white space."""
    return len("".join(json.dumps(policy, ensure_ascii=False).split()))


def find_places(size: int, *, is_of_bucket: bool = False) -> list[str]:
    """Where a policy of a size can be; a bucket's nowhere else."""
    return [place for place, most in LIMITS.items() if size <= most and (place == _BUCKET) == is_of_bucket]


def find_longest(*, is_of_bucket: bool = False) -> int:
    """The most characters that a policy can have: of a bucket, or of anything else."""
    return max(most for place, most in LIMITS.items() if (place == _BUCKET) == is_of_bucket)


def list_grants(prefixes: Mapping[str, Sequence[str]], grantee: str) -> list[dict[str, Any]]:
    """The grants of S3 Access Grants for prefixes: what `aws s3control create-access-grant` is given, one by one.

    A grant has no end of its own: that is in the policy of the role of its location. UsageError for a prefix with a
    `*`, of which a grant cannot say that it stands for itself: a patient of that name would be all patients.
    """
    if odd := next((prefix for below in prefixes.values() for prefix in below if "*" in prefix), ""):
        raise UsageError(f"No grant is for {odd!r} alone, because it has a *. Leave these objects out of the manifest.")
    return [
        {
            "AccessGrantsLocationConfiguration": {"S3SubPrefix": f"{prefix}*"},
            "Location": f"s3://{bucket}",
            "Grantee": {"GranteeType": "IAM", "GranteeIdentifier": grantee},
            "Permission": "READ",
        }
        for bucket, below in prefixes.items()
        for prefix in below
    ]
