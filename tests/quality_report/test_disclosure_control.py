"""Small counts cannot be recovered: by a solver from all that is shown together, nor by whoever rounds every table that
there could be and looks which gives what is shown."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import date
from functools import partial
from itertools import product
from pathlib import Path

import pytest
from attack import Attack
from conftest import Chest, start_lake
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import build_figures

import warehouse
from warehouse.cohorts import attrition, confounding
from warehouse.cohorts.levels import NO_VALUE, round_levels, round_levels_by
from warehouse.cohorts.table1 import OVERALL
from warehouse.disclosure_control import (
    Table,
    format_rounded,
    round_cells,
    round_count,
    round_parts,
    round_regions,
    round_table,
)
from warehouse.errors import UsageError
from warehouse.quality_report import metrics, suppression
from warehouse.quality_report.model import NO_RECORD, NOT_NAMED, STATUSES
from warehouse.settings import load_suppress
from warehouse.synthetic import make_bucket

BASE = 5
SMALL = range(1, BASE)
#: A cohort that uses facts from the future beside its label.
LATER = """\
-- title: Films and what came after
-- question: Which films are there, and who died?
-- grain: study
select StudyInstanceUID, studies.patient_id, death
from studies
inner join clinical on studies.patient_id = clinical.patient_id
where StudyDate is not null
"""
#: A cohort whose steps part and come together again.
BRANCHES = """\
-- title: Women and men
-- question: Who is in?
-- grain: study
with
women as (select patient_id from patients where sex = 'F'),
men as (select patient_id from patients where sex = 'M'),
young_women as (select patients.patient_id from patients semi join women using (patient_id) where age < 50),
everyone as (select patient_id from women union all select patient_id from men)
select StudyInstanceUID, studies.patient_id from studies semi join everyone using (patient_id)
"""
#: A cohort whose SQL fixes how many images each patient has: seven, five of them in the last step.
FIXED = """\
-- title: Seven images each
-- question: Which are the first seven images of whoever has as many?
-- grain: image
-- label Modality: CR or DX
with
numbered as (
    select patient_id, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, Modality, StudyDate,
        row_number() over (partition by patient_id order by SOPInstanceUID) as place,
        count(*) over (partition by patient_id) as n
    from (
        select * from images where SOPInstanceUID is not null
        qualify row_number() over (partition by SOPInstanceUID order by key) = 1
    )
),
sevens as (select * from numbered where n >= 7 and place <= 7),
fives as (select * from sevens where place <= 5)
select SOPInstanceUID, patient_id, Modality, StudyDate from fives
"""
#: A cohort of few patients with more images.
FEW = """\
-- title: Most studied
-- question: Who has most images?
-- grain: image
with few as (select patient_id from patients order by n_images desc, patient_id limit 2)
select SOPInstanceUID, images.patient_id from images semi join few using (patient_id)
where SOPInstanceUID is not null
qualify row_number() over (partition by SOPInstanceUID order by key) = 1
"""
#: Mostly small: that is where there is something to protect.
COUNTS = st.integers(0, 4) | st.integers(0, 30)


@given(st.integers(0, 10_000), st.integers(0, 40))
def test_a_count_is_rounded_down(count: int, base: int) -> None:
    shown = round_count(count, base)
    if base < 2:
        assert shown == count
        return
    assert shown % base == 0
    assert 0 <= count - shown < base
    assert format_rounded(shown, base) == (f"under {base}" if count < base else f"{shown:,}")


@given(st.lists(COUNTS, max_size=9), st.integers(0, 12))
def test_parts_add_up_to_their_rounded_total(parts: list[int], base: int) -> None:
    shown = round_parts(parts, base)
    assert sum(shown) == round_count(sum(parts), base)
    assert all(abs(a - b) < max(base, 1) and a >= 0 for a, b in zip(shown, parts, strict=True))
    assert all(not shown % base for shown in shown) if base else shown == parts


@pytest.mark.parametrize(("n_parts", "most"), [(1, 22), (2, 22), (3, 22), (4, 17)])
def test_rounding_every_list_discloses_no_small_count(n_parts: int, most: int) -> None:
    giving = defaultdict(list)
    for parts in product(range(most + 1), repeat=n_parts):
        if sum(parts) <= most:
            giving[tuple(round_parts(parts, BASE))].append(parts)
    nothing_is_recovered(giving, most, n_parts)


def test_rounding_every_table_discloses_no_small_count() -> None:
    most, names = 12, ("a", "b")
    giving = defaultdict(list)
    for cells in product(range(most + 1), repeat=4):
        if sum(cells) <= most:
            table = round_table(names, names, dict(zip(product(names, names), cells, strict=True)), BASE)
            giving[tuple(table.cells.get(place, 0) for place in product(names, names))].append(cells)
    nothing_is_recovered(giving, most, 4)


def test_totals_shared_by_tables_disclose_no_small_count() -> None:
    """Only positive patients have an admission, those without a record no centre; check and views count some again.

    By largest remainders alone 3 or 4 was left of many a count, and of some, such as (2, 3, 4), a single value.
    """
    most = 14
    giving = defaultdict(list)
    for yes, no, negative, missing, here in product(range(most + 1), repeat=5):
        known = yes + no + negative
        if known + missing > most or here > known:
            continue
        status, admission, centre = (yes + no, negative, missing), (no, yes, negative + missing), (here, known - here)
        shown = (*round_parts(status, BASE, nested=3), *round_parts(admission, BASE, nested=1))
        shown += (*round_parts((*centre, missing), BASE, nested=1),)
        by_themselves = (round_count(n, BASE) for n in (missing, yes + no, known))
        giving[*shown, *by_themselves].append((*status, *admission, *centre))
    tried = 0
    for shown, tables in giving.items():
        for place, values in enumerate(map(set, zip(*tables, strict=True))):
            if values & {*SMALL} and sum(shown[:3]) + BASE - 1 <= most:
                tried += 1
                assert len(values) >= 4, f"cell {place} of {shown} must be {values}"
    assert tried


LEVELS = ("female", "male"), ("positive", "negative", NO_VALUE)


def show_both_ways(counts: Mapping[tuple[str, str], int]) -> tuple[tuple[object, ...], tuple[object, ...]]:
    """The pages about two traits of the same patients: each alone, each by the other, and its levels as steps."""
    pages, steps = list[object](), list[object]()
    for axis in (0, 1):
        alone: Counter[str] = Counter()
        for place, n in counts.items():
            alone[place[axis]] += n
        shown = {level: n for level, n in round_levels(alone, BASE).items() if n}
        table = round_levels_by({(p[axis], p[1 - axis], p[1]): n for p, n in counts.items()}, BASE)
        assert table.row_totals == shown, "a level is rounded in one way, whatever it is shown by"
        pages.append(table)
        place_of = {level: place for place, level in enumerate(LEVELS[axis])}
        regions = {f"{1 << place_of[level]:03b}": n for level, n in alone.items()}
        steps += sorted((region, n) for region, n in round_regions(regions, BASE).items() if n)
    first, second = pages
    assert isinstance(first, Table)
    assert isinstance(second, Table)
    assert first.cells == {(row, column): n for (column, row), n in second.cells.items()}
    tables = (tuple(sorted((k, n) for k, n in t.cells.items() if n)) for t in (first, second))
    return (first.total, *tables), tuple(steps)


@pytest.mark.slow
def test_whoever_has_all_pages_about_two_traits_finds_no_small_count() -> None:
    """Table 1 with and without --by, by either trait, confounders, and steps of which each has the patients of a level.

    With totals of their own, a page each by sex, by status and overall left a single value of many a count: of each in
    (0, 1, 1, 2, 1, 0). Steps are rounded together, in the order of the file: they leave fewer values."""
    most, places = 9, [*product(*LEVELS)]
    giving: dict[bool, dict[tuple[object, ...], list[tuple[int, ...]]]] = {True: {}, False: {}}
    for cells in product(range(most + 1), repeat=len(places) - 1):
        for last in range(most + 1 - sum(cells)):
            counts = {place: n for place, n in zip(places, (*cells, last), strict=True) if n}
            traits = (sum(counts.get((sex, status), 0) for sex in LEVELS[0]) for status in LEVELS[1])
            tables, steps = show_both_ways(counts)
            world = (*cells, last, *traits)
            giving[False].setdefault(tables, []).append(world)
            giving[True].setdefault((*tables, *steps), []).append(world)
    for has_steps, found in giving.items():
        tried = 0
        for (total, *_), worlds in found.items():
            if not isinstance(total, int) or total + BASE - 1 > most:
                continue  # larger tables are shown alike
            for values in map(set, zip(*worlds, strict=True)):
                if values & {*SMALL}:
                    tried += 1
                    assert len(values) >= (2 if has_steps else 4)
        assert tried


@given(st.lists(st.lists(COUNTS, min_size=3, max_size=3), min_size=1, max_size=5), st.integers(5, 9))
def test_cells_add_up_to_both_totals(true: list[list[int]], base: int) -> None:
    turned = [[*column] for column in zip(*true, strict=True)]
    rows, columns = (round_parts([*map(sum, cells)], base) for cells in (true, turned))
    shown = round_cells(true, rows, columns, base)
    assert [*map(sum, shown)] == rows
    assert [*map(sum, zip(*shown, strict=True))] == columns
    assert [[*row] for row in zip(*round_cells(turned, columns, rows, base), strict=True)] == shown
    assert not any(n % base for row in shown for n in row)
    assert all(
        n >= 0 and -base < n - was < 2 * base
        for a, b in zip(shown, true, strict=True)
        for n, was in zip(a, b, strict=True)
    )


@given(
    st.dictionaries(st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", NO_VALUE])), COUNTS),
    st.dictionaries(st.sampled_from(["x", "y", NO_VALUE]), COUNTS, min_size=1),
)
def test_what_is_missing_is_rounded_in_one_way(known: dict[tuple[str, str], int], missing: dict[str, int]) -> None:
    """However the others are divided: whoever knows that the same patients lack both has one number, not two."""
    lack = {(NO_VALUE, column): n for column, n in missing.items()}
    merged = Counter(lack)
    for (_, column), n in known.items():
        merged["all", column] += n
    fine, coarse = (
        round_levels_by({(*place, ""): n for place, n in of.items()}, BASE) for of in ({**known, **lack}, merged)
    )
    for column in ("x", "y", NO_VALUE):
        assert fine.cells.get((NO_VALUE, column), 0) == coarse.cells.get((NO_VALUE, column), 0)


@given(
    st.dictionaries(st.tuples(st.sampled_from(["yes", "no", NO_VALUE]), st.sampled_from(["x", "y", NO_VALUE])), COUNTS),
    st.dictionaries(st.tuples(st.sampled_from(["negative", NO_VALUE]), st.sampled_from(["x", "y"])), COUNTS),
)
def test_positive_patients_are_rounded_in_one_way(
    admitted: dict[tuple[str, str], int], others: dict[tuple[str, str], int]
) -> None:
    """Only they have an admission: those who have, and those of the positive who have none, are the positive."""
    counts: Counter[tuple[str, str, str]] = Counter()
    by_group: Counter[tuple[str, str, str]] = Counter()
    for status, placed in (("positive", admitted), ("", others)):
        for (level, group), n in placed.items():
            of = status or level
            counts[level if status else NO_VALUE, group, of] += n
            by_group[of, group, of] += n
    admission, statuses = round_levels_by(counts, BASE), round_levels_by(by_group, BASE)
    turned = round_levels_by({(group, level, of): n for (level, group, of), n in counts.items()}, BASE)
    assert turned.cells == {(group, level): n for (level, group), n in admission.cells.items()}
    is_all = not any(n for (level, _), n in admitted.items() if level == NO_VALUE)
    for group in ("x", "y", NO_VALUE):
        known = sum(admission.cells.get((level, group), 0) for level in ("yes", "no"))
        positive = statuses.cells.get(("positive", group), 0)
        assert known == positive if is_all else known <= positive


def nothing_is_recovered(giving: Mapping[tuple[int, ...], list[tuple[int, ...]]], most: int, n_cells: int) -> None:
    """Asserts that of all tables that are shown alike each cell that may be small has one of four values at least."""
    tried = 0
    for shown, tables in giving.items():
        if sum(shown) + BASE // 2 > most:
            continue  # larger tables are shown alike
        for place in range(n_cells):
            values = {table[place] for table in tables}
            if values & {*SMALL}:
                tried += 1
                assert len(values) >= 4, f"cell {place} of {shown} must be {values}"
    assert tried


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(COUNTS, COUNTS), min_size=1, max_size=5), st.lists(st.integers(0, 2), min_size=5, max_size=5))
def test_tables_of_the_same_rows_together(cells: list[tuple[int, int]], moved: list[int]) -> None:
    """As `chest cohort confounders` shows them: the rows of each label, by one attribute and by another."""
    first = {(f"a{i}", label): n for i, row in enumerate(cells) for label, n in zip("xy", row, strict=True)}
    second: Counter[tuple[str, str]] = Counter()
    for (name, label), n in first.items():
        second[f"b{moved[int(name[1:])]}", label] += n
    tables = [(true, round_table(sorted({r for r, _ in true}), "xy", true, BASE)) for true in (first, second)]
    attack = Attack(BASE)
    attack.rounded("all", tables[0][1].total)
    for true, table in tables:
        assert table.total == sum(table.cells.values()) == sum(table.column_totals.values())
        for label in "xy":
            attack.part(label, table.column_totals.get(label, 0))
            names = [f"{row} {label}" for row, of in true if of == label]
            for name in names:
                attack.part(name, table.cells.get((name.split()[0], label), 0))
            attack.know({label: -1, **dict.fromkeys(names, 1)})
    attack.know({"all": -1, "x": 1, "y": 1})
    for true, _ in tables:
        for (row, label), n in true.items():
            if n in SMALL:
                found = attack.values({f"{row} {label}": 1}, [0, *SMALL, BASE])
                assert found >= {*SMALL}, f"{row} {label} is among {found}"


#: Patients of each region of some steps, and how many more images than patients these have.
REGIONS = st.integers(1, 4).flatmap(
    lambda n_steps: st.dictionaries(
        st.text("01", min_size=n_steps, max_size=n_steps).filter(lambda region: "1" in region),
        st.tuples(st.integers(1, 4) | st.integers(1, 30), st.integers(0, 9)),
        min_size=1,
        max_size=6,
    )
)


@given(REGIONS, st.integers(0, 12))
def test_regions_of_steps_are_rounded_together(regions: dict[str, tuple[int, int]], base: int) -> None:
    true = {region: n for region, (n, _) in regions.items()}
    shown = round_regions(true, base)
    assert shown.keys() == true.keys(), "an empty region stays empty"
    assert sum(shown.values()) == round_count(sum(true.values()), base)
    assert all(0 <= abs(shown[region] - n) < max(base, 1) for region, n in true.items())
    assert all(n % base == 0 for n in shown.values()) if base else shown == true
    first = [sum(n for region, n in sizes.items() if region[0] == "1") for sizes in (true, shown)]
    assert first[1] == round_count(first[0], base), "the first set is rounded as it is by itself"


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(REGIONS)
def test_attrition(regions: dict[str, tuple[int, int]]) -> None:
    """Steps that branch, unite and narrow each other, in patients and in images, of which a patient has one or more.

    The attacker is given more than a page shows: each region's rounded size, and how these are computed.
    """
    true = {
        "patients": {region: n for region, (n, _) in regions.items()},
        "images": {region: n + more for region, (n, more) in regions.items()},
    }
    attack = Attack(BASE)
    for what, sizes in true.items():
        shown, upto = round_regions(sizes, BASE), 0
        for region in sizes:
            attack.unknown(f"{what} {region}", 1)
        names = sorted(sizes, reverse=True)
        for place, region in enumerate(names):
            upto += shown[region]
            attack.know({f"{what} {name}": 1 for name in names[: place + 1]}, upto, upto + BASE - 1)
    for region in true["patients"]:
        attack.never_more(f"patients {region}", f"images {region}")
    n_steps = len(next(iter(regions)))
    for what, sizes in true.items():
        counted = [[region] for region in sizes]
        counted += [[region for region in sizes if region[step] == "1"] for step in range(n_steps)]
        for step, other in product(range(n_steps), repeat=2):
            counted.append([region for region in sizes if region[step] == "1" and region[other] == "0"])
        for union in counted:
            n = sum(sizes[region] for region in union)
            if n in SMALL:
                found = attack.values({f"{what} {region}": 1 for region in union}, [0, *SMALL, BASE])
                assert len(found) >= 2, f"{what} of {union} must be {found}"


@pytest.mark.slow
def test_steps_that_branch_and_unite(lake: str, here: Chest, tmp_path: Path) -> None:
    """Each rounded by itself, women 0, men 0 and both 10 would disclose that each is 4."""
    (tmp_path / "both.sql").write_text(BRANCHES)
    ask = ("cohort", "attrition", tmp_path / "both.sql", "--lake", lake, "--format", "json", "--suppress")
    for base in (0, BASE, 10, 20):
        of = {row["step"]: row for row in json.loads(here(*ask, base).stdout)}
        for what in attrition.COUNTED[:1] if base else attrition.COUNTED:
            assert of["women"][what] + of["men"][what] == of["everyone"][what], f"{what} rounded to {base}"
            assert of["young_women"][what] <= of["women"][what]
            assert all(row[what] % base == 0 for row in of.values()) if base else of["everyone"][what]


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(COUNTS, COUNTS), min_size=1, max_size=5), COUNTS, st.data())
def test_report(centres: list[tuple[int, int]], without_record: int, data: st.DataObject) -> None:
    """Patients of centres; of each centre, how many have a field filled, and met a rule; and what a check counts."""
    names = [f"C{i}" for i, of in enumerate(centres) if any(of)]
    of = {f"C{i}": pair for i, pair in enumerate(centres) if any(pair)}
    cells = {(name, status): n for name in names for status, n in zip(STATUSES, of[name], strict=False) if n}
    cells |= {(NO_RECORD, "none"): without_record} if without_record else {}
    filled = {name: (data.draw(st.integers(0, sum(of[name]))), sum(of[name])) for name in names}
    repaired = {name: data.draw(st.integers(0, sum(of[name]))) for name in names}
    negatives = sum(negative for _, negative in of.values())
    found = {"negative_with_positive_result": data.draw(st.integers(0, negatives))}
    found["images_without_clinical"] = without_record
    known = suppression.suppress_counts(
        build_figures(cells, None, {(name, "date_serial"): (n, n) for name, n in repaired.items() if n}, filled, found),
        BASE,
    )
    attack = Attack(BASE)
    totals = known.totals
    attack.rounded("patients", totals.n_patients)
    columns = dict(zip(STATUSES, (totals.n_positive, totals.n_negative, totals.n_without_record), strict=True))
    shown = {(count.centre, count.status): count.n_patients for count in known.patients}
    for status, total in columns.items():
        attack.part(status, total)
        places = [f"{name} {status}" for name in names] if status != "none" else [f"{NO_RECORD} none"]
        for place in places:
            attack.cell(place, shown.get((place[: place.rindex(" ")], status), 0))
        attack.know({status: -1, **dict.fromkeys(places, 1)})
    attack.know({"patients": -1, **dict.fromkeys(STATUSES, 1)})
    shares(attack, known, names)
    subsets(attack, known, names)
    for (name, status), n in cells.items():
        if n in SMALL:
            assert len(attack.values({f"{name} {status}": 1}, [0, *SMALL, BASE])) >= 3, f"{name} {status} is {n}"
    for name, (n_filled, n_records) in filled.items():
        if f"filled {name}" in attack.low and n_records - n_filled in SMALL:
            rest = {f"{name} positive": 1.0, f"{name} negative": 1.0, f"filled {name}": -1.0}
            assert len(attack.values(rest, [0, *SMALL, BASE])) > 1, f"{name} lacks {n_records - n_filled}"


def shares(attack: Attack, known: suppression.Figures, names: list[str]) -> None:
    """What is filled is a cell, and a part of the centre's patients."""
    for cell in known.completeness:
        own = f"filled {cell.centre}"
        attack.cell(own, cell.n_filled)
        attack.never_more(own, f"{cell.centre} positive", f"{cell.centre} negative")
    assert {cell.centre for cell in known.completeness} <= {*names}


