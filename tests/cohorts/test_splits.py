"""Splits: the side of a patient depends on nobody else and never changes; what is held out, left out and reported."""

import csv
import json
import math
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import jsonschema
import pytest
from conftest import Chest, start_lake, write_objects
from example_lakes import build_lake, build_objects
from hypothesis import given
from hypothesis import strategies as st

import warehouse
from warehouse.cohorts import held_out
from warehouse.cohorts.balance import _compare_sides
from warehouse.cohorts.split import Split
from warehouse.errors import UsageError
from warehouse.manifests import register
from warehouse.manifests.reproduce import reproduce

FILMS_COHORT = """\
-- title: All films
-- question: Which films are there?
-- grain: image
-- label covid_status: positive or negative
select SOPInstanceUID, patient_id, StudyDate, covid_status
from images left join patients using (patient_id)
"""
PATIENTS_COHORT = """\
-- title: All patients
-- question: Which patients are there?
-- grain: patient
select patient_id, n_images from patients
"""
STUDIES_COHORT = """\
-- title: All studies
-- question: Which studies are there?
-- grain: study
select distinct StudyInstanceUID from studies
"""
DAY, LATE = "2020-06-30", "2020-08-01"

#: p1 to p30 have a film each of March; n1 came later; of p1 a film came later, too. Leeds sent p3 alone, p4 as well.
FILMS = "patient | image | day | sex | header_age\n" + "\n".join(
    [f"p{n} | p{n} | 2020-03-01 | {'FM'[n % 2]} | 0{40 + n}Y" for n in range(1, 31)]
    + [f"n1 | n1 | {LATE} | F | 050Y", f"p1 | p1b | {LATE} | M | 041Y"]
)
RECORDS = "patient | uploaded | centre | positive_swab\n" + "\n".join(
    [f"p{n} | 2020-03-05 | {'Leeds' if n == 3 else 'Bath'} | 2020-03-01" for n in range(1, 20)]
    + [f"p4 | {LATE} | leeds  | 2020-03-01"]
)

PSEUDONYMS = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=40, unique=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("splits")
    for name, text in (("films", FILMS_COHORT), ("persons", PATIENTS_COHORT), ("studies", STUDIES_COHORT)):
        (root / f"{name}.sql").write_text(text)
    return root


@pytest.fixture(scope="module")
def wh(folder: Path) -> Iterator[warehouse.Warehouse]:
    with build_lake(folder, FILMS, RECORDS) as opened:
        yield opened


def find_sides(cohort: warehouse.Cohort) -> dict[str, str | None]:
    """The side of each patient of a split cohort whose rows have the patient."""
    return {row["patient_id"]: row["split"] for row in cohort.rows.to_pylist() if row["split"]}


# The rule


@given(PSEUDONYMS, PSEUDONYMS, st.integers())
def test_a_side_depends_on_nobody_else(some: list[str], others: list[str], seed: int) -> None:
    rule = Split(60, 20, 20, seed=seed)
    alone = {patient: rule.place_patient(patient) for patient in some}
    together = {patient: rule.place_patient(patient) for patient in [*reversed(others), *some]}
    assert alone == {patient: together[patient] for patient in some}
    assert {side for side, _ in alone.values()} <= {"train", "tune", "test"}


@pytest.mark.slow
@given(st.integers(), st.floats(0.1, 0.9))
def test_shares_are_met_on_average(seed: int, share: float) -> None:
    rule = Split(train=share, test=1 - share, seed=seed)
    sides = Counter(rule.choose_side(f"Covid{n}") for n in range(2_000))
    # Six standard deviations of a binomial count: one in a thousand million goes beyond.
    assert abs(sides["train"] - 2_000 * share) < 6 * math.sqrt(2_000 * share * (1 - share))
    assert sides["tune"] == 0


@given(st.integers(0, 2**40))
def test_another_seed_is_another_split(seed: int) -> None:
    one, other = ([Split(seed=s).choose_side(f"Covid{n}") for n in range(200)] for s in (seed, seed + 1))
    assert one != other


@given(st.text(min_size=1), st.integers(1, 98))
def test_a_larger_share_of_train_takes_nobody_out_of_it(patient: str, train: int) -> None:
    smaller = Split(train, 1, 99 - train).choose_side(patient)
    larger = Split(train + 1, 1, 98 - train).choose_side(patient)
    assert smaller != "train" or larger == "train"


