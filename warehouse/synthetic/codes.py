"""Writes codes as centres do: sex, ethnic group, yes and no, categories, test results, report codes."""

from __future__ import annotations

from warehouse.synthetic.entries import Entry, RecordWriter, Slips, write_blank, write_no_value

FROM_TEXT, NO_CODE, SAYS_UNKNOWN = ("code_from_text",), ("not_a_code",), ("unknown_code",)
POSITIVE, NEGATIVE = "Positive", "Negative"


def write_code(pen: RecordWriter, value: int, *slips: Entry, share: float = 0.04, unknown: int | None = None) -> Entry:
    """A code as a number, as text or blank; a share of the entries are one of `slips`.

    The code `unknown` means an unknown answer: a valid code without a usable value.
    """
    if slips and pen.slips(share):
        return pen.rng.choice(slips)
    entry = pen.write(value, _write_plain_code, _SLIPS)
    return (
        entry._replace(clean=None, rules=SAYS_UNKNOWN) if entry.clean is not None and entry.clean == unknown else entry
    )


def _write_plain_code(pen: RecordWriter, value: int) -> Entry:
    return Entry(value if pen.rng.random() < 0.45 else str(value), value)


_SLIPS: Slips[int] = (
    (0.03, write_blank),
    (0.01, lambda _, value: Entry(f" {value}", value)),
    (0.004, lambda pen, _: Entry(pen.rng.choice(("9", 12, "-1", "1.5")), None, NO_CODE)),
    (0.001, write_no_value),
)


def write_flag(pen: RecordWriter, answer: bool | None, *slips: Entry, share: float = 0.04) -> Entry:
    """Write no, yes or unknown (None)."""
    if answer is not None and pen.slips(0.01):
        return Entry(f"{int(answer)}.0", answer)
    entry = write_code(pen, 2 if answer is None else int(answer), *slips, share=share, unknown=2)
    return entry if entry.clean is None else entry._replace(clean=bool(entry.clean))


def list_mixed_slips(yes: str) -> tuple[Entry, ...]:
    """The errors of a yes or no field that accepts a name after its code."""
    return (
        Entry(f"1 {yes}", True, FROM_TEXT),
        Entry(f"0 ({yes} stopped)", False, FROM_TEXT),
        Entry("unknown", None, NO_CODE),
        Entry("3", None, NO_CODE),
    )


CKD = (
    Entry("1 - stage 3", True, FROM_TEXT),
    Entry("0 none", False, FROM_TEXT),
    Entry("Yes", None, NO_CODE),
    Entry("4", None, NO_CODE),
)
HYPERTENSION = (Entry("1es", True, FROM_TEXT), Entry("3", None, NO_CODE))
DIABETES = (
    Entry("Yes", True, FROM_TEXT),
    Entry("3", None, NO_CODE),
    Entry("diet", None, NO_CODE),
)
CVS = (Entry("1 - MI 2012", 1, FROM_TEXT), Entry("AF", None, NO_CODE), Entry("5", None, NO_CODE))
LUNG = (
    Entry("5 bronchiectasis", 5, FROM_TEXT),
    Entry("5 - Lung Ca", 5, FROM_TEXT),
    Entry("COPD", None, NO_CODE),
    Entry("7", None, NO_CODE),
)
SMOKING = (Entry("ex-smoker", None, NO_CODE), Entry("1 (stopped 1998)", 1, FROM_TEXT), Entry("4", None, NO_CODE))
STAGE = (
    Entry("3a", 3, FROM_TEXT),
    Entry("Stage 4", 4, FROM_TEXT),
    Entry("CKD", None, NO_CODE),
    Entry("1", None, NO_CODE),
)
SEVERITY = (
    Entry("2 moderate", 2, FROM_TEXT),
    Entry("severe", None, NO_CODE),
    Entry("0", None, NO_CODE),
    Entry("4", None, NO_CODE),
)
OUTCOME = (Entry("HDU", None, NO_CODE), Entry("2", None, NO_CODE), Entry("no", None, NO_CODE))


def write_report_code(pen: RecordWriter, value: int) -> Entry:
    """The radiologist's COVID code: a bare digit, or CVCX and the digit."""
    if pen.slips(0.05):
        return pen.rng.choice(_REPORTS)
    if pen.slips(0.5):
        return Entry(f"{pen.rng.choice(('CVCX', 'CVCX', 'CVCX', 'cvcx'))}{value}", value)
    return pen.write(value, _write_plain_code, ((0.03, write_blank),))


_REPORTS = (
    Entry("Classic", None, NO_CODE),
    Entry("2 - indeterminate", None, NO_CODE),
    Entry("CVCX4", None, NO_CODE),
    Entry("CVCX", None, NO_CODE),
    Entry("N/A", None, NO_CODE),
    Entry("5", None, NO_CODE),
)


