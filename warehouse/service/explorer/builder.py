"""Builds the file of a cohort from what is chosen: its header, a step for each facet, and the grain."""

from __future__ import annotations

import re
from textwrap import wrap

from warehouse.cohorts.header import GRAINS
from warehouse.engine import sql_files
from warehouse.errors import UsageError
from warehouse.service.explorer.facets import AGE_BANDS, FACETS, MISSING
from warehouse.service.explorer.selection import Selection, describe_months

#: The column of each facet in the views; those of `patients` are joined to images.
_COLUMNS = {
    "status": "patients.covid_status",
    "sex": "patients.sex",
    "centre": "patients.centre",
    "age": "patients.age",
    "modality": "Modality",
    "vendor": "vendor",
}
_OF_PATIENTS = ("status", "sex", "age", "centre")
_LIMITS = (
    "Facts of a patient are those of the record in effect on the as-of date, whatever day they are of, and may be from "
    "after an image. A patient has several images: split training and test data by patient."
)
#: The most characters of a title.
_LONGEST_TITLE = 120


def build_cohort(selection: Selection, grain: str, title: str = "") -> str:
    """The text of the cohort's file: its rows are the patients, studies or images that fit all that is chosen.

    UsageError for a grain that the explorer does not offer, or a title that cannot be one.
    """
    if grain not in ("patient", "study", "image"):
        raise UsageError(f"The explorer makes cohorts of patients, studies or images, not {grain!r}.")
    title = " ".join(title.split()) or suggest_title(selection, grain)
    if len(title) > _LONGEST_TITLE or not title.isprintable():
        raise UsageError(f"A title is one line of up to {_LONGEST_TITLE} characters.")
    described = "; ".join(describe_choice(selection)) or "everything"
    texts = {
        "title": title,
        "question": f"Which {_plural(grain)} fit what was chosen in the explorer?",
        "definition": f"Chosen in the explorer: {described}.",
        "limits": _LIMITS,
        "grain": grain,
    }
    lines = [line for key, text in texts.items() for line in _wrap(f"-- {key}: {text}")]
    return "\n".join([*lines, _build_sql(selection, grain)])


def suggest_title(selection: Selection, grain: str) -> str:
    """A title that says what is chosen, cut to the length of one."""
    found = f"{_plural(grain).capitalize()}: {'; '.join(_list_words(selection).values()) or 'everything'}"
    return found if len(found) <= _LONGEST_TITLE else f"{found[: _LONGEST_TITLE - 1]}…"


def name_file(title: str) -> str:
    """The name of the file, from the title."""
    words = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")[:48].strip("_")
    return f"{words if words and words[0].isalpha() else 'cohort'}.sql"


def describe_choice(selection: Selection) -> list[str]:
    """What is chosen of each facet, in words."""
    return [f"{FACETS[name].title} {words}" for name, words in _list_words(selection).items()]


def _list_words(selection: Selection) -> dict[str, str]:
    found = {}
    for name in selection.active:
        if name == "month" and selection.months:
            found[name] = describe_months(selection.months)
        else:
            found[name] = " or ".join(FACETS[name].label(value) for value in selection.values[name])
    return found


def _build_sql(selection: Selection, grain: str) -> str:
    sql = sql_files.read_statements("explorer/cohort.sql")
    of_images = [name for name in selection.active if name not in _OF_PATIENTS]
    has_images = bool(of_images) or grain != "patient"
    before, start, meaning = "all_images", "from images", "All images, with body part and view."
    if not has_images:
        before, start, meaning = "all_patients", "from patients", "All patients."
    elif grain == "patient" and any(MISSING in selection.values.get(name, ()) for name in of_images):
        start, meaning = "from both", "All images, with body part and view; and the patients without one."
    steps = [f"-- {meaning}\n{sql_files.fill(sql[start], step=before)}"]
    for name, words in zip(selection.active, describe_choice(selection), strict=True):
        joins = name in _OF_PATIENTS and has_images
        condition = _build_condition(selection, name)
        filled = sql_files.fill(
            sql["patient column" if joins else "image column"],
            step=f"of_{name}",
            before=before,
            condition=condition if has_images else condition.replace("patients.", ""),
        )
        steps.append("\n".join([*_wrap(f"-- {words}.", "-- "), filled]))
        before = f"of_{name}"
    if grain != "patient":
        filled = sql_files.fill(sql[f"identified {grain}"], step="identified", before=before)
        steps.append(f"-- Each {grain} once, by its identifier.\n{filled}")
        before = "identified"
    return "with\n" + ",\n\n".join(steps) + f"\n\n{sql_files.fill(sql[f'answer {grain}'], before=before)}\n"


def _build_condition(selection: Selection, name: str) -> str:
    """The condition of a facet; values from the address are literals."""
    sql = sql_files.read_statements("explorer/cohort.sql")
    if name == "month":
        return _build_months(selection)
    values = [value for value in selection.values[name] if value != MISSING]
    among, missing = ("view among", "view missing") if name == "view" else ("among", "missing")
    column = _COLUMNS.get(name, "")
    parts = []
    if name == "age":
        parts = [_build_band(value) for value in values]
    elif values:
        listed = ", ".join(sql_files.literal(value) for value in values)
        parts = [sql_files.fill(sql[among], column=column, values=listed)]
    if MISSING in selection.values[name]:
        parts.append(sql_files.fill(sql[missing], column=column))
    return "\n        or ".join(parts)


def _build_months(selection: Selection) -> str:
    sql = sql_files.read_statements("explorer/cohort.sql")
    if not selection.months:
        return sql_files.fill(sql["missing"], column="StudyDate")
    first, last = selection.months
    parts = [sql_files.fill(sql["from month"], first=sql_files.literal(f"{first}-01"))] if first else []
    if last:
        parts.append(sql_files.fill(sql["until month"], last=sql_files.literal(f"{last}-01")))
    return " and ".join(parts)


def _build_band(value: str) -> str:
    """The condition of a band of ages; UsageError for one that does not exist."""
    sql = sql_files.read_statements("explorer/cohort.sql")
    found = next((band for band in AGE_BANDS if band[0] == value), None)
    if found is None:
        raise UsageError(f"There is no band of ages {value!r}. They are {', '.join(name for name, *_ in AGE_BANDS)}.")
    _, least, most = found
    parts = [sql_files.fill(sql["from age"], least=str(least))]
    if most is not None:
        parts.append(sql_files.fill(sql["below age"], most=str(most)))
    return f"({' and '.join(parts)})"


def _plural(grain: str) -> str:
    assert grain in GRAINS
    return {"study": "studies"}.get(grain, f"{grain}s")


def _wrap(line: str, indent: str = "--   ") -> list[str]:
    return wrap(line, 118, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)