def test_the_side_can_be_computed_elsewhere() -> None:
    # printf Covid20 | openssl dgst -sha256 -hmac 7   begins with these digits.
    percent = 100 * 0x5B2A7B19888D6 / 16**13
    for train, side in ((percent + 1e-6, "train"), (percent - 1e-6, "test")):
        assert Split(train=train, test=100 - train, seed=7).choose_side("Covid20") == side


def test_weights_and_percent_are_the_same_rule() -> None:
    assert Split().shares == {"train": 0.7, "tune": 0.15, "test": 0.15}
    assert Split(train=4, test=1).shares == {"train": 0.8, "test": 0.2}
    assert Split.from_json(
        json.loads(json.dumps(Split(1, 2, 3, seed=4, hold_out_after=date(2020, 1, 2)).to_json()))
    ) == (Split(1, 2, 3, seed=4, hold_out_after=date(2020, 1, 2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": -1, "test": 2}, "share of train must be a number from 0 up, not -1"),
        ({"train": 0, "test": 0}, "All shares of the split are 0"),
        ({"train": math.nan}, "share of train"),
        ({"by": "study"}, "by patient or centre, not by 'study'"),
        ({"seed": "x"}, "seed of a split must be a whole number"),
        ({"hold_out_after": "2020-02-31"}, "2020-02-31"),
    ],
)
def test_an_invalid_rule_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Split(**options)  # type: ignore[arg-type]


# Answers


def test_the_side_is_one_more_label(wh: warehouse.Warehouse, folder: Path) -> None:
    plain = wh.cohort(folder / "films.sql")
    split = plain.split(train=50, test=50, seed=1)
    assert split.rows.column_names == [*plain.rows.column_names, "split"]
    assert split.rows.drop_columns(["split"]) == plain.rows
    assert [*split.definition.labels] == ["covid_status", "split"]
    assert (split.definition.sql, split.attrition()) == (plain.definition.sql, plain.attrition())
    rule = Split(train=50, test=50, seed=1)
    assert find_sides(split) == {patient: rule.choose_side(patient) for patient in find_sides(split)}
    assert {*find_sides(split).values()} == {"train", "test"}


def test_the_patient_is_found_where_the_answer_does_not_name_one(wh: warehouse.Warehouse, folder: Path) -> None:
    films = wh.cohort(folder / "films.sql").split(seed=1)
    studies = wh.cohort(folder / "studies.sql").split(seed=1)
    by_study = dict(wh.sql("select StudyInstanceUID, patient_id from studies").fetchall())
    found = {by_study[row["StudyInstanceUID"]]: row["split"] for row in studies.rows.to_pylist()}
    assert found == find_sides(films)
    assert find_sides(wh.cohort(folder / "persons.sql").split(seed=1)) == found


@pytest.mark.slow
def test_all_old_patients_stay_when_data_arrive(folder: Path, tmp_path: Path) -> None:
    with build_lake(tmp_path, FILMS, RECORDS) as wh:
        asked = {"seed": 5, "hold_out_after": DAY, "hold_out_centres": ["Leeds"]}
        before = find_sides(wh.cohort(folder / "films.sql").split(**asked))
    more_films = "patient | image | day\n" + "\n".join(
        [f"q{n} | q{n} | 2020-09-01" for n in range(20)] + [f"p{n} | p{n}late | 2020-09-01" for n in range(1, 31)]
    )
    more_records = "patient | uploaded | centre | positive_swab\n" + "\n".join(
        f"p{n} | 2020-09-05 | {'Leeds' if n == 5 else 'York'} | 2020-03-01" for n in range(1, 31)
    )
    write_objects(tmp_path / "bucket", build_objects(more_films, more_records))
    warehouse.refresh(str(tmp_path / "bucket"), str(start_lake(tmp_path / "lake")))
    with warehouse.open(str(tmp_path / "lake")) as wh:
        split = wh.cohort(folder / "films.sql").split(**asked)
        after = find_sides(split)
        assert split.division is not None
        moved = {patient for patient in before if before[patient] != after[patient]}
        # Only a record of a held-out centre moves a patient, to `external`; it is reported.
        assert moved == {"p5"}
        assert after["p5"] == "external"
        assert moved <= split.division.moved
        assert {after[f"q{n}"] for n in range(20)} == {"later"}
        assert find_sides(wh.as_of(LATE).cohort(folder / "films.sql").split(**asked)) == before


def test_held_out_centres(wh: warehouse.Warehouse, folder: Path) -> None:
    split = wh.cohort(folder / "films.sql").split(hold_out_centres=["LEEDS"], seed=1)
    sides = find_sides(split)
    assert {patient for patient, side in sides.items() if side == "external"} == {"p3", "p4"}
    assert split.division is not None
    # A film of theirs was there before the record of Leeds.
    assert split.division.moved == {"p3", "p4"}
    earlier = wh.as_of(DAY).cohort(folder / "films.sql").split(hold_out_centres=["Leeds"], seed=1)
    assert {patient for patient, side in find_sides(earlier).items() if side == "external"} == {"p3"}
    plain = find_sides(wh.cohort(folder / "films.sql").split(seed=1))
    assert {p: s for p, s in sides.items() if s != "external"} == {p: plain[p] for p in plain.keys() - {"p3", "p4"}}


def test_a_held_out_centre_that_no_record_has(wh: warehouse.Warehouse, folder: Path) -> None:
    with pytest.raises(
        UsageError, match=r"The centre to hold out, 'Leads', has no clinical file.* Did you mean 'leeds'\?"
    ):
        _ = wh.cohort(folder / "films.sql").split(hold_out_centres=["Leads"]).rows


CENTRES = [
    "cambridge university hospitals nhs foundation trust",
    "leeds teaching hospitals nhs trust",
    "norfolk and norwich university hospitals nhs foundation trust",
    "sheffield childrens nhs foundation trust",
    "sheffield teaching hospitals nhs foundation trust",
]


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("norfolk", CENTRES[2:3]),
        ("norflok", CENTRES[2:3]),
        ("norf", CENTRES[2:3]),
        ("nhs foundation trust", []),
        ("sheffield", CENTRES[3:]),
        ("shefield", CENTRES[3:]),
        ("sheffield teaching", CENTRES[4:]),
        ("teaching sheffield hospital", CENTRES[4:]),
        ("leeds teaching hospital", CENTRES[1:2]),
        ("cambridge university hospital nhs foundation trust", CENTRES[:1]),
        ("nowhere", []),
        ("", []),
    ],
)
def test_the_nearest_centres_are_suggested(given: str, near: list[str]) -> None:
    assert held_out.find_nearest_centres(given, CENTRES) == near