def subsets(attack: Attack, known: suppression.Figures, names: list[str]) -> None:
    """Patients who met a rule are patients of centres; those whom a check names are negative, or have no record."""
    totals = known.totals
    for rule in known.rules:
        repaired = {count.centre: count.n_patients for count in known.repairs}
        for name in names:
            attack.unknown(f"met {name}")
            if name in repaired:
                attack.part(f"met {name}", repaired[name])
            attack.never_more(f"met {name}", f"{name} positive", f"{name} negative")
        bounded(attack, "met", rule.n_patients, (totals.n_patients, totals.n_positive, totals.n_negative))
        attack.know({"met": -1, **{f"met {name}": 1 for name in names}})
    for checked in known.checks:
        of = "none" if checked.check.name == "images_without_clinical" else "negative"
        whole = totals.n_without_record if of == "none" else totals.n_negative
        if of == "none":
            assert checked.n_rows == whole, "one number is not rounded in two ways"
            attack.part(checked.check.name, checked.n_rows)
        else:
            bounded(attack, checked.check.name, checked.n_rows, (whole, totals.n_patients))
        attack.never_more(checked.check.name, of)
        if of == "none":
            attack.know({checked.check.name: 1, "none": -1})


def bounded(attack: Attack, name: str, shown: int, wholes: tuple[int, ...]) -> None:
    """A count that was rounded, and is at most what is shown of a whole: then it may be more."""
    attack.rounded(name, shown)
    if shown in wholes:
        attack.unknown(name, attack.low[name])


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("rounded")
    make_bucket(root / "bucket", 50, "published", 5)
    warehouse.refresh(str(root / "bucket"), str(start_lake(root / "lake")))
    return str(root / "lake")


