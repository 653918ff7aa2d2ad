"""Table 1: its numbers computed again from the views, its forms, and what an attacker could make of it."""

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest
from attack import Attack
from conftest import Chest, start_lake
from example_lakes import build_lake
from hypothesis import given, settings
from hypothesis import strategies as st

import warehouse
from warehouse.cohorts import group_statistics as statistics
from warehouse.cohorts.levels import NO_VALUE, SEVERAL
from warehouse.cohorts.table1 import FEWEST, OVERALL, Table1, build
from warehouse.disclosure_control import round_count
from warehouse.errors import UsageError
from warehouse.synthetic import make_bucket

BASE = 5
COHORT = """\
-- title: Films
-- question: Which films are there?
-- grain: image
-- label outcome: whether the patient died
-- label side: a label that differs within a patient
select
    SOPInstanceUID,
    images.patient_id,
    {outcome} as outcome,
    case when SOPInstanceUID = 'b2' then 'right' when SOPInstanceUID <> 'e1' then 'left' end as side
from images
left join admissions on images.patient_id = admissions.patient_id
where SOPInstanceUID is not null
"""
DIED = "case has_died when true then 'yes' when false then 'no' end"
#: Each image has its own name as SOPInstanceUID, as the tests of the label `side` need it.
FILMS = "patient | image | modality | maker\n" + "\n".join(
    f"{patient} | {patient}1 | {'CT' if patient == 'a' else 'CR'} | {maker}"
    for patient, maker in zip("abcdefghij", "AAAKKAKAKA", strict=True)
)
FILMS += "\nb | b2 | DX | A\nb | b3 | DX | A\nc | c2 | CR | K"
RECORDS = """
patient | uploaded   | positive_swab | centre | age | sex | itu | death | died_on
a       | 2020-04-20 | 2020-04-01    | Leeds  | 40  | F   | 1   | 1     | 2020-04-10
b       | 2020-04-20 | 2020-04-01    | Leeds  | 52  | M   | 0   | 0     |
c       | 2020-04-20 | 2020-04-01    | LEEDS  | 67  | F   | 0   | 1     | 2020-04-10
d       | 2020-04-20 | 2020-04-01    | Bath   |     | M   | 1   | 0     |
e       | 2020-04-20 | 2020-04-01    | Bath   | 81  | F   |     | 1     | 2020-04-10
f       | 2020-04-20 | 2020-04-01    | Bath   | 73  | M   | 1   | 0     |
g       | 2020-04-20 | 2020-04-01    | Bath   | 58  |     | 0   | 0     |
h       | 2020-04-20 | 2020-04-01    | Bath   | 35  | F   | 0   |       |
i       | 2020-04-20 | 2020-04-01    | Bath   | 90  | M   | 1   | 1     | 2020-04-10
j       | 2020-04-20 | 2020-04-01    | Bath   | 61  | M   | 0   | 0     |
"""
#: What tableone 0.9.6 makes of these patients (include_null=True, its default): missing, overall, no, yes, SMD.
TABLEONE = {
    ("Age, years, mean (SD)", ""): ("1", "61.9 (18.1)", "61.0 (8.8)", "69.5 (21.8)", "0.511"),
    ("Sex, n (%)", "female"): ("1", "4 (40.0)", "0 (0.0)", "3 (75.0)", "2.550"),
    ("Sex, n (%)", "male"): ("", "5 (50.0)", "4 (80.0)", "1 (25.0)", ""),
    ("Sex, n (%)", NO_VALUE): ("", "1 (10.0)", "1 (20.0)", "0 (0.0)", ""),
    ("Intensive care, n (%)", "no"): ("1", "5 (50.0)", "3 (60.0)", "1 (25.0)", "1.008"),
    ("Intensive care, n (%)", "yes"): ("", "4 (40.0)", "2 (40.0)", "2 (50.0)", ""),
    ("Intensive care, n (%)", NO_VALUE): ("", "1 (10.0)", "0 (0.0)", "1 (25.0)", ""),
}
#: The same with nonnormal=["age"].
TABLEONE_MEDIAN = ("61.0 [52.0,73.0]", "59.5 [56.5,64.0]", "74.0 [60.2,83.2]", "0.511")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[warehouse.Warehouse]:
    with build_lake(tmp_path_factory.mktemp("table1"), films_with_days(), RECORDS) as opened:
        yield opened


