"""The answer to a question of access: yes, no, or a person must look; with the reasons."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Answer(enum.IntEnum):
    """Ordered: of several answers the least holds, and a request that asks for more never has a greater one."""

    NO = 0
    LOOK = 1
    YES = 2

    def __str__(self) -> str:
        """In words."""
        return {Answer.NO: "no", Answer.LOOK: "a person must look", Answer.YES: "yes"}[self]


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer, about one subject (group, centre, a DUO code …), with its reason as a sentence."""

    answer: Answer
    subject: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The findings on a request."""

    findings: tuple[Finding, ...] = ()

    @property
    def answer(self) -> Answer:
        """The least of the answers. Where nothing was found out, a person must look."""
        return min((finding.answer for finding in self.findings), default=Answer.LOOK)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the answer is not yes: first what is refused, then what a person must look at."""
        less = sorted((each for each in self.findings if each.answer < Answer.YES), key=lambda each: each.answer)
        return tuple(each.reason for each in less)

    def __add__(self, other: Verdict) -> Verdict:
        """Both together."""
        return Verdict(self.findings + other.findings)
