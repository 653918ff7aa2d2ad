"""The rule of a split: which side a patient is on. It depends on nobody else, so no patient moves when others arrive.

    wh.cohort("covid_risk").split(train=70, tune=15, test=15, hold_out_centres=["Leeds"], seed=7).rows

The position of a patient is HMAC-SHA256 with the seed as its key, over the pseudonym: the first 53 bits of it, as a
fraction from 0 to 1. The sides share that range in the order train, tune, test, so a change of the shares moves only
those between the old and the new limits. The shares are therefore met on average, not exactly.

A patient with any record of a held-out centre is on the side `external`, even if other centres sent records too. Of
the others, a patient with no data available up to `hold_out_after` is on the side `later`. This clock is the
available date: what arrives later has a later one, so the first one of a patient stays. Only a record of a held-out
centre about a patient who had none moves that patient: to `external`, never back.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from itertools import accumulate
from typing import Any, Self

from warehouse.engine.names import suggest_nearest
from warehouse.errors import UsageError
from warehouse.query.days import parse_day

#: The column of an answer that has the side of each row.
COLUMN = "split"
#: What the column means, where labels have a meaning.
MEANING = "side of the row, by its patient; null: on no side"
#: The sides that a position decides, in the order of their ranges, and those of patients who are held out.
SHARED = ("train", "tune", "test")
EXTERNAL, LATER = "external", "later"
#: What may be kept together on one side.
UNITS = ("patient", "centre")

_DEFAULTS = (70.0, 15.0, 15.0)
_BITS = 53  # of a digest: as many as a float keeps


@dataclass(frozen=True, slots=True)
class Split:
    """How patients are divided: shares in per cent, or any weights; what is held out; and the seed.

    The shares are of the patients who are not held out. If no share is given they are 70, 15 and 15; if some are, the
    others are 0. `by` is what stays together: `patient`, or `centre` for all patients of a centre. UsageError for an
    invalid rule.
    """

    train: float | None = None
    tune: float | None = None
    test: float | None = None
    by: str = "patient"
    hold_out_centres: tuple[str, ...] = ()
    hold_out_after: date | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        given = (self.train, self.tune, self.test)
        shares = _DEFAULTS if given == (None, None, None) else tuple(0.0 if s is None else s for s in given)
        for name, share in zip(SHARED, shares, strict=True):
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < math.inf:
                raise UsageError(f"The share of {name} must be a number from 0 up, not {share!r}.")
            object.__setattr__(self, name, float(share))
        if not sum(shares) or math.isinf(sum(shares)):
            raise UsageError(
                "All shares of the split are 0. Give one that is not, as in --train 70 --tune 15 --test 15."
            )
        if self.by not in UNITS:
            raise UsageError(
                f"A split is by {' or '.join(UNITS)}, not by {self.by!r}.{suggest_nearest(self.by, UNITS)}"
            )
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise UsageError(f"The seed of a split must be a whole number, not {self.seed!r}.")
        centres = (self.hold_out_centres,) if isinstance(self.hold_out_centres, str) else self.hold_out_centres
        object.__setattr__(self, "hold_out_centres", tuple(sorted({str(name) for name in centres})))
        if isinstance(self.hold_out_after, str):
            object.__setattr__(self, "hold_out_after", parse_day(self.hold_out_after))

    @property
    def sides(self) -> tuple[str, ...]:
        """The sides that this rule can put a patient on, train first."""
        held = [EXTERNAL] if self.hold_out_centres else []
        return (*self.shares, *held, *([LATER] if self.hold_out_after else []))

    @property
    def shares(self) -> dict[str, float]:
        """The sides that share the patients who are not held out, with their shares, which add up to 1."""
        given = {name: float(getattr(self, name)) for name in SHARED}
        return {name: share / sum(given.values()) for name, share in given.items() if share}

    def choose_side(self, unit: str) -> str:
        """The side of a patient (or a centre) who is not held out."""
        position = find_position(self.seed, unit)
        limits = accumulate(self.shares.values())
        return next(
            (side for side, limit in zip(self.shares, limits, strict=True) if position < limit), [*self.shares][-1]
        )

    def place_patient(
        self, patient_id: str, centres: Collection[str] = (), held_out: Collection[str] = (), first: date | None = None
    ) -> tuple[str | None, str]:
        """The side of a patient, and "" or why there is none.

        `centres` are those of all records of the patient and `held_out` those that are held out, in the spelling of the
        column `centre`; `first` is the day on which something of the patient first became available.
        """
        if any(centre in held_out for centre in centres):
            return EXTERNAL, ""
        if self.hold_out_after and first and first > self.hold_out_after:
            return LATER, ""
        if self.by == "patient":
            return self.choose_side(patient_id), ""
        sides = {self.choose_side(centre) for centre in centres}
        if len(sides) == 1:
            return sides.pop(), ""
        return None, "of centres on different sides" if sides else "of no known centre"

    def to_json(self) -> dict[str, Any]:
        """The rule as manifest.json has it."""
        return {
            "by": self.by,
            **{name: getattr(self, name) for name in SHARED},
            "hold_out_centres": list(self.hold_out_centres),
            "hold_out_after": str(self.hold_out_after) if self.hold_out_after else None,
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, rule: dict[str, Any]) -> Self:
        """The rule of a manifest.json."""
        return cls(**{**rule, "hold_out_centres": tuple(rule["hold_out_centres"])})


def find_position(seed: int, unit: str) -> float:
    """The position of a patient or centre, from 0 up to 1: HMAC-SHA256 of the name, with the seed as text for key."""
    digest = hmac.digest(str(seed).encode(), unit.encode(), "sha256")
    return (int.from_bytes(digest[:8], "big") >> (64 - _BITS)) / float(1 << _BITS)


def order_sides(found: Iterable[str]) -> list[str]:
    """The sides that occur, in the order in which they are shown: train first."""
    known = (*SHARED, EXTERNAL, LATER)
    return sorted(set(found), key=lambda side: (known.index(side) if side in known else len(known), side))