def films_with_days() -> str:
    head, *rows = FILMS.splitlines()
    return "\n".join([f"{head} | sop | day", *(f"{row} | {row.split('|')[1].strip()} | 2020-04-03" for row in rows)])


@pytest.fixture
def films(tmp_path: Path) -> Path:
    file = tmp_path / "films.sql"
    file.write_text(COHORT.format(outcome=DIED))
    return file


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sample")
    make_bucket(root / "bucket", 300, seed=5, stubs=True)
    warehouse.refresh(str(root / "bucket"), str(start_lake(root / "lake")))
    return root / "lake"


@pytest.fixture(scope="module")
def wh(lake: Path) -> Iterator[warehouse.Warehouse]:
    with warehouse.open(str(lake), trusted=False) as opened:
        yield opened


def read_csv(table: Table1, numeric: str = "mean") -> dict[tuple[str, str], tuple[str, ...]]:
    _, *rows = csv.reader(io.StringIO(table.render("csv", numeric=numeric)))
    return {(row[0], row[1]): tuple(row[2:]) for row in rows}


def find(table: Table1, name: str) -> warehouse.cohorts.table1.Characteristic:
    return next(one for one in table.characteristics if one.name == name)


def test_numbers_are_those_of_tableone(small: warehouse.Warehouse, films: Path) -> None:
    table = small.cohort(films).table1("outcome", suppress=0)
    assert table.groups == ("no", "yes", NO_VALUE)
    rows = read_csv(table)
    # Ours has a column for patients without an outcome, whom tableone has only in Overall.
    assert {key: (*rows[key][:4], rows[key][5]) for key in TABLEONE} == TABLEONE
    medians = read_csv(table, "median")["Age, years, median [Q1,Q3]", ""]
    assert (*medians[1:4], medians[5]) == TABLEONE_MEDIAN
    apart = small.cohort(films).table1("outcome", suppress=0, count_missing=False)
    assert read_csv(apart)["Sex, n (%)", "female"][:3] == ("1", "4 (44.4)", "0 (0.0)"), "include_null=False"
    assert ("Sex, n (%)", NO_VALUE) not in read_csv(apart)


def test_a_patient_counts_once_and_in_one_group(small: warehouse.Warehouse, films: Path) -> None:
    table = small.cohort(films).table1("side", suppress=0)
    assert table.n == {OVERALL: 10, "left": 8, SEVERAL: 1, NO_VALUE: 1}
    assert set(find(table, "sex").smd) == set(), "only one group is a value"
    modality, maker = find(table, "modality"), find(table, "manufacturer")
    assert {level: modality.count(level, OVERALL) for level in modality.levels} == {"CR": 8, "CR + DX": 1, "CT": 1}
    assert {level: maker.count(level, OVERALL) for level in maker.levels} == {"A": 5, "K": 4, SEVERAL: 1}
    centre = find(small.cohort(films).table1(suppress=0), "centre")
    assert {level: centre.count(level, OVERALL) for level in centre.levels} == {"Bath": 7, "Leeds": 3}, "one spelling"
    assert table.render("html").count(f"{SEVERAL}: patients whose rows have more than one value of side.") == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["covid_risk", "ventilation", "longitudinal_ct"])
