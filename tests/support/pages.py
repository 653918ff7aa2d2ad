"""Takes the page of a quality report apart, and makes figures up for one."""

import re
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from pathlib import Path

from warehouse.quality_report.model import (
    STATUSES,
    Checked,
    Figures,
    Filled,
    Imaged,
    Patients,
    Repairs,
    Rule,
    Scope,
    Studies,
    Totals,
    to_percent,
)
from warehouse.query import checks

CHECKS = checks.load_definitions()


class Page(HTMLParser):
    """A page taken apart: its elements with their attributes, its text, the rows of its tables, the texts of charts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self.tooltips: list[str] = []
        self.marks: list[str] = []
        self.text = ""
        self._starts: list[int] = []
        self._into: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "table":
            self._starts.append(len(self.rows))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th", "title", "text"):
            self._into.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.rows[-1].append(" ".join(self._into.pop().split()))
        if tag == "title":
            self.tooltips.append(self._into.pop())
        if tag == "text":
            self.marks.append(self._into.pop())

    def handle_data(self, data: str) -> None:
        self.text += data
        self._into = [text + data for text in self._into]

    def table(self, *heads: str) -> list[list[str]]:
        """The rows of the table whose head begins with these."""
        start = next(place for place in self._starts if tuple(self.rows[place][: len(heads)]) == heads)
        end = next((place for place in self._starts if place > start), len(self.rows))
        return self.rows[start + 1 : end]

    def counts(self) -> dict[str, int]:
        """The counts on top, by name."""
        found = re.findall(r"<dt>([a-z ]+)</dt><dd>([\d,]+)</dd>", self.source)
        return {name: int(number.replace(",", "")) for name, number in found}


def build_figures(
    cells: dict[tuple[str, str], int],
    studies: dict[tuple[date | None, str], int] | None = None,
    repairs: dict[tuple[str, str], tuple[int, int]] | None = None,
    filled: dict[str, tuple[int, int]] | None = None,
    found: dict[str, int] | None = None,
    imaged: dict[tuple[date | None, tuple[str, ...]], int] | None = None,
) -> Figures:
    """Build figures: patients by centre and status, studies, repairs (values and patients), a field's completeness.

    Patients of a month by their modalities (`imaged`) are those of a study each, unless given.
    """
    by_status = {status: sum(n for (_, s), n in cells.items() if s == status) for status in STATUSES}
    studies, repairs = studies or {}, repairs or {}
    imaged = imaged or {(month, (modality,)): n for (month, modality), n in studies.items()}
    modalities: dict[str, int] = {}
    for (_, modality), n in studies.items():
        modalities[modality] = modalities.get(modality, 0) + n
    centres: dict[str, int] = {}
    for (centre, _), n in cells.items():
        centres[centre] = centres.get(centre, 0) + n
    rules = []
    for rule in dict.fromkeys(rule for _, rule in repairs):
        of_rule = [numbers for (_, name), numbers in repairs.items() if name == rule]
        n_values, n_patients = (sum(numbers) for numbers in zip(*of_rule, strict=True))
        rules.append(Rule(rule, "repaired", "", n_values, n_patients, len(of_rule)))
    return Figures(
        Scope("lake", (), "training", None, 1, datetime(2020, 1, 1, tzinfo=UTC), "0"),
        Totals(
            n_patients=sum(cells.values()),
            n_positive=by_status["positive"],
            n_negative=by_status["negative"],
            n_without_record=by_status["none"],
            n_studies=sum(studies.values()),
            n_undated_studies=sum(n for (month, _), n in studies.items() if month is None),
            n_series=1000,
            n_images=1000,
            n_clinical_files=1000,
            n_rejects=0,
            inventory=dict.fromkeys(("objects", "image_json", "clinical_json", "dcm", "other", "rejected"), 0),
        ),
        [Studies(month, modality, n) for (month, modality), n in studies.items()],
        [Imaged(month, modalities, n) for (month, modalities), n in imaged.items()],
        modalities,
        [Patients(centre, status, n) for (centre, status), n in cells.items()],
        centres,
        [Filled("outcome", "death", c, to_percent(f, n), f, n) for c, (f, n) in (filled or {}).items()],
        [Repairs(c, rule, 3, values, patients, 1000) for (c, rule), (values, patients) in repairs.items()],
        rules,
        [Checked(CHECKS[name], n, n > 0, n) for name, n in (found or {}).items()],
        [],
    )