@pytest.mark.slow
def test_an_association_discloses_no_more_than_the_table_beside_it(lake: str, here: Chest) -> None:
    """Ten hidden cells were once solved for exactly, from the sixteen digits of V beside them. Cells count patients."""
    done = here("cohort", "confounders", "covid_risk", "--lake", lake, "--label", "covid_status", "--format", "json")
    shown = json.loads(done.stdout)
    assert "rows" not in shown
    assert shown["patients"] == answer_of(here, "covid_risk", lake, BASE)["patients"] > 0, "as on other pages"
    assert {a["first"] for a in shown["associations"]} == {"covid_status"}, "tables of others are not shown"
    totals = set()
    for a in shown["associations"]:
        rows = shown["cells"][a["second"]]
        pairs = {(row[a["second"]], name): n for row in rows for name, n in row.items() if isinstance(n, int)}
        totals.add(sum(row["all"] for row in rows))
        assert all(n % BASE == 0 for n in pairs.values())
        v = confounding.cramers_v(Counter({place: n for place, n in pairs.items() if place[1] != "all"}))
        assert (a["v"], a["v_corrected"]) == v
    assert totals == {shown["patients"]}
    exact = json.loads(
        here(
            *("cohort", "confounders", "covid_risk", "--lake", lake, "--label", "covid_status"),
            *("--format", "json", "--suppress", 0),
        ).stdout
    )
    assert any(row["all"] % BASE for table in exact["cells"].values() for row in table)
    assert len(exact["associations"]) > len(shown["associations"])


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("label", ["ethnicity", "nullif(n_images % 4, 1)", "nullif(age < 60, n_images % 3 = 1)"])
def test_the_same_patients_by_the_same_label_are_rounded_in_one_way(
    label: str, lake: str, here: Chest, tmp_path: Path
) -> None:
    """Confounders beside table 1: in an order of their own, ties would be rounded in another way."""
    (tmp_path / "groups.sql").write_text(
        "-- title: Groups\n-- question: Who is in which group?\n-- grain: patient\n"
        f"select patient_id, {label} as label from patients\n"
    )
    ask = ("--lake", lake, "--format", "json")
    confounders = json.loads(here("cohort", "confounders", tmp_path / "groups.sql", "--label", "label", *ask).stdout)
    table1 = json.loads(here("cohort", "table1", tmp_path / "groups.sql", "--by", "label", *ask).stdout)
    for name, title in (("age", "age_group"), ("sex", "sex")):
        spelled = {"not known": "(missing)", "F": "female", "M": "male", "O": "other"}
        found = {
            (spelled.get(row[name], row[name]), spelled.get(column, column)): n
            for row in confounders["cells"][name]
            for column, n in row.items()
            if column not in (name, "all")
        }
        (characteristic,) = (one for one in table1["characteristics"] if one["name"] == title)
        of_groups = [group for group in characteristic["groups"] if group["group"] != "Overall"]
        assert found == {(one["level"], group["group"]): one["n"] for group in of_groups for one in group["levels"]}