def test_exact_numbers_are_those_of_pandas(wh: warehouse.Warehouse, name: str) -> None:
    cohort = wh.cohort(name)
    ids = sorted({str(row["patient_id"]) for row in cohort.rows.to_pylist()})
    frame = wh.patients().df().set_index("patient_id").loc[ids]
    table = cohort.table1("ethnicity" if name == "ventilation" else "sex", suppress=0)
    grouped = frame.groupby(table.by, dropna=False)["age"]
    ages = find(table, "age").summaries
    assert {OVERALL: len(ids), **grouped.size().rename({np.nan: NO_VALUE}).to_dict()} == {
        OVERALL: table.n[OVERALL],
        **{{"female": "F", "male": "M"}.get(group, group): table.n[group] for group in table.groups},
    }
    assert ages[OVERALL].mean == pytest.approx(frame["age"].mean())
    assert ages[OVERALL].sd == pytest.approx(frame["age"].std())
    assert ages[OVERALL].q1 == pytest.approx(np.nanpercentile(frame["age"], 25))
    assert ages[OVERALL].median == pytest.approx(frame["age"].median())
    centres = find(table, "centre")
    expected = Counter(frame["centre"].value_counts().tolist())
    assert Counter(centres.count(level, OVERALL) for level in centres.levels) == expected, "one level per centre"
    images = wh.images().df()
    key = cohort.definition.grain_column
    chosen = images[images[key].isin(cohort.rows[key].to_pylist()) & images["patient_id"].isin(ids)]
    together = chosen.groupby("patient_id")["Modality"].agg(lambda values: " + ".join(sorted(set(values.dropna()))))
    found = find(table, "modality")
    assert {level: found.count(level, OVERALL) for level in found.levels} == together.value_counts().to_dict()


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=2, max_size=6))
def test_differences_of_shares_are_those_of_yang_and_dalton(cells: list[tuple[int, int]]) -> None:
    first, second = [a for a, _ in cells], [b for _, b in cells]
    found = statistics.compare_shares(first, second)
    if not sum(first) or not sum(second):
        assert found is None
        return
    kept = np.array([pair for pair in cells if sum(pair)], dtype=float)
    p, q = (kept / kept.sum(axis=0)).T[:, 1:]
    covariance = ((np.diag(p) - np.outer(p, p)) + (np.diag(q) - np.outer(q, q))) / 2
    if len(p) and np.linalg.matrix_rank(covariance) < len(p):
        assert found is None or found == pytest.approx(0)
    elif len(p):
        expected = math.sqrt((q - p) @ np.linalg.solve(covariance, q - p))
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)
        assert statistics.compare_shares(first[::-1], second[::-1]) == pytest.approx(found, rel=1e-6, abs=1e-6)


