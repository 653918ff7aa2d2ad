"""The errors a user can meet.

    WarehouseError          exit code 2 unless a class states another
    ├── UsageError          what was asked for cannot be: a malformed date, an unknown snapshot
    │   ├── UntrustedSqlError what somebody else's SQL may not do
    │   └── CountFailedError  a count failed while its query ran
    ├── NotFoundError       the answer is "no": no such patient in what was asked (exit code 1)
    ├── AccessRefusedError no agreement covers what was asked for (exit code 1)
    ├── SplitLeakError      a split has something on two sides (exit code 1)
    ├── ManifestError       a manifest does not hold: objects missing or changed, no snapshot (exit code 1)
    ├── SourceError         the bucket could not be listed or read
    │   ├── SourceDownError it did not respond, or limited requests: a retry may succeed
    │   └── RemovalsError   the listing would remove implausibly much (exit code 1)
    └── LakeError           the lake could not be opened or written
        ├── BlockedError    a structural check failed, so nothing was published (exit code 1)
        ├── DamagedError    files of the lake are not those that were written (exit code 1)
        └── LakeBusyError   another refresh holds the lake: a retry succeeds later

Every message names the thing, what is wrong with it and what to do. Anything that is not a
WarehouseError is a fault of the program and keeps its traceback. No message holds a secret: it is masked as it is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from warehouse.masking import mask_secrets


class WarehouseError(Exception):
    """Base of all errors that are not faults of the program.

    `exit_code` is the exit code of the command; `heals` means that a retry may succeed.
    """

    exit_code = 2
    heals = False

    def __init__(self, message: str = "") -> None:
        super().__init__(mask_secrets(message))


class UsageError(WarehouseError):
    """What was asked for cannot be: a malformed date, an unknown snapshot, a folder in the way."""


class UntrustedSqlError(UsageError):
    """Untrusted SQL does something that is not allowed: `reason`, and the `line` of the query, if known."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(f"Line {line}: {reason}" if line else reason)
        self.reason = mask_secrets(reason)
        self.line = line


class CountFailedError(UsageError):
    """A count failed while its query ran: that may depend on who is counted, so it discloses something of them."""


class NotFoundError(WarehouseError):
    """The answer is "no": nothing by that name in what was asked."""

    exit_code = 1


class AccessRefusedError(WarehouseError):
    """No agreement covers what was asked for: it is not there, not in force, or for something else."""

    exit_code = 1
    is_logged = False


class UncoveredWarning(UserWarning):
    """Part of what was asked for is not in the answer, because the agreement does not cover it."""


class SplitLeakError(WarehouseError):
    """A split has the same patient, the same image or the same bytes on two sides."""

    exit_code = 1


class ManifestError(WarehouseError):
    """A manifest does not hold: it was altered, or what it refers to no longer exists or has changed."""

    exit_code = 1


class SourceError(WarehouseError):
    """The bucket could not be listed or read."""


class SourceDownError(SourceError):
    """The bucket did not answer, broke off, or asked for fewer requests."""

    heals = True


class RemovalsError(SourceError):
    """A listing that would remove more of a source's objects than is believable."""

    exit_code = 1


class LakeError(WarehouseError):
    """The lake could not be opened or written."""


class BlockedError(LakeError):
    """A structural check failed before publishing: readers keep the last good snapshot.

    `results` has what each blocking check found (a `Result` of warehouse/query/checks), without the rows.
    """

    exit_code = 1

    def __init__(self, message: str, results: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.results = tuple(results)


class DamagedError(LakeError):
    """Files of the lake are missing, or have other bytes than were written."""

    exit_code = 1


class LakeBusyError(LakeError):
    """Another process is refreshing the lake."""

    heals = True


class UnreadableError(Exception):
    """An object is not of the kind that its key states. The text gives the reason for ops.rejects, without any value.

    Internal to a refresh: it becomes a reject and never reaches a user.
    """
