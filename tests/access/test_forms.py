"""The forms of access: what is read from YAML; each mistake is one line that names field and allowed values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from access_steps import REQUEST, parse
from hypothesis import given
from hypothesis import strategies as st

from warehouse.access import kinds, request_form, step_forms, yaml_files
from warehouse.catalog import columns
from warehouse.errors import UsageError

FORM = request_form.build_form()


def test_a_request_is_read_into_its_canonical_values() -> None:
    values = parse("request", **REQUEST)
    assert values["orcid"] == "0000-0002-1825-0097"
    assert values["organisation_sector"] == "Academic Institute"
    assert values["purpose"] == "image processing software"
    assert (values["duo"], values["mondo"]) == (["DUO:0000007", "DUO:0000025"], ["MONDO:0100096"])
    assert (values["modalities"], values["centres"]) == (["CR", "DX"], ["all"])
    assert (values["linkage"], values["other_approvals"], values["request_frequency"]) == ("", [], "One-off")
    assert list(values) == [field.name for field in FORM.fields]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("applicant", "", "applicant is empty: Name of the person"),
        ("applicant", ["Ada", "Ben"], "applicant is not a single value"),
        ("applicant", "Ada\x1b[2J", "applicant has control characters"),
        ("applicant", "A" * 301, "applicant has 301 characters; at most 300"),
        ("orcid", "0000-0002-1825-0098", "orcid is '0000-0002-1825-0098', whose check digit is wrong"),
        ("orcid", "Ada", "orcid is 'Ada', which is no ORCID iD. Give 16 digits, as 0000-0002-1825-0097"),
        (
            "organisation_sector",
            "academy",
            "organisation_sector is 'academy', which is not known. Allowed: Academic In",
        ),
        ("purpose", "teeching", r"Did you mean teaching\? Allowed: image processing software, mathematical modelling"),
        ("duo", "DUO:0000099", "duo is 'DUO:0000099', which is not known"),
        ("mondo", "COVID-19", r"mondo is 'COVID-19', which is no code of MONDO. Give one as MONDO:0100096"),
        ("groups", "test", r"groups is 'test', which is not known. Allowed: training, validation\."),
        ("modalities", "XR", "modalities is 'XR', which is not known.* Allowed: CR, CT, DX"),
        ("fields", "agee", r"fields is 'agee', which is not known. Did you mean age\? Allowed: pseudonym"),
        ("fields", ["all", "age"], "fields has all beside other names"),
        ("fields", {"age": "yes"}, "fields is not a list"),
        ("starts", "1 June 2026", "starts is '1 June 2026', which is no day. Give year-month-day, as 2026-06-30"),
        ("ends", "2026-02-30", "ends is '2026-02-30', which is no day"),
        ("lay_summary", "word " * 301, "lay_summary has 301 words .* at most 300 are allowed"),
        ("legal_basis_article_6", "9", r"legal_basis_article_6 is '9', which is not known.*Allowed: 6\(1\)\(a\)"),
        ("access_type", "USB stick", "Allowed: TRE, Release"),
        ("centres", [""], "centres is empty"),
        ("output", "As for 943 476 5919.", "output has what may be an NHS number"),
        ("output", "As for 9434765919", "output has what may be an NHS number"),
        ("hobby", "x", "it has no field 'hobby'. The fields are applicant"),
    ],
)
def test_a_mistake_is_one_line_with_field_and_allowed_values(field: str, value: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        parse("request", **{**REQUEST, field: value})
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("The request is not valid: ")
    assert error.value.exit_code == 2


def test_numbers_that_are_no_nhs_number_are_kept() -> None:
    text = "Grant 943 476 5918, 0000-0002-1825-0097, 94347659191, 10.1101/2021.05.25.21257785"
    assert parse("request", **{**REQUEST, "technical_summary": text})["technical_summary"] == text


def test_several_mistakes_are_counted() -> None:
    with pytest.raises(UsageError, match=r"applicant is empty.*\(2 more fields are wrong or empty\.\)"):
        parse("request", **{**REQUEST, "applicant": None, "orcid": "1", "ends": "never"})


def test_the_fields_are_those_of_the_view_clinical() -> None:
    assert set(request_form.list_fields()) < {column.name for column in columns.load_relations()["clinical"].columns}
    assert {"age", "final_covid_status", "death"} <= set(request_form.list_fields())


@pytest.mark.parametrize("orcid", ["0000-0002-1825-0097", "0000-0001-5109-3700", "0000-0002-1694-233X"])
def test_orcids_of_the_documentation_of_orcid_are_valid(orcid: str) -> None:
    assert kinds.read_orcid(f" https://orcid.org/{orcid.lower()} ") == kinds.read_orcid(orcid.replace("-", "")) == orcid


@given(st.text("0123456789", min_size=15, max_size=15), st.integers(0, 14), st.sampled_from("0123456789"))
def test_a_digit_that_was_mistyped_is_found(digits: str, place: int, other: str) -> None:
    check = kinds.compute_check_digit(digits)
    assert kinds.read_orcid(digits + check).replace("-", "") == digits + check
    mistyped = digits[:place] + other + digits[place + 1 :]
    if mistyped != digits:
        with pytest.raises(ValueError, match="check digit"):
            kinds.read_orcid(mistyped + check)


# YAML


@pytest.mark.parametrize("name", sorted(step_forms.FORMS))
def test_an_empty_form_explains_every_field_and_reads_as_empty(name: str) -> None:
    form = step_forms.find_form(name)
    text = form.render()
    assert max(map(len, text.splitlines())) <= 80
    read = yaml_files.parse_yaml(text.encode(), "form.yaml")
    assert list(read) == [field.name for field in form.fields]
    required = sum(field.default is None for field in form.fields)
    with pytest.raises(UsageError, match=rf"is empty: .*\({required - 1} more field"):
        form.parse(read)


def test_a_form_that_is_filled_in_reads_as_its_values() -> None:
    values = parse("request", **REQUEST, technical_summary="Line: one\n\n  # two 'x' \"y\"\n- three", linkage="no")
    read = yaml_files.parse_yaml(FORM.render(values).encode(), "form.yaml")
    assert FORM.parse(read) == values


def test_values_stay_the_texts_that_they_were() -> None:
    assert yaml_files.parse_yaml(b"a: no\nb: 2026-06-30\nc: [1, ~]\nd: 0x1F\ne:\n", "f") == {
        "a": "no",
        "b": "2026-06-30",
        "c": ["1", "~"],
        "d": "0x1F",
        "e": "",
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: 1\na: 2\n", "f.yaml, line 2 cannot be read as YAML: a is there twice"),
        (b"title: Risk: an answer\n", "f.yaml, line 1 cannot be read as YAML.*needs quotes"),
        (b"a: &a [~]\nb: [*a, *a]\n", r"f.yaml, line 2 cannot be read as YAML: an alias \(\*name\) is not allowed"),
        (b"- a\n- b\n", "f.yaml has no fields. Get an empty form:  chest access form -o f.yaml"),
        (b"", "f.yaml has no fields"),
        (b"a: \xff\n", "f.yaml is not valid UTF-8"),
        (b"? [a]\n: b\n", "a key is no word"),
        (b"a: !!python/object/apply:os.system ['false']\n", "^$"),
        (b"[" * 1500, "nested too deeply"),
        (b"a: 1\n---\nb: 2\n", "cannot be read as YAML"),
        (b"a: *b\n", "cannot be read as YAML"),
    ],
)
def test_what_is_no_form_is_one_line(content: bytes, words: str) -> None:
    if words == "^$":  # a tag builds nothing: its value is a list of texts
        assert yaml_files.parse_yaml(content, "f.yaml") == {"a": ["false"]}
        return
    with pytest.raises(UsageError, match=words) as error:
        yaml_files.parse_yaml(content, "f.yaml")
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_form_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "big.yaml").write_bytes(b"a: " + b"x" * yaml_files.MOST_BYTES)
    with pytest.raises(UsageError, match="larger than 256 KiB"):
        yaml_files.read_yaml(tmp_path / "big.yaml")
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        yaml_files.read_yaml(tmp_path / "none.yaml")


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(["applicant", "team", "ends", "duo"]), st.recursive(st.text(), st.lists)))
def test_nothing_that_somebody_fills_in_is_a_fault(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"\AThe request is not valid: [^\n]*\Z"):
        FORM.parse(values)