@given(st.lists(st.integers(0, 109), min_size=30, max_size=300))
def test_ages_by_decade_are_near_the_exact_ones(ages: list[int]) -> None:
    found = statistics.summarize_bands(Counter(age // 10 * 10 for age in ages))
    series = pd.Series(ages)
    assert found.mean == pytest.approx(series.mean(), abs=5)
    assert found.median == pytest.approx(series.median(), abs=10)
    assert found.q1 <= found.median <= found.q3


CELLS = st.dictionaries(
    st.tuples(st.sampled_from(["x", "y", NO_VALUE]), st.sampled_from(["left", "right"])),
    st.integers(0, 4) | st.integers(0, 40),
    min_size=1,
)


def build_from(cells: dict[tuple[str, str], int], base: int = BASE) -> Table1:
    """A table 1 of counts, as if those of sex."""
    return build("Title", "source", "side", {"sex": {(*place, ""): n for place, n in cells.items()}}, {}, base)


@settings(deadline=None, max_examples=20)
@given(CELLS, st.booleans())
def test_cells_add_up_and_small_counts_stay_unknown(cells: dict[tuple[str, str], int], counted: bool) -> None:
    of_sex = {(*place, ""): n for place, n in cells.items()}
    table = build("Title", "source", "side", {"sex": of_sex}, {}, BASE, counted)
    assert table.n[OVERALL] == round_count(sum(cells.values()), BASE)
    assert sum(table.n[group] for group in table.groups) == table.n[OVERALL]
    (sex,) = table.characteristics
    attack = Attack(BASE)
    for column in table.columns:
        levels = dict.fromkeys([*sex.levels, NO_VALUE])
        assert sum(sex.count(level, column) for level in levels) == table.n[column]
    for level in ("x", "y", NO_VALUE):
        for group in ("left", "right"):
            attack.part(level + group, sex.count(level, group))
    attack.rounded("all", table.n[OVERALL])
    attack.know({"all": -1, **{level + group: 1 for level in ("x", "y", NO_VALUE) for group in ("left", "right")}})
    for level in ("x", "y", NO_VALUE):
        for group in ("left", "right"):
            if 0 < cells.get((level, group), 0) < BASE:
                assert len(attack.values({level + group: 1}, range(2 * BASE))) > 1
    hidden = {"left", "right"} - set(table.groups)
    heads = table.render("csv").splitlines()[0].split(",")
    assert not hidden & {*heads, *table.to_table()["group"].to_pylist()}, "a group that rounds to 0 is not named"


@given(CELLS)
def test_tables_with_the_same_rounded_counts_show_the_same(cells: dict[tuple[str, str], int]) -> None:
    """All that is shown is a function of the rounded counts: tables that round alike cannot be told apart."""
    table = build_from(cells)
    (sex,) = table.characteristics
    rounded = {(level, group): n for (level, group), n in sex.table.cells.items()}
    again = build_from(rounded or {("x", "left"): 0})
    for form in ("csv", "md", "tex", "html"):
        assert again.render(form) == table.render(form)


def test_ages_are_computed_from_rounded_counts_only(wh: warehouse.Warehouse) -> None:
    table = wh.cohort("covid_risk").table1("covid_status")
    bands, ages = find(table, "age_group"), find(table, "age")
    for column in table.columns:
        counts = {int(level.split()[0]): bands.count(level, column) for level in bands.levels if level != NO_VALUE}
        if sum(counts.values()) >= FEWEST:
            spread = [first + 4.5 for first, n in counts.items() for _ in range(n)]
            assert ages.summaries[column].mean == pytest.approx(np.mean(spread))
        else:
            assert column not in ages.summaries
    shown = read_csv(table)["Age, years, mean (SD)", ""]
    assert all(re.fullmatch(r"\d+ \(\d+\)|n < 10", cell) for cell in shown[1:-1]), "whole years"


def test_a_group_of_one_patient_is_not_named(small: warehouse.Warehouse, films: Path) -> None:
    table = small.cohort(films).table1("side")
    assert table.n == {OVERALL: 10, "left": 5, NO_VALUE: 5}, (
        "one of several sides is not named; the missing are the rest"
    )
    for form in ("csv", "md", "tex", "html"):
        assert not re.search(r"\b(?:1|2|3|4|6|7|8|9) \(", table.render(form)), "counts are multiples of 5"
    single = small.cohort(films, as_of="2020-04-02").table1()
    assert single.n == {OVERALL: 0}


@pytest.mark.slow
def test_the_command_writes_every_form(here: Chest, lake: Path, wh: warehouse.Warehouse, tmp_path: Path) -> None:
    words = ["cohort", "table1", "covid_risk", "--by", "covid_status", "--lake", str(lake)]
    printed = here(*words).stdout
    assert "Patients, n" in printed
    assert "SMD" in printed
    made = wh.cohort("covid_risk").table1("covid_status")
    for form in ("csv", "json", "md", "tex", "html"):
        here(*words, "-o", tmp_path / f"table.{form}")
        text = (tmp_path / f"table.{form}").read_text()
        assert form == "json" or text == made.render(form)
    assert here(*words, "--format", "json").stdout == (tmp_path / "table.json").read_text()
    here(*words, "-o", str(tmp_path / "table.xlsx"))
    book = openpyxl.load_workbook(tmp_path / "table.xlsx").active
    assert [[cell or "" for cell in row] for row in book.values] == [
        *csv.reader((tmp_path / "table.csv").read_text().splitlines())
    ]
    numbers = json.loads((tmp_path / "table.json").read_text())
    assert all(group["n"] % BASE == 0 for group in numbers["patients"])
    assert numbers["rounded_to"] == BASE
    page = (tmp_path / "table.html").read_text()
    assert "http" not in page, "loads nothing"
    tex = (tmp_path / "table.tex").read_text()
    assert tex.count(r"\toprule") == tex.count(r"\bottomrule") == 1
    assert {line.count(" & ") for line in tex.splitlines() if line.endswith(r"\\")} == {5}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--by", "covid_statu"), "Did you mean covid_status?"),
        (("--by", "SOPInstanceUID"), "identify patients"),
        (("--by", "SOPInstanceUID", "--suppress", "0"), "more than 40 values"),
        (("--format", "xlsx"), "-o FILE.xlsx"),
        (("-o", "table.docx"), ".tex"),
    ],
)
def test_mistakes_are_named(here: Chest, lake: Path, words: tuple[str, ...], message: str) -> None:
    done = here("cohort", "table1", "covid_risk", "--lake", lake, *words)
    assert done.returncode == 2
    assert message in done.stderr


def test_an_unknown_form_is_refused(wh: warehouse.Warehouse) -> None:
    table = wh.cohort("covid_risk").table1()
    with pytest.raises(UsageError, match="'rtf'"):
        table.render("rtf")
    with pytest.raises(UsageError, match="'mode'"):
        table.render(numeric="mode")


