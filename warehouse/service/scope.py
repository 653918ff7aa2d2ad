"""The scope of a request: as of which day, at which snapshot, for which group, and within which cohort it is asked.

A path may begin with its scope, so that any client that takes a base address can be given one:

    /asof/2020-06-01/dicomweb/studies
    /snapshot/12/group/validation/cohort/covid_risk/dicomweb/studies
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from urllib.parse import unquote

from warehouse.access.coverage import Cover
from warehouse.errors import UsageError
from warehouse.query.days import parse_day

#: The names of the segments of a path that set the scope, each followed by its value.
SEGMENTS = ("asof", "snapshot", "group", "cohort")


@dataclass(frozen=True, slots=True)
class Scope:
    """What a request is asked of. `snapshot` is None for the newest published; `cohort` is "" for all that is shown."""

    as_of: date | None = None
    snapshot: int | None = None
    group: str = "training"
    cohort: str = ""
    #: What the agreement of whoever asks covers, if there is one: set by the service, never by an address.
    cover: Cover | None = None

    def set(self, name: str, value: str) -> Scope:
        """The scope with one part set from text: `asof`, `snapshot`, `group` or `cohort`; UsageError if invalid.

        A day is only ever narrowed: a server that shows the lake as of a day shows nothing that came later.
        """
        match name:
            case "asof":
                day = parse_day(value)
                return replace(self, as_of=min(day, self.as_of) if self.as_of else day)
            case "snapshot":
                if not (value.isascii() and value.isdigit() and len(value) < 10):
                    raise UsageError(f"Snapshot {value!r} is not a number.")
                return replace(self, snapshot=int(value))
            case "group":
                return replace(self, group=value)
            case "cohort":
                return replace(self, cohort=value)
        raise UsageError(f"A scope has no part {name!r}. It has {', '.join(SEGMENTS)}.")


def split_path(path: str, scope: Scope) -> tuple[str, str, Scope]:
    """Split a path into the segments that set the scope and the rest, with the scope that they set.

    >>> split_path("/asof/2020-06-01/dicomweb/studies", Scope())[:2]
    ('/asof/2020-06-01', '/dicomweb/studies')

    UsageError for a value that is not valid, or a part that is set twice.
    """
    rest, taken, seen = path, "", set[str]()
    while True:
        head, _, tail = rest.removeprefix("/").partition("/")
        if head not in SEGMENTS or not tail:
            return taken, rest, scope
        if head in seen:
            raise UsageError(f"The path sets {head} twice.")
        seen.add(head)
        value, slash, tail = tail.partition("/")
        scope = scope.set(head, unquote(value))
        taken, rest = f"{taken}/{head}/{value}", f"{slash}{tail}" or "/"
