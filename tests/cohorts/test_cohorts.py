"""Cohorts: mistakes by file and line, parameters, steps counted, differences explained, warnings."""

import difflib
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import Chest, write_objects
from example_lakes import build_lake, build_objects

import warehouse
from warehouse import cohorts
from warehouse.cohorts import attrition_chart, compare, confounding, leakage
from warehouse.cohorts.digest import compute_digest
from warehouse.docs import cohort_pages

DOCS = Path(warehouse.__file__).parent.parent / "docs"

GOOD = """\
-- title: Films of positive patients
-- question: Which films were taken of patients who are positive?
-- grain: study
-- param since DATE = '2020-03-01': only studies from this day on
-- param centres VARCHAR[] = []: only these centres;
--   all when empty
-- label covid_status: positive or negative
with
-- Chest films.
films as (
    select patient_id, StudyInstanceUID, StudyDate
    from studies
    where list_has_any(ModalitiesInStudy, ['CR', 'DX']) and StudyDate >= $since
),

-- Of the positive.
positive as (
    select films.*, patients.covid_status
    from films
    inner join patients on films.patient_id = patients.patient_id
    where
        patients.covid_status = 'positive'
        and (len($centres) = 0 or patients.submitting_centre = any($centres))
)

select StudyInstanceUID, patient_id, StudyDate, covid_status
from positive
"""

FILMS = """
patient | image | study | day        | modality | view | maker | model | sex
a       | a1    | A1    | 2020-02-01 | CR       |      | Agfa  | One   | F
a       | a2    | A2    | 2020-04-01 | CR       |      | Agfa  | One   | F
a       | a3    | A2    | 2020-04-01 | CR       | PA   | Agfa  | One   | F
b       | b1    | B1    | 2020-04-02 | DX       |      | Kodak | Two   | M
c       | c1    | C1    | 2020-04-03 | CT       |      | Kodak | Two   | M
n       | n1    | N1    | 2020-04-04 | DX       |      | Kodak | Two   | M
"""
RECORDS = """
patient | uploaded   | positive_swab | centre | swab       | admitted   | death | died_on
a       | 2020-04-20 | 2020-04-01    | Leeds  |            | 2020-04-03 |       |
b       | 2020-04-20 | 2020-04-01    | Bath   |            | 2020-04-01 | 1     | 2020-04-19
c       | 2020-04-20 | 2020-04-01    | Bath   |            | 2020-04-01 |       |
n       | 2020-04-20 |               | Bath   | 2020-04-02 |            |       |
"""


@pytest.fixture(scope="module")
def wh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[warehouse.Warehouse]:
    with build_lake(tmp_path_factory.mktemp("lake"), FILMS, RECORDS) as opened:
        yield opened


@pytest.fixture
def good(tmp_path: Path) -> Path:
    file = tmp_path / "good.sql"
    file.write_text(GOOD)
    return file


def ids(wh: warehouse.Warehouse, file: Path | str, **parameters: object) -> list[str]:
    found = wh.cohort(file, **parameters)
    return [str(name) for name in found.rows[found.definition.grain_column].to_pylist()]


@pytest.mark.slow
def test_a_cohort_runs_with_its_parameters_and_as_of_a_day(wh: warehouse.Warehouse, good: Path) -> None:
    assert ids(wh, good) == ["A2", "B1"]
    assert ids(wh, good, since="2020-01-01") == ["A1", "A2", "B1"]
    assert ids(wh, good, centres=["Leeds", "Oxford"]) == ["A2"]
    assert ids(wh, good, centres="Bath") == ["B1"]
    assert ids(wh, good, as_of="2020-04-19") == [], "no record yet"
    assert wh.cohort(good).relation().columns == ["StudyInstanceUID", "patient_id", "StudyDate", "covid_status"]
    with warehouse.open(wh.location.name) as mine:
        assert ids(mine, good) == ["A2", "B1"], "on a lake that is one's own the cohort is sandboxed all the same"
    nasty = "'] or true --"
    assert ids(wh, good, centres=[nasty]) == [], "bound, not pasted"