def test_a_held_out_time(wh: warehouse.Warehouse, folder: Path) -> None:
    split = wh.cohort(folder / "films.sql").split(hold_out_after=DAY, seed=1)
    rows = {row["SOPInstanceUID"]: row["split"] for row in split.rows.to_pylist()}
    assert rows["n1"] == "later"
    assert rows["p1"] == Split(seed=1).choose_side("p1")
    assert rows["p1b"] is None
    assert split.division is not None
    assert split.division.left_out == {f"available only after {DAY}, of a patient with earlier data": ({"p1"}, 1)}
    assert split.division.persons["p1"] == rows["p1"]
    with pytest.raises(UsageError, match="A row of persons is a patient"):
        wh.cohort(folder / "persons.sql").split(hold_out_after=DAY)


def test_all_patients_of_a_centre_together(wh: warehouse.Warehouse, folder: Path) -> None:
    rule = Split(50, 0, 50, by="centre", seed=3)
    split = wh.cohort(folder / "persons.sql").split(rule)
    assert split.division is not None
    sides = split.division.persons
    assert {sides[f"p{n}"] for n in range(5, 20)} == {rule.choose_side("bath")}
    both = {rule.choose_side("bath"), rule.choose_side("leeds")}
    assert sides["p4"] == (both.pop() if len(both) == 1 else None)
    assert split.division.left_out["of no known centre"][0] == {"n1", *(f"p{n}" for n in range(20, 31))}