def write_result(pen: RecordWriter, positive: bool) -> Entry:
    """The result of a test."""
    return pen.write(positive, _write_plain_result, _RESULT_SLIPS)


def write_swab_result(pen: RecordWriter, positive: bool) -> Entry:
    """Write the result in a status record, where the laboratory's phrase is not accepted."""
    entry = write_result(pen, positive)
    return entry._replace(clean=None, rules=("not_a_result",)) if "pcr_phrase" in entry.rules else entry


def _write_plain_result(pen: RecordWriter, positive: bool) -> Entry:
    sent = int(positive)
    return Entry(sent if pen.rng.random() < 0.3 else str(sent), POSITIVE if positive else NEGATIVE)


def _write_phrase(pen: RecordWriter, positive: bool) -> Entry:
    if not positive:  # only the positive phrase is recognised
        return Entry("RNA NOT DETECTED (SARS-CoV-2)", None, ("not_a_result",))
    text = pen.rng.choice(("RNA DETECTED (SARS-CoV-2)", "rna detected (sars-cov-2)"))
    return Entry(text, POSITIVE, ("pcr_phrase",))


_RESULT_SLIPS: Slips[bool] = (
    (0.08, _write_phrase),
    (0.02, lambda pen, _: Entry(pen.rng.choice(("pending", "inconclusive", "2", "3", "o")), None, ("not_a_result",))),
    (0.03, write_blank),
)


def write_sex(pen: RecordWriter, value: str) -> Entry:
    """F or M, as a letter or a digit."""
    digit = "0" if value == "F" else "1"
    slips: Slips[str] = (
        (0.01, write_blank),
        (0.018, lambda pen, _: Entry(pen.rng.choice(("2", 3, "U", "unknown")), None, ("sex_not_known",))),
        (0.03, lambda *_: Entry(int(digit), value)),
        (0.01, lambda *_: Entry(f"{digit}.0", value)),
        (0.02, lambda *_: Entry(value.lower(), value)),
        (0.01, lambda *_: Entry(f"{value} ", value)),
    )
    return pen.write(value, lambda pen, value: Entry(pen.rng.choice((value, digit)), value), slips)


def write_ethnicity(pen: RecordWriter, group: str) -> Entry:
    """An ethnic group: a letter of the NHS, a local code under it, or words; blank is Unknown as well."""
    if pen.slips(0.04):
        return pen.rng.choice(_NO_ETHNICITY)
    if group in _PHRASES and pen.slips(0.03):
        return Entry(pen.rng.choice(_PHRASES[group]), group, ("ethnicity_by_words",))
    if pen.slips(0.35):
        return Entry(pen.rng.choice(_WORDS[group]), group)
    letter = pen.rng.choice(_LETTERS[group])
    return Entry(letter.lower() if pen.slips(0.02) else f" {letter}" if pen.slips(0.02) else letter, group)


UNKNOWN = "Unknown"
GROUPS = {"White": 66, "Asian": 14, "Black": 8, "Multiple": 3, "Other": 5, UNKNOWN: 4}
"""The ethnic groups, with percentages."""
_LETTERS = {
    "White": ("A", "A", "A", "B", "C", "C2", "CX"),
    "Asian": ("H", "J", "K", "L", "LB", "R"),
    "Black": ("M", "N", "P", "PD"),
    "Multiple": ("D", "E", "F", "G", "GA"),
    "Other": ("S", "SC"),
    UNKNOWN: ("Z", "99", "0"),
}
_WORDS = {
    "White": ("White - British", "White - British", "White", "Irish", "Any other White background"),
    "Asian": ("Indian", "Pakistani", "Bangladeshi", "Asian or Asian British - Indian", "Chinese"),
    "Black": ("Caribbean", "African", "Black or Black British - African"),
    "Multiple": ("White and Black Caribbean", "Mixed - White and Asian", "Any other mixed background"),
    "Other": ("Any other ethnic group", "Other"),
    UNKNOWN: ("Unknown", "not recorded", "not stated"),
}
# Not in a table; recognised by a word.
_PHRASES = {
    "White": ("WHITE - Scottish", "White (Polish)"),
    "Multiple": ("Mixed white and asian", "Multiple backgrounds"),
}
_NO_ETHNICITY = (
    Entry(" ", UNKNOWN),
    Entry(None, UNKNOWN),
    Entry(99, UNKNOWN),
    Entry("prefer not to say", UNKNOWN, ("ethnicity_not_recognised",)),
    Entry("X9", UNKNOWN, ("ethnicity_not_recognised",)),
)
