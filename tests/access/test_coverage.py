"""What an agreement covers, and whether a purpose fits the conditions of the data: yes, no, or a person must look."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.access.agreements import Agreement
from warehouse.access.coverage import Cover, Request, cover_request
from warehouse.access.duo import PERMISSIONS, Purpose, match_data_use
from warehouse.access.verdict import Answer, Finding, Verdict

COVID, ASTHMA = "MONDO:0100096", "MONDO:0004979"


GIVEN = {"modalities": ("all",), "centres": (), "fields": ("all",)}


def agree(groups: tuple[str, ...] = ("training",), **kinds: tuple[str, ...]) -> Cover:
    """What an agreement covers that lists these, and else everything."""
    agreement = Agreement(
        id="2026-0001",
        applicant="A. Person",
        orcid="",
        organisation="A University",
        team=(),
        title="A study",
        purpose="teaching",
        duo=(),
        mondo=(),
        groups=groups,
        starts=date(2026, 1, 1),
        ends=date(2026, 12, 31),
        output="",
        **{**GIVEN, **kinds},
    )
    return Cover.of(agreement)


def ask(cover: Cover, **names: str | None) -> Answer:
    """The answer to a request of names, separated by commas; None for all of a kind."""
    wanted = {kind: None if text is None else frozenset(text.split(",")) for kind, text in names.items()}
    return cover_request(cover, Request(**({"groups": frozenset({"training"})} | wanted))).answer


def test_an_agreement_covers_what_it_lists() -> None:
    cover = agree(modalities=("CT", "dx"), centres=("Leeds Teaching Hospitals",), fields=("age", "Sex"))
    assert ask(cover, modalities="CT") is Answer.YES
    assert ask(cover, modalities="ct,DX", centres="leeds  teaching hospitals", fields="age") is Answer.YES
    assert ask(cover, modalities="CT,MR") is Answer.NO
    assert ask(cover, fields="ethnicity") is Answer.NO
    assert ask(cover, centres="York Hospital") is Answer.NO
    assert ask(cover, groups="validation") is Answer.NO
    assert ask(cover, groups="training,validation") is Answer.NO


def test_nothing_listed_is_every_centre_and_nothing_else() -> None:
    nothing = agree(groups=(), modalities=(), centres=(), fields=())
    assert nothing == Cover("2026-0001", (), (), None, ())
    assert ask(nothing, groups="training") is Answer.NO
    assert ask(agree(modalities=()), modalities="CT") is Answer.NO
    assert ask(agree(fields=()), fields="age") is Answer.NO
    assert ask(agree(centres=()), centres="York Hospital") is Answer.YES


def test_a_centre_that_may_be_the_same_is_for_a_person() -> None:
    assert ask(agree(centres=("Leeds Teaching Hospitals NHS Trust",)), centres="Leeds") is Answer.LOOK


def test_all_of_a_kind_is_covered_by_all_of_it_alone() -> None:
    assert ask(agree(), modalities=None, centres=None, fields=None) is Answer.YES
    assert ask(agree(modalities=("CT",)), modalities=None) is Answer.NO
    assert ask(agree(groups=("training", "validation")), groups="all") is Answer.NO
    assert ask(agree(groups=("all",)), groups="all") is Answer.YES


def test_the_reason_names_what_is_not_covered_and_what_is() -> None:
    found = cover_request(agree(modalities=("CT",)), Request(frozenset({"training"}), frozenset({"CT", "MR"})))
    assert found.reasons == ("Agreement 2026-0001 does not cover modality MR; it covers modalities CT.",)
    found = cover_request(agree(fields=()), Request(frozenset({"training"}), fields=frozenset({"age"})))
    assert found.reasons == ("Agreement 2026-0001 does not cover field age; it covers no field.",)


def test_nothing_found_out_is_no_yes() -> None:
    assert Verdict().answer is Answer.LOOK
    assert cover_request(agree(), Request(groups=frozenset())).answer is Answer.LOOK
    assert str(Answer.LOOK) == "a person must look"


def test_reasons_begin_with_what_is_refused() -> None:
    found = Verdict((Finding(Answer.LOOK, "a", "look"), Finding(Answer.YES, "b", "fine"))) + Verdict(
        (Finding(Answer.NO, "c", "refused"),)
    )
    assert (found.answer, found.reasons) == (Answer.NO, ("refused", "look"))


def test_only_groups_are_prefixes() -> None:
    assert agree().is_by_group
    assert not agree(centres=("Leeds",)).is_by_group
    assert not agree(fields=("age",)).is_by_group
    assert not agree(modalities=("CT",)).is_by_group


def match(conditions: str, codes: str, diseases: str = "", **named: bool) -> Answer:
    """The answer to a purpose, codes and diseases without their prefix."""
    purpose = Purpose(frozenset(f"DUO:00000{code}" for code in codes.split()), frozenset(diseases.split()), **named)
    return match_data_use(
        [word if word.startswith("MONDO") else f"DUO:00000{word}" for word in conditions.split()], purpose
    ).answer


@pytest.mark.parametrize(
    ("conditions", "codes", "diseases", "answer"),
    [
        ("42", "42", "", Answer.YES),
        ("42", "06", "", Answer.YES),
        ("42", "07", ASTHMA, Answer.YES),
        ("42", "11", "", Answer.YES),
        ("42", "43", "", Answer.NO),
        ("04", "43", "", Answer.YES),
        ("06", "07", ASTHMA, Answer.YES),
        ("06", "06", "", Answer.YES),
        ("06", "42", "", Answer.NO),
        ("06", "11", "", Answer.NO),
        (f"07 {COVID}", "07", COVID, Answer.YES),
        (f"07 {COVID}", "07", ASTHMA, Answer.LOOK),
        (f"07 {COVID}", "07", f"{COVID} {ASTHMA}", Answer.LOOK),
        (f"07 {COVID}", "07", "", Answer.NO),
        (f"07 {COVID}", "06", COVID, Answer.NO),
        ("07", "07", COVID, Answer.LOOK),
        ("06 43", "06 43", "", Answer.YES),
        ("43", "06", "", Answer.NO),
        ("11", "11", "", Answer.YES),
        (f"07 {COVID}", "40", COVID, Answer.YES),
        (f"07 {COVID}", "40 31", COVID, Answer.YES),
        (f"07 {COVID}", "37", COVID, Answer.NO),
        ("06", "37 39", "", Answer.YES),
        ("06", "33", "", Answer.NO),
        ("06", "32", "", Answer.NO),
        ("42", "31", "", Answer.LOOK),
        ("42", "06 34", "", Answer.LOOK),
        ("42", "", "", Answer.LOOK),
        ("", "06", "", Answer.LOOK),
        ("", "", "", Answer.LOOK),
    ],
)
def test_a_permission_includes_what_is_narrower(conditions: str, codes: str, diseases: str, answer: Answer) -> None:
    assert match(conditions, codes, diseases) is answer


@pytest.mark.parametrize(
    ("modifier", "promised", "answer"),
    [
        *((code, code, Answer.YES) for code in ("15", "18", "45", "46", "19", "20", "21", "24", "29", "16")),
        *((code, "", Answer.LOOK) for code in ("15", "18", "45", "46", "19", "20", "21", "24", "29")),
        ("15", "31", Answer.NO),
        ("15", "31 15", Answer.NO),
        ("16", "38", Answer.LOOK),
        ("44", "33", Answer.NO),
        ("18", "45 46", Answer.YES),
        ("18", "45", Answer.LOOK),
        ("45", "18", Answer.YES),
        ("46", "18", Answer.YES),
        ("16", "", Answer.NO),
        ("12", "12", Answer.LOOK),
        ("22", "22", Answer.LOOK),
        ("44", "", Answer.YES),
        ("44", "11", Answer.NO),
        ("25", "", Answer.NO),
        ("26", "", Answer.NO),
        ("27", "", Answer.NO),
        ("28", "", Answer.NO),
        ("99", "", Answer.LOOK),
        ("44", "99", Answer.LOOK),
    ],
)
def test_each_modifier_has_its_rule(modifier: str, promised: str, answer: Answer) -> None:
    assert match(f"04 {modifier}", f"06 {promised}") is answer


def test_ancestry_is_prohibited_in_general_research_too() -> None:
    assert match("42 44", "42") is Answer.LOOK
    assert match("42 44", "42 11") is Answer.NO


def test_what_the_request_names_meets_the_conditions_of_this_database() -> None:
    of_this = f"07 {COVID} 25 26 27 28"
    every = {"has_end": True, "names_user": True, "names_project": True, "names_organisation": True}
    assert match(of_this, "07", COVID, **every) is Answer.YES
    for name in every:
        assert match(of_this, "07", COVID, **(every | {name: False})) is Answer.NO


LISTS = st.frozensets(st.sampled_from(["a", "b", "Leeds", "Leeds General", "all"]), max_size=3).map(tuple)
WANTED = st.one_of(st.none(), st.frozensets(st.sampled_from(["a", "b", "Leeds", "York"]), max_size=3))


@given(
    cover=st.builds(agree, groups=LISTS, modalities=LISTS, centres=LISTS, fields=LISTS),
    narrow=st.builds(Request, groups=WANTED, modalities=WANTED, centres=WANTED, fields=WANTED),
    more=st.builds(Request, groups=WANTED, modalities=WANTED, centres=WANTED, fields=WANTED),
)
def test_to_ask_for_more_never_turns_no_into_yes(cover: Cover, narrow: Request, more: Request) -> None:
    def join(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
        return None if one is None or other is None else one | other

    kinds = ("groups", "modalities", "centres", "fields")
    wide = Request(**{kind: join(getattr(narrow, kind), getattr(more, kind)) for kind in kinds})
    before, after = cover_request(cover, narrow), cover_request(cover, wide)
    assert not before.findings or after.answer <= before.answer


INVESTIGATIONS = {f"DUO:00000{number}" for number in (31, 33, 37, 40)}
#: What DUO does not have: a person looks at whatever asks for it.
UNKNOWN = "DUO:0000099"
CODES = st.frozensets(
    st.sampled_from(
        sorted(
            PERMISSIONS | {f"DUO:00000{n}" for n in (15, 16, 18, 19, 31, 33, 37, 40, 21, 25, 26, 28, 44, 45, 46, 99)}
        )
    )
)
DISEASES = st.frozensets(st.sampled_from([COVID, ASTHMA, "MONDO:0005109"]), max_size=2)
PURPOSES = st.builds(
    Purpose,
    codes=CODES,
    diseases=DISEASES,
    names_user=st.booleans(),
    names_organisation=st.booleans(),
    names_project=st.booleans(),
    has_end=st.booleans(),
)


@given(
    conditions=CODES,
    of=DISEASES,
    purpose=PURPOSES,
    permission=st.sampled_from(sorted(PERMISSIONS | INVESTIGATIONS)),
    other=DISEASES,
)
def test_a_wider_purpose_never_turns_no_into_yes(
    conditions: frozenset[str], of: frozenset[str], purpose: Purpose, permission: str, other: frozenset[str]
) -> None:
    judged = match_data_use(conditions | of, purpose).answer
    wider = [
        replace(purpose, codes=purpose.codes | {permission}),
        replace(purpose, codes=purpose.codes & (PERMISSIONS | INVESTIGATIONS | {UNKNOWN})),  # promises nothing
        replace(purpose, names_user=False, has_end=False),
        replace(purpose, diseases=purpose.diseases | other if purpose.diseases else purpose.diseases),
        replace(purpose, diseases=frozenset()),  # any disease
    ]
    answers = [match_data_use(conditions | of, each).answer for each in wider]
    if judged is Answer.NO:
        assert Answer.YES not in answers
    if purpose.needed:
        assert all(answer <= max(judged, Answer.LOOK) for answer in answers)