def test_an_answer_with_such_a_column_is_refused(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    own = tmp_path / "own.sql"
    own.write_text(FILMS_COHORT.replace("StudyDate", "'a' as Split"))
    with pytest.raises(UsageError, match="The answer of own already has a column Split"):
        wh.cohort(own).split()
    assert wh.cohort(own).rows["Split"].to_pylist()[0] == "a"


# The command


@pytest.fixture
def ask(here: Chest, folder: Path, wh: warehouse.Warehouse) -> Chest:
    """The command at the lake of this module."""
    return lambda *words: here(*words, "--lake", folder / "lake")


def test_the_table_and_the_file_of_sides(ask: Chest, wh: warehouse.Warehouse, folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "sides.csv"
    words = ("cohort", "split", folder / "films.sql", "--train", 50, "--test", 50, "--seed", 1, "--suppress", 0)
    done = ask(*words, "--hold-out-after", DAY, "-o", target)
    assert done.returncode == 0, done.stderr
    with target.open() as file:
        rows = list(csv.DictReader(file))
    assert [*rows[0]] == ["patient_id", "split"]
    split = wh.cohort(folder / "films.sql").split(train=50, test=50, seed=1, hold_out_after=DAY)
    assert {row["patient_id"]: row["split"] for row in rows} == find_sides(split)
    counts = Counter(row["split"] for row in rows)
    shown = {line.split()[0]: line.split()[1] for line in done.stdout.splitlines() if line.strip()}
    assert {side: int(shown[side]) for side in counts} == counts
    assert (
        f"On no side: rows of 1 patient: images available only after {DAY}, of a patient with earlier data."
        in done.stderr
    )


@given(
    st.lists(st.tuples(st.sampled_from(["train", "test"]), st.none() | st.integers(0, 100)), min_size=1, max_size=60)
)
def test_what_is_known_of_a_side_is_rounded_once(rows: list[tuple[str, int | None]]) -> None:
    """A mean beside a number that its own bands contradict would disclose what both are rounded from."""
    values = {f"p{place}": age for place, (_, age) in enumerate(rows)}
    persons = {f"p{place}": side for place, (side, _) in enumerate(rows)}
    found = _compare_sides("age", values, persons, {}, 5)
    known = {side: found.table.cells.get(("known", side), 0) for side in found.table.columns}
    if any(age is not None for _, age in rows):
        assert {side: of.n for side, of in found.means.items()} == {side: n for side, n in known.items() if n >= 10}


def test_numbers_that_are_not_finite_are_not_known() -> None:
    values = {"a": 1.0, "b": math.inf, "c": math.nan}
    found = _compare_sides("x", values, dict.fromkeys(values, "train"), {}, 0)
    assert found.table.cells == {("known", "train"): 1, ("not known", "train"): 2}


@pytest.mark.slow
def test_counts_are_rounded_by_default(ask: Chest, folder: Path) -> None:
    words = ("cohort", "split", folder / "films.sql", "--balance", "covid_status,sex,age", "--seed", 2)
    rounded, exact = (json.loads(ask(*words, *more, "--format", "json").stdout) for more in ((), ("--suppress", 0)))
    assert sum(side["patients"] for side in exact["sides"]) == 31
    assert sum(side["patients"] for side in rounded["sides"]) == 30
    for column in rounded["balance"]:
        for row in column["values"]:
            assert all(n % 5 == 0 for name, n in row.items() if name != "value")
    of_sex = next(column for column in exact["balance"] if column["column"] == "sex")
    assert sum(n for row in of_sex["values"] for name, n in row.items() if name != "value") == 31
    assert of_sex["differences"].keys() == {"tune", "test"}
    of_age = next(column for column in exact["balance"] if column["column"] == "age")
    assert 40 < of_age["means"]["train"]["mean"] < 72
    few = next(column for column in rounded["balance"] if column["column"] == "age")
    shown = {side["side"]: side["patients"] for side in rounded["sides"]}
    assert few["means"].keys() == {side for side, n in shown.items() if n >= 10}, "means of few persons are withheld"
    assert few["means"]["train"]["mean"] == pytest.approx(of_age["means"]["train"]["mean"], abs=5)
    assert few["means"] != of_age["means"], "means are those of rounded counts"
    assert "Counts are rounded to 5" in ask(*words).stderr


def test_mistakes_of_the_command(ask: Chest, folder: Path, tmp_path: Path) -> None:
    for words, message in {
        ("--balance", "sexx"): "Did you mean sex?",
        ("--hold-out-centre", "Leads"): "Did you mean 'leeds'?",
        ("--train", "0"): "All shares of the split are 0",
        ("--by", "study"): "by patient or centre",
    }.items():
        done = ask("cohort", "split", folder / "films.sql", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
    own = tmp_path / "own.sql"
    own.write_text(FILMS_COHORT.replace("StudyDate", "'a' as split"))
    assert "already has a column split" in ask("cohort", "split", own).stderr


# Manifests


@pytest.fixture
def made(ask: Chest, folder: Path, tmp_path: Path) -> warehouse.Manifest:
    words = ("--train", 50, "--tune", 25, "--test", 25, "--seed", 1, "--hold-out-after", DAY)
    done = ask(
        "manifest", "export", folder / "films.sql", "-o", tmp_path / "split", *words, "--hold-out-centre", "Leeds"
    )
    assert done.returncode == 0, done.stderr
    assert "On no side: rows of 1 patient: images" in done.stderr
    return warehouse.manifest(tmp_path / "split")


@pytest.mark.slow
def test_a_manifest_has_the_sides_and_the_rule(made: warehouse.Manifest, wh: warehouse.Warehouse, folder: Path) -> None:
    rule = Split(50, 25, 25, seed=1, hold_out_after=date.fromisoformat(DAY), hold_out_centres=("Leeds",))
    assert made.about["split"] == rule.to_json()
    jsonschema.Draft202012Validator(json.loads((made.folder / "manifest.schema.json").read_text())).validate(made.about)
    assert made.labels[-1] == "split"
    split = wh.cohort(folder / "films.sql").split(rule)
    sides = {row["SOPInstanceUID"]: row["split"] for row in split.rows.to_pylist()}
    rows = made.polars()
    assert dict(rows.select("SOPInstanceUID", "split").iter_rows()) == sides
    assert [*made.sides] == ["train", "tune", "test", "external", "later"]
    assert sum(len(side.polars()) for side in made.sides.values()) == len(rows) - rows["split"].null_count()
    assert set(made.sides["external"].polars()["patient_id"]) == {"p3", "p4"}
    with pytest.raises(
        UsageError, match=r"no side 'trian'\. Did you mean train\? It has train, tune, test, external, later\.$"
    ):
        _ = made.sides["trian"]


@pytest.mark.slow
def test_the_split_is_part_of_the_digest(made: warehouse.Manifest, wh: warehouse.Warehouse, folder: Path) -> None:
    rule = Split.from_json(made.about["split"])
    cohort = wh.cohort(folder / "films.sql")
    again = cohort.split(rule).export(made.folder.with_name("again"))
    other = cohort.split(train=50, tune=25, test=25, seed=2).export(made.folder.with_name("other"))
    plain = cohort.export(made.folder.with_name("plain"))
    assert again.digest == made.digest
    assert len({made.digest, other.digest, plain.digest}) == 3
    assert "split" not in plain.about
    with pytest.raises(UsageError, match="has no column split"):
        _ = plain.sides
    assert [len(part.polars()) for part in plain.split(test=0.5)] == [
        len(part.polars()) for part in made.split(test=0.5)
    ]


@pytest.mark.slow
def test_it_is_reproduced_listed_and_compared(
    made: warehouse.Manifest, ask: Chest, wh: warehouse.Warehouse, folder: Path, here: Chest
) -> None:
    lake = str(folder / "lake")
    found = reproduce(made, lake)
    assert (found.digest, found.is_same_csv, found.holds) == (made.digest, True, True)
    (entry,) = [entry for entry in register.list_entries(lake) if entry["seal"] == made.seal]
    assert entry["split"] == made.about["split"]
    assert register.find_state({**entry, "snapshot": -1}, wh.sandboxed()) == "same"
    assert register.find_state({**entry, "snapshot": -1, "split": None}, wh.sandboxed()) == "changed"
    words = ("--train", 50, "--tune", 25, "--test", 25, "--seed", 3)
    other = made.folder.with_name("seed-3")
    assert ask("manifest", "export", folder / "films.sql", "-o", other, *words).returncode == 0
    done = here("manifest", "compare", made.folder, other)
    assert done.returncode == 1
    assert "  split: {'by': 'patient'" in done.stdout
    assert "split external is now" in done.stdout
    assert ask("manifest", "verify", made.folder).returncode == 0


@pytest.mark.slow
def test_croissant_names_the_sides(made: warehouse.Manifest, folder: Path, wh: warehouse.Warehouse) -> None:
    about = json.loads((made.folder / "croissant.json").read_text())
    objects, splits = about["recordSet"]
    assert (splits["@id"], splits["dataType"]) == ("splits", "cr:Split")
    kinds = {row["splits/name"]: row["splits/url"] for row in splits["data"]}
    assert kinds == {
        "train": "cr:TrainingSplit",
        "tune": "cr:ValidationSplit",
        **dict.fromkeys(("test", "external", "later"), "cr:TestSplit"),
    }
    (field,) = [field for field in objects["field"] if field["name"] == "split"]
    assert field["references"] == {"field": {"@id": "splits/name"}}
    plain = wh.cohort(folder / "films.sql").export(made.folder.with_name("plain"))
    assert len(json.loads((plain.folder / "croissant.json").read_text())["recordSet"]) == 1


@pytest.mark.slow
def test_a_rule_without_its_label_is_not_a_manifest(made: warehouse.Manifest) -> None:
    from warehouse.errors import ManifestError
    from warehouse.manifests.document import parse_document

    labels = {name: meaning for name, meaning in made.about["cohort"]["labels"].items() if name != "split"}
    about = {**made.about, "cohort": {**made.about["cohort"], "labels": labels}}
    with pytest.raises(ManifestError, match=r"\$\.split has the rule of a label"):
        parse_document(json.dumps(about).encode(), made.folder / "manifest.json")
