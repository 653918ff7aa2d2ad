"""The steps of an application: what may follow what, who must have spoken, and until when access lasts."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from access_steps import (
    ENDS,
    STARTS,
    TODAY,
    decide,
    extend,
    grant,
    make_agreement,
    parse,
    review,
    review_by_all,
    submit,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from warehouse.access import log, programme, steps, vocabulary
from warehouse.access.agreements import find_agreement, list_agreements
from warehouse.access.applications import find_application, list_applications
from warehouse.errors import UsageError

ID = f"{TODAY.year}-0001"


def find(events: list[log.Event]) -> Any:
    return find_application(events, ID)


def test_an_application_becomes_an_agreement_with_the_terms_that_were_requested() -> None:
    events = make_agreement()
    agreement = find_agreement(events, ID)
    assert (agreement.applicant, agreement.purpose) == ("Ada Young", "image processing software")
    assert (agreement.groups, agreement.modalities, agreement.centres) == (("training",), ("CR", "DX"), ("all",))
    assert (agreement.starts, agreement.ends) == (STARTS, ENDS)
    assert (find(events).state, agreement.state_on(TODAY)) == ("approved", "active")
    assert log.verify_chain(events) == []
    names = [event.event.partition("/")[2] for event in events]
    assert names == ["submitted", *["reviewed"] * 6, "decided", "approved"]


def test_ids_count_within_the_year() -> None:
    events = submit(submit([]))
    assert list(list_applications(events)) == [ID, f"{TODAY.year}-0002"]


@pytest.mark.parametrize("role", vocabulary.ROLES)
@pytest.mark.parametrize("decision", ["approved", "rejected"])
def test_there_is_no_decision_before_every_role_has_spoken(role: str, decision: str) -> None:
    events = submit([])
    for other in vocabulary.ROLES:
        events = events if other == role else review(events, ID, other)
    with pytest.raises(UsageError, match=f"cannot be decided: no review by {role}. Every role reviews first"):
        decide(events, ID, decision)
    assert find(decide(review(events, ID, role), ID, decision)).decision["decision"] == decision


def test_a_rejected_application_stays_so() -> None:
    events = decide(review_by_all(submit([]), ID), ID, "rejected")
    assert find(events).state == "rejected"
    for step in (
        lambda: review(events, ID, "administrator"),
        lambda: decide(events, ID, "approved"),
        lambda: grant(events, ID),
    ):
        with pytest.raises(UsageError, match="it is rejected, not submitted"):
            step()
    with pytest.raises(UsageError, match="has no agreement: access was not granted"):
        find_agreement(events, ID)


def test_a_returned_application_is_submitted_again_and_reviewed_anew() -> None:
    events = decide(review(submit([]), ID, "administrator"), ID, "returned")
    assert (find(events).state, find(events).stage) == ("returned", "waits for the applicant")
    with pytest.raises(UsageError, match="cannot be reviewed: it is returned"):
        review(events, ID, "administrator")
    events = submit(events, again=ID, title="A better title")
    assert (find(events).state, find(events).request["title"], find(events).roles_missing) == (
        "submitted",
        "A better title",
        list(vocabulary.ROLES),
    )
    with pytest.raises(UsageError, match="cannot be submitted again: it is submitted, not returned"):
        submit(events, again=ID)


def test_external_peer_review_stands_in_for_missing_expertise() -> None:
    events = review_by_all(submit([]), ID)
    events = review(events, ID, "scientific", scientific_merit="expertise missing", comment="Nobody knows this.")
    assert find(events).stage == "waits for external peer review of scientific merit"
    with pytest.raises(UsageError, match=r"expertise is missing for scientific merit\. Record an external peer review"):
        decide(events, ID, "approved")
    with pytest.raises(UsageError, match="organisation is empty, and an external peer reviewer has one"):
        review(events, ID, vocabulary.PEER)
    elsewhere = review(events, ID, vocabulary.PEER, organisation="BSTI", scientific_merit="not assessed", benefit="met")
    with pytest.raises(UsageError, match="expertise is missing"):
        decide(elsewhere, ID, "approved")
    reviewed = review(events, ID, vocabulary.PEER, organisation="BSTI")
    assert find(decide(reviewed, ID, "approved")).decision["decision"] == "approved"
    waived = decide(events, ID, "approved", no_peer_review="A small pilot.")
    assert find(waived).decision["no_peer_review"] == "A small pilot."


def test_a_review_says_why_it_is_against_and_nobody_reviews_their_own() -> None:
    events = submit([])
    for values in ({"recommendation": "reject"}, {"benefit": "not met"}):
        with pytest.raises(UsageError, match="comment is empty"):
            review(events, ID, "system", **values)
    for name in ("ada young", "Cy Lin", "Young, Ada", "Ada\N{NO-BREAK SPACE} Young"):
        with pytest.raises(UsageError, match=f"takes part in {ID} and cannot review it"):
            review(events, ID, "system", reviewer=name)
    with pytest.raises(UsageError, match=r"comment is empty. Give the reasons why .* is returned"):
        decide(events, ID, "returned", comment="")


def test_each_role_is_another_person_and_no_applicant_takes_a_step_of_the_committee() -> None:
    events = review(submit([]), ID, vocabulary.ROLES[0], reviewer="Di Poe")
    with pytest.raises(UsageError, match=f"Poe, Di has reviewed {ID} as {vocabulary.ROLES[0]}"):
        review(events, ID, vocabulary.ROLES[1], reviewer="Poe, Di")
    assert review(events, ID, vocabulary.ROLES[0], reviewer="Di Poe")
    for role in vocabulary.ROLES[1:]:
        events = review(events, ID, role)
    with pytest.raises(UsageError, match=f"Ada Young takes part in {ID} and cannot decide on it"):
        decide(events, ID, "approved", decided_by="Ada Young")
    events = decide(events, ID, "approved")
    with pytest.raises(UsageError, match=f"Cy Lin takes part in {ID} and cannot grant it"):
        grant(events, ID, granted_by="Cy Lin")


def test_a_role_that_reviews_again_replaces_its_review() -> None:
    events = review(review(submit([]), ID, "system", recommendation="reject", comment="No."), ID, "system advisor")
    assert find(events).reviews["system advisor"]["recommendation"] == "approve"
    assert len(find(events).history) == 3


def test_a_grant_follows_the_decision_and_gives_no_more_than_was_requested() -> None:
    reviewed = review_by_all(submit([], groups=["training"], centres=["Leeds", "York"]), ID)
    with pytest.raises(UsageError, match="cannot be granted: the committee has not approved it"):
        grant(reviewed, ID)
    events = decide(reviewed, ID, "approved")
    for values, words in (
        ({"groups": ["all"]}, "groups has all, which was not requested"),
        ({"modalities": ["CR", "CT"]}, "modalities has CT, which was not requested"),
        ({"centres": ["Hull"]}, "centres has Hull"),
        ({"ends": (ENDS + timedelta(days=1)).isoformat()}, "outside the period of the request"),
        ({"starts": (STARTS - timedelta(days=1)).isoformat()}, "outside the period of the request"),
        ({"starts": ENDS.isoformat(), "ends": STARTS.isoformat()}, "before starts"),
    ):
        with pytest.raises(UsageError, match=words):
            grant(events, ID, **values)
    less = find_agreement(grant(events, ID, modalities=["DX"], centres=["York"], fields=["age"]), ID)
    assert (less.modalities, less.centres, less.fields) == (("DX",), ("York",), ("age",))
    with pytest.raises(UsageError, match="it is approved, not submitted"):
        grant(grant(events, ID), ID)
    with pytest.raises(UsageError, match="it is decided already"):
        review(events, ID, "administrator")


def test_nothing_lasts_beyond_the_end_of_the_programme() -> None:
    end = ENDS - timedelta(days=10)
    with pytest.raises(
        UsageError, match=rf"ends is {ENDS}, after the end of the programme. Allowed: until {end} \(CHEST_"
    ):
        submit([], end)
    decided = decide(review_by_all(submit([]), ID), ID, "approved")
    with pytest.raises(UsageError, match=r"The grant is not valid: ends is .* after the end of the programme"):
        grant(decided, ID, end)
    events = make_agreement()
    renewal = parse("renewal", ends=(ENDS + timedelta(days=9)).isoformat(), renewed_by="The chair", reason="More.")
    with pytest.raises(UsageError, match=r"The renewal is not valid: ends is .* after the end of the programme"):
        steps.renew(events, ID, renewal, TODAY, ENDS)
    assert find_agreement(events, ID, end).ends == end, "an end that came nearer holds for what was granted before"
    assert find_agreement(events, ID, end).state_on(ENDS) == "expired"
    assert find_agreement(events, ID, ENDS + timedelta(days=1)).ends == ENDS


def test_an_agreement_is_renewed_before_it_ends_and_not_after() -> None:
    events = make_agreement()
    later = ENDS + timedelta(days=50)
    renewal = parse("renewal", ends=later.isoformat(), renewed_by="The chair", reason="More.")
    renewed = extend(events, steps.renew(events, ID, renewal, ENDS, None))
    assert (find_agreement(renewed, ID).ends, find(renewed).state) == (later, "approved")
    with pytest.raises(UsageError, match=f"is expired since {ENDS} and cannot be renewed. Apply again"):
        steps.renew(events, ID, renewal, ENDS + timedelta(days=1), None)
    with pytest.raises(UsageError, match=f"lasts until {later} already"):
        steps.renew(renewed, ID, renewal, TODAY, None)


def test_an_agreement_ends_at_once_when_it_is_revoked_or_closed() -> None:
    ending = parse("ending", ended_by="The chair", reason="Data were passed on.")
    events = make_agreement()
    for step, state in ((steps.revoke, "revoked"), (steps.close, "closed")):
        ended = extend(events, step(events, ID, ending))
        assert (find(ended).state, find_agreement(ended, ID).state_on(TODAY)) == (state, state)
        with pytest.raises(UsageError, match=f"is {state}"):
            steps.revoke(ended, ID, ending)
        with pytest.raises(UsageError, match=f"is {state}"):
            steps.close(ended, ID, ending)
        with pytest.raises(UsageError, match=f"is {state} since {TODAY}"):
            steps.renew(ended, ID, parse("renewal", ends="2999-01-01", renewed_by="x", reason="y"), TODAY, None)


def test_unknown_applications_are_named_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"There is no application '2026-9'.*chest access list"):
        find_application(submit([]), "2026-9")


def test_a_warning_begins_six_weeks_before_the_end() -> None:
    agreements = list_agreements(make_agreement()).values()
    assert programme.list_warnings(agreements, ENDS - timedelta(days=43)) == []
    assert programme.list_warnings(agreements, ENDS + timedelta(days=1)) == []
    for day, words in (
        (ENDS - timedelta(days=42), "in 42 days"),
        (ENDS - timedelta(days=1), "tomorrow"),
        (ENDS, "today"),
    ):
        (warning,) = programme.list_warnings(agreements, day)
        assert f"ends on {ENDS}, {words}. Renew it:  chest access renew {ID}" in warning


class Applications(RuleBasedStateMachine):
    """Any steps in any order: what is refused changes nothing, and what is granted went through all six roles."""

    def __init__(self) -> None:
        super().__init__()
        self.events = submit([])

    @rule(
        step=st.sampled_from(
            ["submit", "again", "returned", "approved", "rejected", "grant", "renew", "revoke", "close"]
        )
    )
    def take(self, step: str) -> None:
        before = list(self.events)
        try:
            self.events = self._take(step)
        except UsageError:
            assert self.events == before

    @rule(role=st.sampled_from([*vocabulary.ROLES, vocabulary.PEER]), missing=st.booleans())
    def review(self, role: str, missing: bool) -> None:
        finding = "expertise missing" if missing and role != vocabulary.PEER else "met"
        try:
            self.events = review(self.events, ID, role, benefit=finding, comment="So it is.", organisation="BSTI")
        except UsageError:
            assert find(self.events).state != "submitted" or find(self.events).decision

    @rule()
    def review_all(self) -> None:
        if find(self.events).state == "submitted" and not find(self.events).decision:
            self.events = review_by_all(self.events, ID)

    def _take(self, step: str) -> list[log.Event]:
        ending = parse("ending", ended_by="x", reason="y")
        match step:
            case "submit":
                return submit(self.events)
            case "again":
                return submit(self.events, again=ID)
            case "grant":
                return grant(self.events, ID)
            case "renew":
                values = parse("renewal", ends="2999-01-01", renewed_by="x", reason="y")
                return extend(self.events, steps.renew(self.events, ID, values, TODAY, None))
            case "revoke":
                return extend(self.events, steps.revoke(self.events, ID, ending))
            case "close":
                return extend(self.events, steps.close(self.events, ID, ending))
        return decide(self.events, ID, step)

    @invariant()
    def what_is_granted_was_reviewed_by_every_role(self) -> None:
        assert log.verify_chain(self.events) == []
        names = [event.event for event in self.events if event.about == ID]
        if vocabulary.APPROVED in names:
            start = max(place for place, name in enumerate(names) if name == vocabulary.SUBMITTED)
            mine = [event for event in self.events if event.about == ID][start : names.index(vocabulary.APPROVED)]
            assert {event.role for event in mine if event.event == vocabulary.REVIEWED} >= set(vocabulary.ROLES)
            assert [event.body["decision"] for event in mine if event.event == vocabulary.DECIDED] == ["approved"]
            last = [
                event.body for event in mine if event.event == vocabulary.REVIEWED and event.role != vocabulary.PEER
            ]
            by_peers = any(event.role == vocabulary.PEER for event in mine)
            latest = {event.role: event.body for event in mine if event.event == vocabulary.REVIEWED}
            missing = any("expertise missing" in body["findings"].values() for body in latest.values())
            assert last
            assert by_peers or not missing
        state = find(self.events).state
        assert (state in ("approved", "revoked")) <= (ID in list_agreements(self.events))


TestApplications = Applications.TestCase
TestApplications.settings = settings(max_examples=25, stateful_step_count=25)


AGREEMENT = find_agreement(make_agreement(), ID)


@given(st.dates(STARTS - timedelta(days=9), ENDS + timedelta(days=9)))
def test_a_state_is_of_a_day(day: date) -> None:
    expected = "not started" if day < STARTS else "active" if day <= ENDS else "expired"
    assert AGREEMENT.state_on(day) == expected