#: A cohort whose steps part, with labels; its answer is in two regions of them.
PARTED = """\
-- title: Women and men
-- question: Who is in?
-- grain: patient
-- label covid_status: whether positive
-- label died: whether the patient died
with
women as (select patient_id, covid_status from patients where sex = 'F'),
others as (select patient_id, covid_status from patients where sex is distinct from 'F'),
everyone as (select * from women union all select * from others)
select everyone.patient_id, covid_status, has_died as died
from everyone left join admissions on everyone.patient_id = admissions.patient_id
"""
#: The names of levels and labels on one page that have another on the others.
CODES = {"F": "female", "M": "male", "O": "other", "false": "no", "true": "yes", "not known": NO_VALUE}
CODES |= {NO_RECORD: NO_VALUE, NOT_NAMED: NO_VALUE, "none": NO_VALUE, "age": "age_group", "died": "death"}


def name_level(trait: str, level: str) -> str:
    return f"{CODES.get(trait, trait)} {CODES.get(level, level)}"


def numbers_of_table1(cohort: warehouse.Cohort, by: str = "") -> Counter[tuple[str, str]]:
    """The patients of each level, and of each level and group."""
    table, found = cohort.table1(by or None), Counter[tuple[str, str]]()
    for one in table.characteristics:
        for level, column in product({*one.levels, NO_VALUE}, () if one.is_number else table.columns):
            group = "" if column == OVERALL else name_level(by, column)
            found[name_level(one.name, level), group] += one.count(level, column)
    return found


