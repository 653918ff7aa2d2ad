"""Turns the library's errors into Dagster's: what may heal is tried again, later each time; the rest fails at once."""

import contextlib
import random
import re
from collections.abc import Iterator

import dagster as dg

from warehouse.errors import WarehouseError
from warehouse.masking import mask_secrets
from warehouse.text import escape_controls

#: A step is tried this often before it fails.
TRIES = 4
#: Seconds before the second try; doubled for each further one.
FIRST_WAIT = 30.0
#: Keys of objects and their folders name patients. Each word is tried from its start alone, or a long one takes hours.
_KEY = re.compile(r"\b(?:training|validation)/\S+|(?<!\S)\S+\.(?:json|dcm)\b")


@contextlib.contextmanager
def retry_when_healing(
    context: dg.AssetExecutionContext | dg.OpExecutionContext, first_wait: float = FIRST_WAIT
) -> Iterator[None]:
    """A `with` block around a step's work: a WarehouseError that heals asks Dagster for another try.

    Any other, and one that has not healed after TRIES, becomes a dg.Failure with its one line, which no retry policy
    repeats. Faults of the program keep their traceback.
    """
    try:
        yield
    except WarehouseError as error:
        line, failed = to_one_line(str(error)), context.retry_number + 1
        if not error.heals:
            raise dg.Failure(line, allow_retries=False) from None
        if failed >= TRIES:
            raise dg.Failure(f"{line} Tried {failed} times.", allow_retries=False) from None
        seconds = compute_wait(failed, first_wait)
        context.log.warning(f"{line} Try {failed} of {TRIES}; the next in {seconds:g} s.")
        raise dg.RetryRequested(max_retries=TRIES - 1, seconds_to_wait=seconds) from None
    except Exception as error:
        if (masked := mask_secrets(str(error))) == str(error):
            raise
        # A fault of the program whose words hold a secret: Dagster keeps them, so the text names only the class.
        raise RuntimeError(f"{type(error).__name__}: {masked}").with_traceback(error.__traceback__) from None


def compute_wait(failed: int, first_wait: float = FIRST_WAIT) -> float:
    """Seconds to wait after the given number of failed tries: doubling, and up to half of it left to chance.

    Steps that were asked for fewer requests at the same time must not all come back at the same time.
    """
    doubled: float = first_wait * 2 ** (failed - 1)
    return round(doubled * random.uniform(0.5, 1.0), 2)  # noqa: S311 (not a secret)


def to_one_line(text: str) -> str:
    """A message fit for a log: one line, no secret, no control character, no key that would name a patient."""
    return _KEY.sub("…", escape_controls(" ".join(mask_secrets(text).split())))
