"""The facets: by what patients can be chosen, in the order of the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: The value of patients and images that have none; no centre, vendor or code is written so.
MISSING = "(none)"


@dataclass(frozen=True, slots=True)
class Facet:
    """A facet. `is_partition`: a patient has one value of it. `order` puts its values in an order of their own."""

    name: str
    title: str
    is_partition: bool
    missing: str
    labels: Mapping[str, str] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    is_chart: bool = False

    def label(self, value: str) -> str:
        """A value as people read it."""
        if value == MISSING:
            return self.missing
        return capitalise_name(value) if self.name == "centre" else self.labels.get(value, value)


_SMALL_WORDS = frozenset({"and", "of", "the", "on", "for", "in", "upon"})


def capitalise_name(name: str) -> str:
    """The folded name of a centre (fold_centre) with capital letters, as it is usually written."""
    words = name.split(" ")
    return " ".join(
        "NHS" if word == "nhs" else word if word in _SMALL_WORDS and place else word[:1].upper() + word[1:]
        for place, word in enumerate(words)
    )


#: Bands of age: the name, the youngest age, and the age below which they end (None: no end).
AGE_BANDS: tuple[tuple[str, int, int | None], ...] = (
    ("0-17", 0, 18),
    ("18-29", 18, 30),
    *((f"{age}-{age + 9}", age, age + 10) for age in range(30, 90, 10)),
    ("90+", 90, None),
)

_VENDORS = {
    name: name.capitalize()
    for name in ("agfa", "canon", "carestream", "fujifilm", "hologic", "kodak", "philips", "samsung", "siemens")
}

FACETS: dict[str, Facet] = {
    facet.name: facet
    for facet in (
        Facet(
            "status",
            "COVID-19 status",
            True,
            "No record",
            {"positive": "Positive", "negative": "Negative"},
            ("positive", "negative"),
        ),
        Facet("sex", "Sex", True, "Not stated", {"F": "Female", "M": "Male", "O": "Other"}, ("F", "M", "O")),
        Facet(
            "modality",
            "Modality",
            False,
            "No image",
            {
                "CR": "CR, X-ray",
                "DX": "DX, digital X-ray",
                "CT": "CT",
                "MR": "MR",
                "OT": "OT, other",
            },
        ),
        Facet(
            "view",
            "View of the film",
            False,
            "No film",
            {"frontal": "Frontal", "lateral": "Lateral", "other": "Oblique or decubitus", "unknown": "Not stated"},
            ("PA", "AP", "frontal", "lateral", "other", "unknown"),
        ),
        Facet("vendor", "Manufacturer", False, "Not stated", {**_VENDORS, "ge": "GE"}),
        Facet(
            "age",
            "Age",
            True,
            "Not stated",
            {name: name.replace("-", "–") for name, *_ in AGE_BANDS},
            tuple(name for name, *_ in AGE_BANDS),
            is_chart=True,
        ),
        Facet("centre", "Centre", True, "No record", is_chart=True),
        Facet("month", "Month of the study", False, "No date", is_chart=True),
    )
}