def numbers_of(table: Table, trait: str, by: str) -> Counter[tuple[str, str]]:
    return Counter({(name_level(trait, row), name_level(by, column)): n for (row, column), n in table.cells.items()})


@pytest.mark.slow
def test_pages_about_the_same_patients_show_each_number_in_one_way(lake: str, tmp_path: Path) -> None:
    """Table 1 by this or that, confounders, steps, sides, report: what one shows as 5, no other shows as 10."""
    (tmp_path / "parted.sql").write_text(PARTED)
    with warehouse.open(lake) as wh:
        cohort = wh.cohort(tmp_path / "parted.sql")
        split = cohort.split(train=50, test=50, seed=3, by="centre")  # some are on no side
        pages = [
            numbers_of_table1(cohort, by) for by in ("", "covid_status", "sex", "centre", "age_group", "itu", "died")
        ]
        pages.append(numbers_of_table1(split, "split"))
        for label in ("covid_status", "died"):
            tables = confounding.tabulate_confounders(cohort, label, BASE).cells
            pages += [numbers_of(tables[name], name, label) for name in ("age", "sex", "centre")]
        sides = split.sides(balance=("sex", "centre", "died", "covid_status"), suppress=BASE)
        pages += [numbers_of(one.table, one.name, "split") for one in sides.balance]
        assert all(one.table.column_totals == sides.patients for one in sides.balance)
        assert sides.left_out
        steps = cohort.demographics(suppress=BASE).to_pylist()
        answer = [row for row in steps if row["step"] == "answer" and row["level"]]
        pages.append(
            Counter({(name_level(row["characteristic"], row["level"]), ""): row["patients"] for row in answer})
        )
        report: Counter[tuple[str, str]] = Counter()
        for count in suppression.suppress_counts(metrics.collect_metrics(wh), BASE).patients:
            report[name_level("centre", count.centre), name_level("covid_status", count.status)] += count.n_patients
        pages.append(report)
    shown: dict[tuple[str, str], int] = {}
    tried: Counter[int] = Counter()
    for page in pages:
        for place, n in page.items():
            names = min(place, place[::-1])
            tried[page is pages[0] or names in shown] += 1
            assert shown.setdefault(names, n) == n, f"{names} is {shown[names]} and {n}"
    assert tried[True] > 300


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(0, 5))
def test_modalities_of_the_report_are_rounded_as_in_table_1(numbers: list[int], shift: int) -> None:
    """Of patients with one modality each, in one month, in whatever order the report finds the modalities."""
    modalities = dict(zip(("CR", "CT", "DX", "MR", "OT", "US"), numbers, strict=False))
    found = [*modalities.items()][shift:] + [*modalities.items()][:shift]
    figures = build_figures({("a", "positive"): sum(numbers)}, {(None, name): n for name, n in found})
    shown = suppression.suppress_counts(figures, BASE).modalities
    assert shown == {name: n for name, n in round_levels(modalities, BASE).items() if n}