NASTY = "a|b & <b>c</b> $x_1$ 100% \\end{tabular} `d` #1 \x1b[31m*"


def test_names_are_escaped_in_each_form() -> None:
    table = build("Title", "source", "side", {"sex": {(NASTY, NASTY, ""): 20, ("x", "left", ""): 20}}, {}, BASE)
    page = table.render("html")
    assert "<b>" not in page
    assert "&lt;b&gt;c&lt;/b&gt;" in page
    marked = table.render("md")
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in marked.splitlines() if line.startswith("|")} == {7}
    assert "<b>" not in marked
    latex = table.render("tex")
    assert r"\textbackslash{}end\{tabular\}" in latex
    assert latex.count(r"\end{tabular}") == 1
    assert r"a\textbar{}b \& \textless{}b\textgreater{}c" in latex
    for text in (page, marked, latex):
        assert "\x1b" not in text


def follow(wh: warehouse.Warehouse, name: str, suppress: int) -> dict[tuple[str, str, str | None], dict[str, object]]:
    rows = wh.cohort(name).demographics(suppress=suppress).to_pylist()
    return {(row["step"], row["characteristic"], row["level"]): row for row in rows}


@pytest.mark.slow
def test_demographics_of_the_steps_are_those_of_pandas(wh: warehouse.Warehouse) -> None:
    found = follow(wh, "covid_risk", 0)
    cohort = wh.cohort("covid_risk")
    ids = sorted({str(row["patient_id"]) for row in cohort.rows.to_pylist()})
    frame = wh.patients().df().set_index("patient_id").loc[ids]
    age = found["answer", "age", None]
    assert age["mean"] == pytest.approx(frame["age"].mean())
    assert age["sd"] == pytest.approx(frame["age"].std())
    assert found["answer", "sex", "female"]["patients"] == (frame["sex"] == "F").sum()
    for level, n in frame["ethnicity"].value_counts().items():
        assert found["answer", "ethnicity", str(level)]["patients"] == n
    before, after = found["films", "age", None], found["of_age", "age", None]
    pooled = math.sqrt((before["sd"] ** 2 + after["sd"] ** 2) / 2)
    assert after["smd"] == pytest.approx((after["mean"] - before["mean"]) / pooled)


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("name", ["covid_risk", "ventilation"])
def test_rounded_demographics_add_up_to_the_attrition(wh: warehouse.Warehouse, name: str) -> None:
    cohort = wh.cohort(name)
    found = follow(wh, name, BASE)
    counts = {step.step: step for step in cohort.steps(suppress=BASE)}
    for characteristic in ("sex", "ethnicity", "centre", "age_group"):
        for step in counts.values():
            cells = {level: row for (s, c, level), row in found.items() if (s, c) == (step.step, characteristic)}
            assert sum(row["patients"] for row in cells.values()) == step.counts["patients"]
            for level, row in cells.items():
                assert row["patients"] % BASE == 0
                assert row["patients"] > 0, "a level that rounds to 0 is not named"
                if step.after:
                    assert row["patients"] <= found[step.after, characteristic, level]["patients"], "steps are nested"
    for (step, characteristic, _), row in found.items():
        if characteristic == "age" and counts[step].counts["patients"] < FEWEST:
            assert row["mean"] is None


@pytest.mark.slow
def test_demographics_as_a_command(here: Chest, lake: Path, tmp_path: Path) -> None:
    words = ["cohort", "attrition", "covid_risk", "--demographics", "--lake", lake]
    printed = here(*words).stdout
    assert "SMD from the previous step" in printed
    assert "Answer" in printed
    here(*words, "-o", tmp_path / "steps.csv")
    rows = [*csv.DictReader((tmp_path / "steps.csv").open())]
    assert {row["characteristic"] for row in rows} == {"age", "age_group", "sex", "ethnicity", "centre"}
    here(*words, "-o", tmp_path / "flow.svg")
    chart = (tmp_path / "flow.svg").read_text()
    shown = [int(n.replace(",", "")) for n in re.findall(r"<title>[^<]*: ([\d,]+) \(", chart)]
    assert shown
    assert all(n % BASE == 0 for n in shown)
    here(*words, "-o", tmp_path / "flow.png")
    assert (tmp_path / "flow.png").read_bytes().startswith(b"\x89PNG")
