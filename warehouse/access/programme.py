"""The end of the programme (CHEST_PROGRAMME_END), beyond which no agreement lasts, and warnings before an end.

The document: access "will cease when the COVID-19 COPI (Notice under Regulation 3(4) of the Health Service Control of
Patient Information Regulations 2002) ceases effect".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from warehouse.access.agreements import Agreement, list_agreements
from warehouse.access.applications import list_applications
from warehouse.access.log import read_events
from warehouse.access.switch import is_enforced
from warehouse.errors import UsageError
from warehouse.settings import Settings

if TYPE_CHECKING:
    from warehouse.lake.location import Location

VARIABLE = "CHEST_PROGRAMME_END"
#: Warnings begin this long before an end: time to renew, and for the committee to see it.
WARN = timedelta(weeks=6)


def read_programme_end(settings: Settings) -> date | None:
    """Read the last day of the programme; None if there is no such setting. UsageError if it is no day."""
    text = settings.programme_end.strip()
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise UsageError(f"{VARIABLE}={text!r} is not a day. Unset it or give year-month-day.") from None


def get_today() -> date:
    """Today, in UTC as all days of agreements."""
    return datetime.now(UTC).date()


def list_warnings(agreements: Iterable[Agreement], day: date) -> list[str]:
    """A sentence for each agreement in force that ends within six weeks, the next end first."""
    near = [one for one in agreements if one.state_on(day) == "active" and one.ends - day <= WARN]
    return [
        f"Agreement {one.id} ({one.organisation}) ends on {one.ends}, {_count_days((one.ends - day).days)}. "
        f"Renew it:  chest access renew {one.id} --ends DAY"
        for one in sorted(near, key=lambda one: (one.ends, one.id))
    ]


def summarise_access(place: Location, settings: Settings) -> dict[str, Any]:
    """What `chest status` shows of access: {} for a lake without a log, else `access` with counts and a line."""
    events = read_events(place, settings)
    if not events:
        return {}
    today = get_today()
    agreements = list_agreements(events, read_programme_end(settings))
    states = Counter(one.state_on(today) for one in agreements.values())
    waiting = sum(one.state == "submitted" for one in list_applications(events).values())
    ending = list_warnings(agreements.values(), today)
    parts = [f"{states['active']:,} agreement{'' if states['active'] == 1 else 's'} active", f"{waiting:,} waiting"]
    if ending:
        parts.append(f"{len(ending):,} ending within {WARN.days // 7} weeks (chest access list)")
    enforced = is_enforced(events)
    parts.append(f"enforcement {'on' if enforced else 'off'}")
    counts = {"active": states["active"], "waiting": waiting, "ending": len(ending), "enforced": enforced}
    return {"access": {**counts, "events": len(events), "summary": ", ".join(parts)}}


def _count_days(days: int) -> str:
    return "today" if days == 0 else "tomorrow" if days == 1 else f"in {days} days"