MARCH, APRIL = date(2020, 3, 1), date(2020, 4, 1)
#: Kinds of patients, each by the modalities of a month; and of how many values an attacker must be left in doubt.
KINDS = [
    (4, 14, [{MARCH: ("CR",)}, {MARCH: ("CR", "CT")}, {MARCH: ("CT",)}, {}]),
    (4, 14, [{MARCH: ("CR",)}, {MARCH: ("CR", "CT")}, {MARCH: ("CT",)}, {MARCH: ("none",)}]),
    (4, 14, [{MARCH: ("CR",)}, {MARCH: ("CR", "CT")}, {MARCH: ("CT",)}, {APRIL: ("CR",)}]),
    # In both months: there each is counted twice, and once in table 1.
    (2, 17, [{MARCH: ("CR",)}, {MARCH: ("CT",)}, {MARCH: ("CR",), APRIL: ("CR",)}, {MARCH: ("CR",), APRIL: ("CT",)}]),
]


@pytest.mark.slow(after=1)
@pytest.mark.parametrize(("least", "most", "kinds"), KINDS)
def test_the_report_beside_table_1_discloses_no_small_number(
    least: int, most: int, kinds: list[dict[date, tuple[str, ...]]]
) -> None:
    """Whoever tries all numbers of patients of each kind; with modalities rounded by themselves, 2 or 3 were left."""
    giving = defaultdict(list)
    for numbers in product(range(most + 1), repeat=len(kinds)):
        if sum(numbers) > most:
            continue
        imaged: Counter[tuple[date | None, tuple[str, ...]]] = Counter()
        studies, levels = Counter[tuple[date | None, str]](), Counter[str]()
        for kind, n in zip(kinds, numbers, strict=True):
            for month, modalities in kind.items():
                imaged[month, modalities] += n
                studies.update({(month, modality): n for modality in modalities})
            known = sorted({name for modalities in kind.values() for name in modalities if name != "none"})
            levels[" + ".join(known) or NO_VALUE] += n
        figures = build_figures({("a", "positive"): sum(numbers)}, dict(studies), imaged=dict(imaged))
        report = suppression.suppress_counts(figures, BASE)
        shown = [(str(count.month), count.modality, count.n_studies) for count in report.studies]
        assert all(n <= report.totals.n_patients for _, _, n in shown), "a part is never more than all"
        table1 = round_levels(levels, BASE)
        page = (report.totals.n_patients, *sorted(shown), *sorted(table1.items()))
        giving[page].append((*numbers, *imaged.values(), *studies.values(), *levels.values()))
    tried = 0
    for (total, *_), worlds in giving.items():
        if total + BASE - 1 > most:
            continue  # larger tables are shown alike
        for values in map(set, zip(*worlds, strict=True)):
            if values & {*SMALL}:
                tried += 1
                assert len(values) >= least
    assert tried