@pytest.mark.slow
def test_joins_are_kept_as_written_where_the_header_has_it(wh: warehouse.Warehouse, good: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.sql"
    kept.write_text(GOOD.replace("-- grain", "-- joins: as written\n-- grain"))

    def list_disabled(opened: warehouse.Warehouse, file: Path) -> set[str]:
        found = opened.cohort(file).warehouse.con.sql("select current_setting('disabled_optimizers')").fetchall()
        return set(found[0][0].split(","))

    assert (wh.trusted, ids(wh, kept)) == (False, ids(wh, good))
    with warehouse.open(wh.location.name) as mine:
        assert (mine.trusted, ids(mine, kept, as_of="2020-04-20")) == (True, ids(mine, good))
        for opened in (wh, mine):
            # An older snapshot has the statistics of the newest, so that they stay ignored.
            always = {"statistics_propagation", "join_filter_pushdown"}
            assert list_disabled(opened, kept) == {*always, "build_side_probe_side"}
            assert list_disabled(opened, good) == always, "no other cohort of the same session"


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("StudyDate >=", "StudyDat >=", 13, "There is no column StudyDat. Did you mean StudyDate?"),
        ("from studies", "from studys", 12, "There is no view or step studys. Did you mean studies?"),
        ("from films\n", "from film\n", 19, "There is no view or step film. Did you mean films?"),
        ("from studies", "from read_text('/etc/passwd')", 12, r"read_text\(\) is not allowed"),
        ("from studies", "from core.images", 12, "core.images is not a view"),
        ("$since", "$sinc", 13, r"\$sinc is not a parameter in the header. Did you mean since?"),
        ("StudyDate >= $since", "true", 4, "Parameter since is never used"),
        ("since DATE", "since DATETIME", 4, "Unknown parameter type DATETIME. Did you mean DATE?"),
        ("'2020-03-01'", "'soon'", 4, "The default of since is not a valid DATE"),
        ("'2020-03-01'", "(select 1)", 4, "The default of since must be a literal"),
        ("since DATE", "as_of DATE", 4, "cannot be named as_of"),
        ("grain: study", "grain: studies", 3, "Did you mean study?"),
        ("grain: study", "grain: study\n-- joins: left first", 4, "joins can only be 'as written', not 'left first'"),
        ("-- grain: study\n", "", 1, "grain is missing from the header"),
        ("-- title: F", "-- titel: F", 1, "Unknown key titel in the header. Did you mean title?"),
        ("-- label cov", "-- some words\n-- label cov", 7, "is not a valid header line"),
        ("-- label covid_status:", "-- label status:", 26, "lacks the label status"),
        ("select StudyInstanceUID, patient_id, S", "select patient_id, S", 26, "lacks StudyInstanceUID"),
        ("StudyDate, covid_status\n", "StudyDate, covid\n", 26, "There is no column covid. Did you mean covid_status?"),
        ("films.*,", "films.foo,", 18, "There is no column foo in films."),
        ("'positive'\n", "'positive\n", 22, "a quote is not closed"),
        ("from positive\n", "from positive;\ndrop view images\n", 27, "one SELECT, not 2"),
        ("select films.*", "select films.*,", 18, "syntax error at or near"),
        ("positive as (", "images as (", 17, "has the name of a view"),
        (
            "StudyDate >= $since",
            "StudyDate >= $since and StudyDate < now()",
            13,
            r"now\(\) is not deterministic",
        ),
        ("and StudyDate >= $since", "and StudyDate >= $since and random() < 1", 13, r"random\(\) is not deterministic"),
        ("StudyDate >= $since", "StudyDate >= $since and StudyDate > 3", 13, "Cannot compare values"),
        ("with\n", "with recursive\n", 8, "WITH RECURSIVE is not allowed in a cohort"),
    ],
)
def test_a_mistake_is_reported_with_its_line(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    assert old in GOOD
    file = tmp_path / "mine.sql"
    file.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(cohorts.DefinitionError) as caught:
        cohorts.check_definition(cohorts.load(file))
    assert re.search(rf"mine\.sql:{line}: .*({message})", str(caught.value)), caught.value
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "from patients where " + " and ".join(f"${'u' * 40}{n} = 1" for n in range(95)),
        "from " + ", ".join(f"{'u' * 40}{n}" for n in range(900)),
    ],
    ids=["parameters", "tables"],
)
def test_of_many_unknown_names_none_is_compared_with_all_known(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []
    compare = difflib.get_close_matches
    monkeypatch.setattr(difflib, "get_close_matches", lambda *a, **k: compared.append(len(a[1])) or compare(*a, **k))
    params = "".join(f"-- param {'k' * 40}{n} INTEGER = 1: m\n" for n in range(900))
    file = tmp_path / "mine.sql"
    head = f"-- title: t\n-- question: q?\n-- grain: patient\n{params if '$' in text else ''}"
    file.write_text(f"{head}select patient_id {text}\n")
    with pytest.raises(cohorts.DefinitionError, match=r"is never used|no view or step u"):
        cohorts.check_definition(cohorts.load(file))
    assert sum(compared) < 5_000


@pytest.mark.parametrize(
    "text", ["", "-- title: x\n", "delete from images", "select 1; select 2", "copy images to 'x'"]
)
def test_what_is_not_one_select(text: str) -> None:
    with pytest.raises(cohorts.DefinitionError, match=r"one SELECT|no SQL"):
        cohorts.parse(text, "mine.sql")


def test_wrong_parameters(wh: warehouse.Warehouse, good: Path) -> None:
    for given, message in (
        ({"sinc": "2020-01-01"}, "no parameter sinc. Did you mean since"),
        ({"since": "yesterday"}, "since of good is DATE, not 'yesterday'"),
    ):
        with pytest.raises(warehouse.UsageError, match=message):
            wh.cohort(good, **given)
    with pytest.raises(warehouse.UsageError, match=r"no cohort 'covid_risc'\. Did you mean covid_risk"):
        wh.cohort("covid_risc")
    with pytest.raises(warehouse.UsageError, match="cannot be read"):
        wh.cohort("nowhere.sql")


def test_every_row_has_its_own_grain(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    file = tmp_path / "rows.sql"
    head = "-- title: t\n-- question: q\n-- grain: patient\n"
    file.write_text(f"{head}select patient_id\nfrom images\n")
    with pytest.raises(cohorts.DefinitionError, match=r"rows.sql:4: Some rows have the same .*for example a\."):
        _ = wh.cohort(file).rows
    file.write_text(f"{head}select case when patient_id <> 'a' then patient_id end as patient_id from patients")
    with pytest.raises(cohorts.DefinitionError, match=r"rows.sql:4: Some rows have no patient_id"):
        _ = wh.cohort(file).rows


def test_attrition_counts_what_each_step_leaves(wh: warehouse.Warehouse, good: Path) -> None:
    rows = wh.cohort(good).attrition().to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("films", None, 3, None, 3, None, 4, None, 4, None),
        ("positive", "films", 2, 1, 2, 1, 3, 1, 3, 1),
        ("answer", "positive", 2, 0, 2, 0, 3, 0, 3, 0),
    ]
    assert rows[0].keys() >= {"step", "after", "patients", "patients_lost", "studies", "series", "images"}
    rounded = wh.cohort(good).attrition(suppress=5)
    assert rounded["patients"].to_pylist() == [0, 0, 0]
    assert rounded["patients_lost"].to_pylist() == [None, 0, 0], "the difference of what is shown"
    assert rounded["images"].null_count == rounded["images_lost"].null_count == 3


def test_attrition_of_every_grain_agrees_with_counting_by_hand(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    file = tmp_path / "grains.sql"
    file.write_text(
        """\
-- title: t
-- question: q
-- grain: image
with
people as (select patient_id from patients where sex = 'F' or patient_id = 'b'),
their_series as (select SeriesInstanceUID from series where patient_id in (select patient_id from people)),
pictures as (select SOPInstanceUID from images where SeriesInstanceUID in (select SeriesInstanceUID from their_series)),
numbers as (select unnest(range(3)) as n)
select SOPInstanceUID from pictures where (select count(*) from numbers) = 3"""
    )
    found = {step.step: tuple(step.counts.values()) for step in wh.cohort(file).steps()}
    everything = (2, 3, 4, 4)
    assert found == {
        "people": everything,
        "their_series": everything,
        "pictures": everything,
        "numbers": (None,) * 4,
        "answer": everything,
    }


def test_attrition_writes_a_flow_chart(wh: warehouse.Warehouse, good: Path, tmp_path: Path) -> None:
    picture = attrition_chart.render_svg("A <title>", "for whom", wh.cohort(good).steps())
    assert "A &lt;title&gt;" in picture
    assert "Excluded" in picture
    assert "2\u00a0patients" in picture
    attrition_chart.save_chart(picture, tmp_path / "flow.png")
    assert (tmp_path / "flow.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(warehouse.UsageError, match=r"neither \.svg nor \.png"):
        attrition_chart.save_chart(picture, tmp_path / "flow.gif")


def tabulate(differences: list[compare.Difference]) -> dict[str, tuple[str, str, str]]:
    return {d.id: (d.change, d.step, "; ".join(r.text for r in d.reasons)) for d in differences}


@pytest.mark.slow
def test_differences_between_snapshots_are_explained(tmp_path: Path, new_lake: Path, good: Path) -> None:
    with build_lake(tmp_path, FILMS, RECORDS) as wh:
        before = wh.snapshot.number
    (tmp_path / "bucket/training/b/images_metadata/2020-04-02/b1.json").unlink()
    more = build_objects(
        """
        patient | image | study | day
        a       | a9    | A9    | 2020-05-01
        n       | n2    | N2    | 2020-05-01
        """,
        """
        patient | uploaded   | positive_swab | centre
        n       | 2020-05-02 | 2020-05-01    | Bath
        """,
    )
    write_objects(tmp_path / "bucket", more)
    warehouse.refresh(str(tmp_path / "bucket"), str(new_lake), allow_removals=True)
    with (
        warehouse.open(str(new_lake), snapshot=before, trusted=False) as then,
        warehouse.open(str(new_lake), trusted=False) as now,
    ):
        found = tabulate(compare.compare_answers(then.cohort(good), now.cohort(good)))
        days = tabulate(
            compare.compare_answers(now.cohort(good, as_of="2020-04-30"), now.cohort(good, as_of="2020-05-02"))
        )
        changed = tabulate(compare.compare_answers(now.cohort(good), now.cohort(good, since="2020-05-01")))
    record = "training/n/data/2020-05-02/data.json"
    clinical = f"newer clinical file {record} changed"
    assert found["B1"] == ("removed", "films", "removed object training/b/images_metadata/2020-04-02/b1.json")
    assert found["A9"] == ("added", "films", "added object training/a/images_metadata/2020-05-01/a9.json")
    assert found["N1"][:2] == ("added", "positive")
    assert clinical in found["N1"][2]
    assert (
        "date_of_positive_covid_swab from none to 2020-05-01" in found["N1"][2]
        or "kind from status to data" in (found["N1"][2])
    )
    assert found.keys() == {"A9", "B1", "N1", "N2"}
    assert days.keys() == {"A9", "N1", "N2"}
    assert changed["A2"] == ("removed", "films", "changed definition: since from 2020-03-01 to 2020-05-01")


@pytest.mark.slow
def test_nothing_is_unknown_on_the_histories_of_the_samples(samples: Path, new_lake: Path) -> None:
    warehouse.refresh(str(samples / "dated"), str(new_lake))
    kinds: Counter[str] = Counter()
    with warehouse.open(str(new_lake), trusted=False) as wh:
        days = ["2020-05-01", "2020-06-15", "2020-12-31"]
        centres = [row[0] for row in wh.sql("select distinct centre from clinical").fetchall() if row[0]]
        for name, given in (
            ("covid_risk", {"days_before": 60, "days_after": 60}),
            ("external_validation", {"centres": centres, "loosen": 3, "days_after": 60}),
            ("longitudinal_ct", {"min_studies": 1, "min_days": 0}),
        ):
            answers = [wh.cohort(name, as_of=day, **given) for day in days]
            for old, new in pairwise(answers):
                for difference in compare.compare_answers(old, new):
                    assert difference.reasons, difference
                    kinds.update(reason.kind for reason in difference.reasons)
                    came_or_left = difference.change != "changed"
                    assert bool(difference.step) is came_or_left, difference
                    assert bool(difference.values) is not came_or_left, difference
    assert kinds[compare.Kind.ADDED] > 10
    assert kinds[compare.Kind.CLINICAL] > 10


SAMPLED = """\
-- title: t
-- question: q
-- grain: image
with
films as (
    select
        images.SOPInstanceUID, images.patient_id, images.ViewPosition, clinical.covid_code, clinical.age > 17 as adult
    from images
    inner join clinical on images.patient_id = clinical.patient_id
),
sampled as (
    select * from films
    qualify row_number() over (partition by ViewPosition order by covid_code nulls last, SOPInstanceUID) <= 1
)
select SOPInstanceUID, patient_id, ViewPosition
from sampled
"""


@pytest.mark.slow
def test_only_what_is_read_and_made_a_difference_is_a_reason(tmp_path: Path, new_lake: Path) -> None:
    """An added .dcm, a header with the same values in the columns read, a field that is not read or did not matter."""
    films = """
        patient | image | day        | body  | model
        a       | a     | 2020-04-01 | CHEST | One
        b       | b     | 2020-04-01 | CHEST | One
        """
    records = "patient | uploaded | cxr_1 | code_1 | age | centre"
    first = f"{records}\na | 2020-04-02 | 2020-04-01 | 1 | 50 | Leeds\nb | 2020-04-02 | 2020-04-01 | 2 | 50 | Leeds"
    file = tmp_path / "sampled.sql"
    file.write_text(SAMPLED)

    def step(films: str, records: str, dcm: str = "") -> int:
        more = {"training/b/images/2020-04-01/b.dcm": dcm} if dcm else {}
        write_objects(tmp_path / "bucket", {**build_objects(films, records), **more})
        warehouse.refresh(str(tmp_path / "bucket"), str(new_lake))
        with warehouse.open(str(new_lake)) as wh:
            return wh.snapshot.number

    def between(old: int, new: int, sql: Path) -> dict[str, list[tuple[str, str]]]:
        with (
            warehouse.open(str(new_lake), snapshot=old, trusted=False) as then,
            warehouse.open(str(new_lake), snapshot=new, trusted=False) as now,
        ):
            found = compare.compare_answers(then.cohort(sql), now.cohort(sql))
        return {d.id: [(str(r.kind), r.text) for r in d.reasons] for d in found}

    start = step(films, first)
    # a's own record makes it leave; b's has 51 years and not 50, and another centre, and its header another model.
    worse = f"{records}\na | 2020-05-02 | 2020-04-01 | 3 | 50 | Leeds\nb | 2020-05-02 | 2020-04-01 | 2 | 51 | York"
    later = step(films.replace("b     | 2020-04-01 | CHEST | One", "b     | 2020-04-01 | CHEST | Two"), worse, dcm="x")
    reasons = between(start, later, file)
    assert reasons["a"] == [
        ("clinical file", "newer clinical file training/a/data/2020-05-02/data.json changed covid_code from 1 to 3")
    ]
    assert [kind for kind, _ in reasons["b"]] == ["other patients"]
    # Read, they are reasons: the model, the .dcm that came, the centre.
    reads_all = tmp_path / "reads.sql"
    reads_all.write_text(
        "-- title: t\n-- question: q\n-- grain: image\n"
        "select i.SOPInstanceUID, i.ManufacturerModelName, i.dcm_key is not null as has_dcm, p.centre\n"
        "from images as i inner join patients as p on i.patient_id = p.patient_id\n"
    )
    record = "training/b/data/2020-05-02/data.json"
    assert between(start, later, reads_all) == {
        "b": [
            ("added object", "added object training/b/images/2020-04-01/b.dcm"),
            ("replaced object", "replaced object training/b/images_metadata/2020-04-01/b.json"),
            ("clinical file", f"newer clinical file {record} changed centre from leeds to york"),
        ]
    }
    again = step(films, worse, dcm="xy")
    assert ("replaced object", "replaced object training/b/images/2020-04-01/b.dcm") not in between(
        later, again, reads_all
    ).get("b", []), "whether there is one is read, not which"


@pytest.mark.slow
def test_a_concept_is_followed_to_the_fields_that_it_reads(tmp_path: Path) -> None:
    """Of a newer file the reason is the swab; its age, and an entry that is not understood, are not."""
    films = "patient | image | day\nn | n | 2020-04-05\nm | m | 2020-04-05"
    records = """
        patient | uploaded   | swabs        | cxr_1 | centre
        n       | 2020-04-11 | 2020-04-05 0 |       | Leeds
        m       | 2020-04-11 | 2020-04-05 0 |       | Leeds
        n       | 2020-05-11 | 2020-04-04 0 |       | York
        m       | 2020-05-11 | 2020-04-05 ? |       | York
        """
    with build_lake(tmp_path, films, records) as wh:
        found = tabulate(
            compare.compare_answers(*(wh.cohort("covid_risk", as_of=day) for day in ("2020-04-15", "2020-06-01")))
        )
    assert found.keys() == {"n", "m"}
    assert "swabdates from" in found["n"][2]
    assert "centre" not in found["n"][2]
    assert found["m"][:2] == ("removed", "labelled")
    assert "swabdates from" in found["m"][2]


LEAKY = """\
-- title: t
-- question: q
-- grain: study
-- label died: outcome
with
films as (
    select s.StudyInstanceUID, s.StudyDate, c.date_of_admission as admitted, c.death as died, age, final_covid_status
    from studies as s
    inner join clinical as c on s.patient_id = c.patient_id
    where c.news2_score_on_arrival is null
),
admitted_ones as (
    select * from films where admitted is not null
)
select StudyInstanceUID, StudyDate, age, died, final_covid_status
from admitted_ones
"""


def test_lint_finds_facts_from_the_future(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    file = tmp_path / "leaky.sql"
    file.write_text(LEAKY)
    definition = cohorts.load(file)
    without_lake = {(p.line, p.severity): p.message for p in leakage.find_warnings(definition)}
    assert "news2_score_on_arrival, dated date_of_admission" in without_lake[10, "warning"]
    assert "date_of_admission" in without_lake[13, "warning"], "through the alias of a step"
    assert "final_covid_status, which has no date" in without_lake[15, "warning"]
    assert not any("death" in message for message in without_lake.values()), "what a label comes from is exempt"
    assert not any(" age, which" in message for message in without_lake.values()), "age is always known"
    counted = {(p.line, p.severity): p.message for p in leakage.find_warnings(definition, wh.cohort(file))}
    assert "date_of_admission, which is later than the index image in 2 of 4 rows" in counted[13, "warning"]
    assert (10, "warning") not in counted, "nobody has that score"
    assert "uploaded after the index image in 4 of 4 rows" in counted[15, "note"]
    assert "known_at(patient_id, StudyDate)" in counted[15, "note"]
    file.write_text(LEAKY.replace("where admitted is not null", "where admitted <= StudyDate"))
    guarded = leakage.find_warnings(cohorts.load(file), wh.cohort(file))
    assert not any("later than" in p.message for p in guarded), "the filter keeps it before the image"


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("name", cohorts.list_shipped())
def test_every_shipped_cohort_is_linted_against_a_lake(wh: warehouse.Warehouse, name: str) -> None:
    needed: dict[str, dict[str, Any]] = {"prior_data": {"patients": ["a"]}, "external_validation": {"centres": "Leeds"}}
    for suppress in (0, 5):
        found = leakage.find_warnings(cohorts.load(name), wh.cohort(name, **needed.get(name, {})), suppress)
        assert all(problem.severity in ("warning", "note") for problem in found)


def test_confounders_measure_the_associations_of_a_label(wh: warehouse.Warehouse) -> None:
    with_ct = wh.cohort("prior_data", patients=["a", "b", "c", "n"])
    found = confounding.tabulate_confounders(with_ct, "Modality")
    by_name = {a.second: a for a in found.with_label}
    assert by_name.keys() == {"centre", "manufacturer", "model", "projection", "month", "sex", "age"}
    assert by_name["manufacturer"].v == pytest.approx(1.0)
    assert found.cells["manufacturer"].cells["Agfa", "CR"] == 3
    assert found.cells["manufacturer"].row_totals["Kodak"] == 3
    rounded = confounding.tabulate_confounders(with_ct, "Modality", suppress=5)
    assert (rounded.counted, rounded.total, rounded.between) == ("patients", 0, ()), "six rows of four patients"
    assert {table.total for table in rounded.cells.values()} == {0}
    with pytest.raises(warehouse.UsageError, match=r"no column Modalty\. Did you mean Modality"):
        confounding.tabulate_confounders(with_ct, "Modalty")


def test_cramers_v() -> None:
    # Chi-square of [[10, 20], [30, 40]] is 0.7937 at n = 100; for a table of 2 by 2 V is the root of their ratio.
    pairs = Counter({("a", "x"): 10, ("a", "y"): 20, ("b", "x"): 30, ("b", "y"): 40})
    v, corrected = confounding.cramers_v(pairs)
    assert v == pytest.approx((0.79365 / 100) ** 0.5, abs=1e-4)
    assert corrected == 0.0, "no more than chance"
    assert confounding.cramers_v(Counter({("a", "x"): 50, ("b", "y"): 50})) == (pytest.approx(1.0), pytest.approx(1.0))
    assert confounding.cramers_v(Counter({("a", "x"): 50})) == (0.0, 0.0)


@pytest.mark.slow
def test_the_commands(wh: warehouse.Warehouse, good: Path, here: Chest, tmp_path: Path) -> None:
    place = ("--lake", wh.location.name)
    listed = json.loads(here("cohort", "list", "--format", "json").stdout)
    assert [c["name"] for c in listed] == cohorts.list_shipped()
    shown = here("cohort", "show", good).stdout
    for words in ("Films of positive patients", "since DATE = '2020-03-01'", "films (line 10)", "Chest films."):
        assert words in shown
    values = tmp_path / "centres.txt"
    values.write_text("Leeds\nBath\n")
    done = here("cohort", "run", good, *place, "--param", f"centres=@{values}", "--format", "csv")
    assert done.stdout.splitlines()[1:] == ["A2,a,2020-04-01,positive", "B1,b,2020-04-02,positive"], done.stderr
    done = here(
        "cohort", "run", good, *place, "--param", "centres=Leeds", "--param", "centres=Oxford", "--format", "csv"
    )
    assert len(done.stdout.splitlines()) == 2
    done = here("cohort", "attrition", good, *place, "--suppress", 0, "-o", tmp_path / "flow.svg")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "flow.svg").read_text().startswith("<svg")
    done = here("cohort", "compare", good, *place, "--from", "2020-04-01", "--format", "csv")
    assert "first clinical file" in done.stdout
    done = here("cohort", "confounders", good, *place, "--label", "covid_status", "--suppress", 0, "--format", "json")
    assert json.loads(done.stdout)["rows"] == 2, done.stderr


def test_a_title_that_xml_cannot_have_is_drawn(
    here: Chest, good: Path, wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    odd = tmp_path / "odd.sql"
    odd.write_text(good.read_text().replace("-- title: ", "-- title: a\ufffe\uffffb "))
    done = here("cohort", "attrition", odd, "--lake", wh.location.name, "-o", tmp_path / "flow.png")
    assert (done.returncode, (tmp_path / "flow.png").read_bytes()[:4]) == (0, b"\x89PNG"), done.stderr


def test_lint_as_a_command(good: Path, here: Chest, tmp_path: Path) -> None:
    bad = tmp_path / "bad.sql"
    bad.write_text(GOOD.replace("StudyDate >=", "StudyDat >="))
    refused = here("cohort", "lint", bad, "--lake", tmp_path / "none")
    assert refused.returncode == 1
    assert f"{bad}:13: error: There is no column StudyDat. Did you mean StudyDate?" in refused.stdout
    fine = here("cohort", "lint", good, "--lake", tmp_path / "none", "--format", "json")
    assert fine.returncode == 0
    assert {p["severity"] for p in json.loads(fine.stdout)} <= {"warning", "note"}


def test_the_example_of_the_docs_runs(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    (example,) = [
        t for t in re.findall(r"```sql\n(.+?)```", (DOCS / "cohorts.md").read_text(), re.S) if "-- title" in t
    ]
    (tmp_path / "example.sql").write_text(example)
    assert ids(wh, tmp_path / "example.sql") == ["A2", "B1"]


def test_the_pages_of_the_cohorts_are_up_to_date() -> None:
    guide = (DOCS / "cohorts.md").read_text()
    for name in cohorts.list_shipped():
        assert (DOCS / f"cohorts/{name}.md").read_text() == cohort_pages.render_page(cohorts.load(name)), (
            "run make docs"
        )
        assert f"(cohorts/{name}.md)" in guide


def test_the_digest_of_an_answer_is_over_its_rows_as_json(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    """As computed by whoever holds the rows, for values of every kind; so it is the same in later versions too."""
    file = tmp_path / "kinds.sql"
    file.write_text(
        "-- title: Values of every kind\n-- question: Which?\n-- grain: patient\n"
        "select patient_id, date '0044-03-15' as day, [null, date '2020-02-29'] as days,"
        " timestamp '2020-01-02 03:04:05' as at_second, timestamp '2020-01-02 03:04:05.000006' as at_microsecond,"
        " 1.50::decimal(5, 2) as tenths, 1e300::double as large, 'é\"\\\n' || chr(8232) as words, true as is_so,"
        " {'a': 1, 'b': date '2020-02-29'} as pair, null::date as nothing, time '01:02:03' as clock from patients\n"
    )
    answer = wh.cohort(str(file))
    rows = answer.rows
    texts = [json.dumps(rows.column_names)]
    texts += [json.dumps(list(row.values()), ensure_ascii=False, default=str) for row in rows.to_pylist()]
    assert len(texts) > 3
    assert compute_digest(answer) == f"sha256:{hashlib.sha256(''.join(texts).encode()).hexdigest()}"
