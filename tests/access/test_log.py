"""The log of access: what is appended, that every alteration is found, and what agreements follow from it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.access import agreements, log, switch, vocabulary
from warehouse.errors import LakeError, UsageError
from warehouse.lake import location, store, waiting
from warehouse.lake.location import Location
from warehouse.settings import Settings

TERMS = {
    "applicant": "Ada Young",
    "orcid": "0000-0002-1825-0097",
    "organisation": "University of Leeds",
    "team": ["Ben Old"],
    "title": "Risk on chest films",
    "purpose": "image processing software",
    "duo": ["DUO:0000007"],
    "mondo": ["MONDO:0100096"],
    "groups": ["training"],
    "modalities": ["CR", "DX"],
    "centres": [],
    "fields": ["age", "sex"],
    "starts": "2026-02-01",
    "ends": "2026-06-30",
    "output": "a model",
}
ID = "2026-0001"


@pytest.fixture
def place(new_lake: Path) -> Location:
    return location.parse_address(str(new_lake))


def append(place: Location, *new: log.NewEvent) -> list[log.Event]:
    return log.append(place, Settings(), *new)


def test_events_are_appended_and_chained(place: Location) -> None:
    assert log.read_events(place, Settings()) == []
    assert log.find_head([]) is None
    first, second = append(
        place,
        log.NewEvent(vocabulary.SUBMITTED, ID, {"title": "Größe ≤ 3", "a": [1, None]}, "Ada Young", "applicant"),
        log.NewEvent(vocabulary.REVIEWED, ID),
    )
    (third,) = append(place, log.NewEvent(vocabulary.APPROVED, ID, TERMS))
    events = log.read_events(place, Settings())
    assert events == [first, second, third]
    assert [event.number for event in events] == [1, 2, 3]
    assert (first.text, first.body["a"]) == ('{"a":[1,null],"title":"Größe ≤ 3"}', [1, None])
    assert (first.actor, first.role, second.actor) == ("Ada Young", "applicant", store.get_author())
    assert [event.previous_hash for event in events] == ["", first.hash, second.hash]
    assert first.at <= second.at <= third.at
    assert log.find_head(events) == (3, third.hash)
    assert log.verify_chain(events, [first.hash, third.hash.removeprefix("sha256:")]) == []


def test_an_event_publishes_nothing_and_names_the_head(place: Location) -> None:
    (event,) = append(place, log.NewEvent(vocabulary.SUBMITTED, ID))
    with store.open_writer(place, Settings()) as con:
        history = store.list_snapshots(con)
    (commit,) = (snapshot for snapshot in history if "access" in snapshot.info)
    assert (commit.is_published, commit.has_new_data) == (False, False)
    assert commit.number not in {snapshot.number for snapshot in store.find_unpublished(history)[1]}
    assert commit.info["access"] == {"number": 1, "head": event.hash}


def test_what_is_decided_sees_the_log_and_may_refuse(place: Location) -> None:
    append(place, log.NewEvent(vocabulary.SUBMITTED, ID))

    def refuse(there: list[log.Event]) -> list[log.NewEvent]:
        raise UsageError(f"{len(there)} there")

    with pytest.raises(UsageError, match="1 there"):
        log.append_decided(place, Settings(), refuse)
    assert log.append_decided(place, Settings(), lambda _: []) == []
    assert len(log.read_events(place, Settings())) == 1


def test_a_log_that_cannot_be_written_is_one_line(place: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "SECONDS", 0.0)
    with (
        store.open_writer(place, Settings()),
        pytest.raises(LakeError, match=r"log of access.*Nothing was recorded") as error,
    ):
        append(place, log.NewEvent(vocabulary.SUBMITTED, ID))
    assert (error.value.exit_code, error.value.heals) == (2, True)
    assert log.read_events(place, Settings()) == []


def test_there_is_no_log_without_a_lake(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="no lake"):
        log.read_events(location.parse_address(str(tmp_path / "no")), Settings())
    with pytest.raises(LakeError, match="There is no lake"):
        append(location.parse_address(str(tmp_path / "no")), log.NewEvent(vocabulary.SUBMITTED))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_lake_of_before_the_log_gets_it(place: Location) -> None:
    with store.open_writer(place, Settings()) as con:
        con.execute("drop schema lake.access cascade; drop table ops.files")
        con.execute("delete from ops.migrations where number >= 5")
    assert log.read_events(place, Settings()) == []
    assert append(place, log.NewEvent(vocabulary.SUBMITTED, ID))[0].number == 1


# Alterations


def make_chain(count: int) -> list[log.Event]:
    made: list[log.Event] = []
    for number in range(count):
        new = log.NewEvent(vocabulary.REMARKED, f"2026-{number % 3:04}", {"n": number}, "somebody")
        made += log.chain_events(made[-1] if made else None, [new])
    return made


CHAIN = make_chain(12)
CHANGES = {
    "at": lambda event: event.at + timedelta(microseconds=1),
    "event": lambda _: vocabulary.APPROVED,
    "about": lambda _: "2026-9999",
    "actor": lambda _: "nobody",
    "role": lambda _: "administrator",
    "text": lambda event: event.text.replace("{", '{"more":1,'),
    "previous_hash": lambda event: "sha256:" + "0" * 64,
    "hash": lambda event: "sha256:" + "0" * 64,
}
places = st.integers(0, len(CHAIN) - 1)


def test_an_untouched_chain_has_no_fault() -> None:
    assert log.verify_chain(CHAIN, [CHAIN[-1].hash]) == []
    assert log.verify_chain([]) == []


@given(places, st.sampled_from(sorted(CHANGES)), st.booleans())
def test_any_change_is_found(place: int, name: str, rehashed: bool) -> None:
    """Even when the hash of the changed event is made to fit: that of the event after it, or the head, does not."""
    event = replace(CHAIN[place], **{name: CHANGES[name](CHAIN[place])})
    event = replace(event, hash=event.compute_hash()) if rehashed and name != "hash" else event
    assert log.verify_chain([*CHAIN[:place], event, *CHAIN[place + 1 :]], [CHAIN[-1].hash])


@given(st.lists(places, min_size=1, unique=True))
def test_any_removal_is_found(removed: list[int]) -> None:
    left = [event for place, event in enumerate(CHAIN) if place not in removed]
    assert log.verify_chain(left, [CHAIN[-1].hash])
    if min(removed) < len(left):
        assert log.verify_chain(left), "found without a head where an event after it is left"


@given(st.permutations(range(len(CHAIN))), st.booleans())
def test_another_order_is_found(order: list[int], renumbered: bool) -> None:
    moved = [CHAIN[place] for place in order]
    moved = [replace(event, number=n) for n, event in enumerate(moved, 1)] if renumbered else moved
    assert bool(log.verify_chain(moved)) is (order != sorted(order))


@given(places, st.integers(0, len(CHAIN)))
def test_an_event_that_is_there_twice_is_found(place: int, where: int) -> None:
    assert log.verify_chain([*CHAIN[:where], CHAIN[place], *CHAIN[where:]])


def test_events_removed_from_the_end_are_found_by_a_head() -> None:
    assert log.verify_chain(CHAIN[:-2]) == []
    (problem,) = log.verify_chain(CHAIN[:-2], [CHAIN[-1].hash])
    assert CHAIN[-1].hash in problem


def test_a_body_whose_first_key_hides_behind_its_last_is_found() -> None:
    """SQL reads the first of two equal keys, Python the last: a body has one form."""
    last = replace(CHAIN[-1], text='{"n":1,"n":11}')
    last = replace(last, hash=last.compute_hash())
    assert "canonical" in log.verify_chain([*CHAIN[:-1], last])[0]
    assert replace(last, text="[]").body == replace(last, text="{").body == {}


# Agreements


def make_log(*new: tuple[str, dict[str, object]]) -> list[log.Event]:
    return log.chain_events(None, [log.NewEvent(event, ID, body) for event, body in new])


def test_an_agreement_is_what_was_granted() -> None:
    events = make_log((vocabulary.SUBMITTED, {}), (vocabulary.APPROVED, TERMS))
    found = agreements.find_agreement(events, ID)
    assert (found.id, found.applicant, found.groups, found.centres) == (ID, "Ada Young", ("training",), ())
    assert (found.starts, found.ends) == (date(2026, 2, 1), date(2026, 6, 30))
    assert found.to_terms() == TERMS
    assert [
        found.state_on(date.fromisoformat(day)) for day in ("2026-01-31", "2026-02-01", "2026-06-30", "2026-07-01")
    ] == [
        "not started",
        "active",
        "active",
        "expired",
    ]


def test_an_agreement_is_renewed_revoked_and_closed() -> None:
    made = ((vocabulary.APPROVED, TERMS), (vocabulary.RENEWED, {"ends": "2999-12-31"}))
    today = datetime.now(UTC).date()
    assert agreements.find_agreement(make_log(*made), ID).state_on(today) == "active"
    for event, state in ((vocabulary.REVOKED, "revoked"), (vocabulary.CLOSED, "closed")):
        found = agreements.find_agreement(make_log(*made, (event, {})), ID)
        assert (found.state, found.state_on(today), found.ended) == (state, state, today)
        assert found.state_on(date(2026, 3, 1)) == "active", "what was released then was released rightly"


def test_an_unknown_agreement_is_named_with_the_nearest() -> None:
    events = make_log((vocabulary.APPROVED, TERMS))
    with pytest.raises(UsageError, match=r"no agreement '2026-0002'\. Did you mean 2026-0001\?.*chest access list"):
        agreements.find_agreement(events, "2026-0002")
    with pytest.raises(UsageError, match="Application 2026-0001 has no agreement"):
        agreements.find_agreement(make_log((vocabulary.SUBMITTED, {})), ID)


def test_enforcement_is_off_until_it_is_switched_on() -> None:
    events: list[log.Event] = []
    seen = [switch.is_enforced(events)]
    for on in (True, False, True):
        events += log.chain_events(events[-1] if events else None, [switch.switch_enforcement(on)])
        seen.append(switch.is_enforced(events))
    assert seen == [False, True, False, True]