@pytest.mark.slow
def test_every_command_rounds_where_it_is_asked_to(lake: str, here: Chest, tmp_path: Path) -> None:
    place = ("--lake", lake)
    true = json.loads(here("cohort", "attrition", "covid_risk", *place, "--suppress", 0, "--format", "json").stdout)
    shown = json.loads(here("cohort", "attrition", "covid_risk", *place, "--format", "json").stdout)
    for was, row in zip(true, shown, strict=True):
        assert row["patients"] == round_count(was["patients"], BASE)
        of = {other["step"]: other["patients"] for other in shown}
        assert row["patients_lost"] == (of[row["after"]] - row["patients"] if row["after"] else None)
        assert only_patients(row)
    answer, base = true[-1], BASE + 1
    patients = round_count(answer["patients"], base)
    assert 0 < patients != answer["patients"]
    done = here("cohort", "run", "covid_risk", *place, "--suppress", base, "-o", tmp_path / "rows.csv")
    assert done.stderr.startswith(f"{patients} patients, one row for each image, snapshot"), done.stderr
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == answer["images"] + 1, "rows are all there"
    done = here("manifest", "export", "covid_risk", *place, "--suppress", base, "-o", tmp_path / "m")
    assert f": {patients} patients; group" in done.stdout, done.stdout
    assert not re.search(r"studies|images;|objects|digest", done.stdout), done.stdout
    digest = json.loads((tmp_path / "m/manifest.json").read_text())["digest"]
    assert digest.removeprefix("sha256:") not in done.stdout + done.stderr
    done = here(
        "manifest", "export", "covid_risk", *place, "--suppress", base, "-o", tmp_path / "j", "--format", "json"
    )
    made = json.loads(done.stdout)
    assert {name: n for name, n in made["counts"].items() if n is not None} == {"patients": patients}
    assert all(only_patients(step) and step["patients"] % base == 0 for step in made["attrition"])
    assert not {"without_images", "files", "digest"} & {*made}
    assert "sha256:" in made["seal"], "which is made to be passed on"


def answer_of(here: Chest, cohort: object, lake: str, base: int) -> dict[str, int | None]:
    """The last step of a cohort's attrition."""
    ask = ("cohort", "attrition", cohort, "--lake", lake, "--format", "json", "--suppress", base)
    return json.loads(here(*ask).stdout)[-1]  # type: ignore[no-any-return]


def only_patients(row: Mapping[str, object]) -> bool:
    """Whether a row of counts has no number but of patients."""
    return all(row.get(f"{what}{of}") is None for what in attrition.COUNTED[1:] for of in ("", "_lost"))


@pytest.mark.slow
def test_a_cohort_that_fixes_how_many_images_a_patient_has_cannot_be_divided(
    lake: str, here: Chest, tmp_path: Path
) -> None:
    """Seven images each, of which two are lost: 10 images lost are 5 patients, and 5 to 9 of them are 3 or 4."""
    file, place = tmp_path / "fixed.sql", ("--lake", lake)
    file.write_text(FIXED)
    with warehouse.open(lake) as wh:
        cohort = wh.cohort(file)
        exact = cohort.steps()[-1].counts
        base = next(base for base in (BASE, BASE + 1) if (exact["patients"] or 0) % base)
        rounded, table = cohort.steps(suppress=base), cohort.attrition(suppress=base).to_pylist()
    assert exact["images"] == 5 * (exact["patients"] or 0) > 0, "whoever sees the one has the other"
    assert all(only_patients(row) for row in table)
    # Every number on a page is one of the rounded numbers of patients.
    shown = {step.counts["patients"] for step in rounded} | {step.lost["patients"] for step in rounded} | {0}
    ask = (*place, "--suppress", base)
    printed = here("cohort", "run", file, *ask, "-o", tmp_path / "rows.csv").stderr
    printed += here("manifest", "export", file, *ask, "-o", tmp_path / "m").stdout.split(";")[0]
    assert {int(n) for n in re.findall(r"(\d+) (?:patients|rows|images|studies|series|objects)", printed)} <= shown
    compared = here("cohort", "compare", file, *ask, "--from", "2020-04-15").stderr.split("\nCounts")[0]
    numbers = [int(n) for n in re.findall(r"(?<![\w-])\d+(?![\w-])", compared)]
    assert numbers
    assert all(n % base == 0 and n <= max(n for n in shown if n is not None) for n in numbers), compared
    assert here("cohort", "attrition", file, *ask, "-o", tmp_path / "flow.svg").returncode == 0
    boxes = re.findall(r"(\d[\d,]*)\u00a0(\w+)", (tmp_path / "flow.svg").read_text())
    assert {word for _, word in boxes} == {"patients"}
    assert {int(n) for n, _ in boxes} <= shown
    found = json.loads(here("cohort", "confounders", file, *ask, "--label", "Modality", "--format", "json").stdout)
    assert found["patients"] == rounded[-1].counts["patients"]
    assert all(sum(row["all"] for row in rows) == found["patients"] for rows in found["cells"].values())


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("base", [-1, 1, 2, 3, 4])
def test_a_base_that_does_not_protect_is_refused_everywhere(
    lake: str, here: Chest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: int
) -> None:
    """Where something is known to be there, "under 2" is 1, and "under 3" is 1 or 2."""
    name = "covid_risk"
    commands = [
        *(("cohort", command, name) for command in ("run", "attrition", "lint")),
        ("cohort", "confounders", name, "--label", "covid_status"),
        ("cohort", "compare", name, "--from", "2020-05-01"),
        ("manifest", "export", name, "-o", tmp_path / "m"),
        ("report", "-o", tmp_path / "page.html"),
        ("check",),
    ]
    refusal = f"is {base}, which does not protect small counts. Give 0 for exact counts, or 5 or more."
    for words in commands:
        done = here(*words, "--lake", lake, "--suppress", base)
        assert (done.returncode, done.stdout) == (2, "")
        assert refusal in done.stderr
        assert len(done.stderr.splitlines()) == 1
    monkeypatch.setenv("CHEST_SUPPRESS", str(base))
    assert refusal in here("report", "--lake", lake, "-o", tmp_path / "page.html").stderr
    with pytest.raises(UsageError, match=f"CHEST_SUPPRESS {refusal}"):
        load_suppress()
    with warehouse.open(lake) as wh:
        cohort = wh.cohort(name)
        for work in (cohort.steps, cohort.attrition, partial(wh.report, tmp_path / "page.html")):
            with pytest.raises(UsageError, match=refusal):
                work(suppress=base)
        with pytest.raises(UsageError, match=refusal):
            confounding.tabulate_confounders(cohort, "covid_status", base)
    assert not [*tmp_path.iterdir()]


