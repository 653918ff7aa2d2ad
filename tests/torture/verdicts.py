"""Verdicts of single tries, and the report of all."""

import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

#: In this order in the report.
EQUAL, HEALED, CLEAR, SKIPPED, FAILED = "equal", "healed", "ended clearly", "skipped", "failed"


@dataclass
class Verdict:
    """How one try ended. `kills` were sent in it; `shares` are how far the struck commands had come (0 to 1)."""

    kind: str
    note: str = ""
    kills: Counter[str] = field(default_factory=Counter)
    shares: list[float] = field(default_factory=list)
    places: Counter[str] = field(default_factory=Counter)


@dataclass
class Tally:
    """The verdicts of a scenario."""

    name: str
    verdicts: list[tuple[int, Verdict]] = field(default_factory=list)

    def count(self, kind: str) -> int:
        """How many tries ended so."""
        return sum(verdict.kind == kind for _, verdict in self.verdicts)

    @property
    def kills(self) -> Counter[str]:
        """The kills of all tries by victim."""
        return sum((verdict.kills for _, verdict in self.verdicts), Counter())


def judge(tally: Tally, seeds: Iterable[int], attempt: Callable[[int], Verdict], show: Callable[[str], None]) -> None:
    """Try with each seed; an assertion or error becomes a failed verdict."""
    for seed in seeds:
        try:
            verdict = attempt(seed)
        except AssertionError as error:
            verdict = Verdict(FAILED, str(error))
        except Exception:
            verdict = Verdict(FAILED, traceback.format_exc())
        tally.verdicts.append((seed, verdict))
        show(f"{tally.name} --seed {seed}: {verdict.kind}" + (f": {verdict.note}" if verdict.note else ""))


def render(tallies: list[Tally]) -> str:
    """The report: a line a scenario, the spread of kills, and every failure with its seed."""
    kinds = (EQUAL, HEALED, CLEAR, SKIPPED, FAILED)
    wide = max(len(tally.name) for tally in tallies)
    lines = [f"{'scenario':<{wide}}  {'tries':>5}  {'kills':>5}  " + "  ".join(f"{kind:>13}" for kind in kinds)]
    for tally in tallies:
        counts = "  ".join(f"{tally.count(kind) or '':>13}" for kind in kinds)
        lines.append(f"{tally.name:<{wide}}  {len(tally.verdicts):>5}  {tally.kills.total() or '':>5}  {counts}")
    lines += ["", *_describe_kills(tallies)]
    failures = [
        f"FAILED {tally.name} --seed {seed}: {verdict.note}"
        for tally in tallies
        for seed, verdict in tally.verdicts
        if verdict.kind == FAILED
    ]
    return "\n".join([*lines, *failures, "failed" if failures else "nothing failed"])


def _describe_kills(tallies: list[Tally]) -> list[str]:
    shares = [share for tally in tallies for _, verdict in tally.verdicts for share in verdict.shares]
    if not shares:
        return []
    kills = sum((tally.kills for tally in tallies), Counter[str]())
    places = sum((verdict.places for tally in tallies for _, verdict in tally.verdicts), Counter[str]())
    tenths = Counter(min(9, int(share * 10)) for share in shares)
    spread = " ".join(str(tenths[place]) for place in range(10))
    return [
        f"{kills.total()} kills: " + ", ".join(f"{count} of {victim}s" for victim, count in kills.most_common()),
        f"moments, by tenths of an undisturbed run: {spread}",
        "last change before: " + ", ".join(f"{place} {count}" for place, count in places.most_common()),
        "",
    ]