@pytest.mark.slow
def test_nothing_is_shown_of_too_few_patients(lake: str, here: Chest, tmp_path: Path) -> None:
    """Nor how many images the few have: their number shows how many patients they are."""
    (tmp_path / "few.sql").write_text(FEW)
    ask = ("--lake", lake, "--format", "json", "--suppress")
    exact, shown = (answer_of(here, tmp_path / "few.sql", lake, n) for n in (0, BASE))
    assert 0 < (exact["patients"] or 0) < BASE < (exact["images"] or 0)
    assert [shown[what] for what in attrition.COUNTED] == [0, None, None, None]
    made = json.loads(here("manifest", "export", tmp_path / "few.sql", "-o", tmp_path / "m", *ask, BASE).stdout)
    assert not any(made["counts"].values())


@pytest.mark.slow
def test_lint_compare_and_check(lake: str, here: Chest, tmp_path: Path) -> None:
    place, later = ("--lake", lake), tmp_path / "later.sql"
    later.write_text(LATER)
    exact = here("cohort", "lint", later, *place, "--suppress", 0).stdout
    shown = here("cohort", "lint", later, *place).stdout
    patients = answer_of(here, later, lake, BASE)["patients"]
    counts = re.findall(r"(\d+|under 5) of (\d+) patients", shown)
    assert counts
    assert len(counts) == len(re.findall(r"(\d+) of (\d+) rows", exact))
    assert "rows" not in shown
    assert all(int(n) == patients and (some == "under 5" or int(some) % BASE == 0) for some, n in counts)
    compared = ("cohort", "compare", "covid_risk", *place, "--from", "2020-05-01")
    done = here(*compared, "--suppress", BASE)
    assert done.stdout == "", "rows name patients"
    added, removed = (int(re.search(rf"(\d+) {word}", done.stderr)[1]) for word in ("added", "removed"))
    before, after = (int(re.search(rf"(\d+)(?: patients)? {word}", done.stderr)[1]) for word in ("before", "after"))
    assert after - before == added - removed, "numbers of patients are added up from parts that are rounded together"
    assert after == answer_of(here, "covid_risk", lake, BASE)["patients"], "as on other pages"
    assert "rows" not in done.stderr
    numbers = [int(word) for word in done.stderr.split("\nCounts")[0].replace(",", "").split() if word.isdigit()]
    assert numbers
    assert not any(n % BASE for n in numbers)
    assert here(*compared, "--suppress", BASE, "-o", tmp_path / "x.csv").returncode == 2
    with warehouse.open(lake) as wh:
        true = {
            result.check.name: len(set(result.rows["patient_id"].to_pylist()) - {None})
            if "patient_id" in result.rows.column_names
            else None
            for result in wh.check()
        }
    checked = json.loads(here("check", *place, "--format", "json", "--suppress", BASE).stdout)
    assert {row["name"]: row["patients"] for row in checked} == {
        name: None if n is None else round_count(n, BASE) for name, n in true.items()
    }
    assert not any(row["faults"] or "rows" in row for row in checked)
    small = next(name for name, n in true.items() if n in SMALL)
    assert "patients   under 5" in here("check", small, *place, "--suppress", BASE).stdout
    assert "rows" not in here("check", *place, "--suppress", BASE).stdout.split("\n")[0]


def test_levels_that_name_patients_are_refused(lake: str) -> None:
    """Each of five patients in a row was once a group of 5, under its pseudonym."""
    with warehouse.open(lake) as wh:
        cohort = wh.cohort("covid_risk")
        assert cohort.table1("patient_id", suppress=0).groups
        for column in ("patient_id", "Patient_ID", "StudyInstanceUID", "SOPInstanceUID"):
            with pytest.raises(UsageError, match=r"identify patients|has no column"):
                cohort.table1(column)
        for ask in (
            lambda: confounding.tabulate_confounders(cohort, "patient_id", BASE),
            lambda: cohort.split(train=50, test=50).sides(balance=("patient_id",), suppress=BASE),
        ):
            with pytest.raises(UsageError, match="identify patients"):
                ask()


def test_a_row_of_zeros_hides_nothing() -> None:
    cells = {("a", "x"): 0, ("a", "y"): 3, ("b", "x"): 40, ("b", "y"): 60, ("c", "x"): 20, ("c", "y"): 37}
    table = round_table("abc", "xy", cells, BASE)
    assert table.cells == {**cells, ("a", "y"): 5, ("c", "y"): 35}
    assert (table.column_totals, table.total) == ({"x": 60, "y": 100}, 160)
    table = round_table("ab", "xy", {("a", "x"): 2, ("b", "x"): 40, ("b", "y"): 60}, BASE)
    assert table.cells == {("b", "x"): 40, ("b", "y"): 60}, "of a there is nothing left to show"
