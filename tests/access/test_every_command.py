"""Every command where agreements are enforced and none is named: docs/access.md lists what each shows, and it is so."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from agreed_lakes import LEEDS, YORK, append, find_last, make_lake, make_objects, read_log
from conftest import Chest, copy_lake, write_objects

import warehouse
from warehouse.access import switch, vocabulary
from warehouse.cli.commands import build_command
from warehouse.lake.location import parse_address
from warehouse.settings import Settings
from warehouse.withdrawal import changing

DOCS = Path(__file__).parents[2] / "docs/access.md"
#: Commands that are refused, as a user types them. What is below TMP must not be written.
REFUSED = {
    "sql": "'from patients'",
    "patient": "PatA",
    "cohort run": "FILMS",
    "cohort why": "FILMS PatA",
    "cohort excluded": "FILMS",
    "manifest export": "FILMS -o TMP/m",
    "manifest download": "MANIFEST -o TMP/d",
    "download": "PatA -o TMP/data",
    "export": "-o TMP/views",
    "rejects": "",
}
#: Commands that show rounded counts, and the option with which they would show exact ones, and are refused.
ROUNDED = {
    "status": ("", ""),
    "source list": ("", ""),
    "check": ("", "images_without_clinical"),
    "report": ("-o TMP/report.html", "--suppress 0"),
    "cohort attrition": ("covid_risk", "--suppress 0"),
    "cohort table1": ("covid_risk", "--suppress 0"),
    "cohort split": ("covid_risk", "--suppress 0"),
    "cohort confounders": ("covid_risk --label covid_status", "--suppress 0"),
    "cohort compare": ("covid_risk --from 2020-06-01 --suppress 5", "--suppress 0"),
    "cohort lint": ("covid_risk", "--suppress 0"),
}
#: The same of a cohort of one's own, which would show what its author likes.
OWN = {
    "cohort attrition": "FAILING",
    "cohort table1": "FAILING",
    "cohort split": "FAILING",
    "cohort confounders": "FAILING --label arm",
    "cohort compare": "covid_risk --with FAILING --suppress 5",
}
#: Commands that show nothing of patients. Without words: they take a form or wait, and other tests run them.
NOTHING = {
    "describe": "clinical",
    "cohort list": "",
    "cohort show": "FILMS",
    "cohort test": "FILMS",
    "manifest verify": "MANIFEST",
    "manifest reproduce": "MANIFEST",
    "manifest compare": "MANIFEST MANIFEST",
    "manifest list": "",
    "manifest used-by": "--withdrawn",
    "manifest model": "DIGEST net-1",
    "cite": "",
    "access list": "",
    "access show": "2026-0001",
    "access verify": "",
    "access register": "",
    "access enforce": "",
    "access policy": "2026-0001",
    "audit": "",
    "airlock list": "",
    "withdraw list": "",
    "refresh": "BUCKET",
    "maintain": "",
    "doctor": "",
}
#: Pseudonyms and UIDs of the lake's patients.
_NAMES = re.compile(r"\bPat[ABCV]\b|\b1\.2\.[1-5]\b|\b1\.9\.\d\d")


@dataclass(frozen=True)
class Made:
    """A lake that enforces agreements, a bucket, cohorts, and a manifest of before."""

    root: Path

    def fill(self, words: str, target: Path) -> list[str]:
        places = {
            "FILMS": self.root / "films.sql",
            "FAILING": self.root / "failing.sql",
            "MANIFEST": self.root / "m",
            "BUCKET": self.root / "bucket",
            "TMP": target,
            "DIGEST": json.loads((self.root / "m/manifest.json").read_text())["digest"],
        }
        for name, place in places.items():
            words = words.replace(name, str(place))
        return shlex.split(words)


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command that can be run and is listed, by its words."""
    if not hasattr(command, "list_commands"):
        yield " ".join(path), command
        return
    for name in command.list_commands(None):
        found = command.get_command(None, name)
        if not found.hidden:
            yield from walk(found, (*path, name))


COMMANDS = dict(walk(build_command()))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("commands")
    make_lake(root, enforced=False)
    (root / "films.sql").write_text(
        "-- title: All images\n-- question: Which images are there?\n-- grain: image\n"
        "with films as (select * from images) select SOPInstanceUID, patient_id, Modality from films\n"
    )
    (root / "failing.sql").write_text(
        "-- title: All\n-- question: Who?\n-- grain: patient\nselect patient_id, "
        "cast((select string_agg(patient_id, ' ') from patients) as integer) as arm from patients\n"
    )
    (root / "films.test.txt").write_text("")
    return Made(root)


@pytest.fixture
def run(made: Made, here: Chest, tmp_path: Path) -> Any:
    """Run a command on the lake, which enforces agreements; its code and all that it printed and wrote."""
    lake = made.root / "lake"
    if not (made.root / "m").exists():
        assert (
            here("manifest", "export", made.root / "films.sql", "-o", made.root / "m", "--lake", lake).returncode == 0
        )
        append(str(lake), switch.switch_enforcement(True))

    def go(name: str, words: str) -> tuple[int, str, list[Path]]:
        given = made.fill(words, tmp_path)
        if any(parameter.name == "lake" for parameter in COMMANDS[name].params):
            given += ["--lake", str(lake)]
        done = here(*name.split(), *given)
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        text = "".join([done.stdout, done.stderr, *(path.read_bytes().decode("latin-1") for path in files)])
        return done.returncode, text, files

    return go


def read_documented() -> dict[str, str]:
    """The commands of the table in docs/access.md, each with what it does where agreements are enforced."""
    section = DOCS.read_text().partition("| where agreements are enforced, and none is named |")[2].partition("\n\n")[0]
    found: dict[str, str] = {}
    for row in section.splitlines()[2:]:
        kind, commands = row.strip("|").split("|")
        for name in re.findall("`([^`]+)`", commands):
            assert name not in found, f"{name} is there twice"
            found[name] = kind.strip()
    return found


def test_every_command_is_listed_with_what_it_shows() -> None:
    """A new command fails here until somebody has decided what it may show."""
    documented = read_documented()
    assert documented.keys() == COMMANDS.keys()
    for kind, names in (("refused", REFUSED), ("rounded", ROUNDED), ("nothing of a patient", NOTHING)):
        assert {name for name, each in documented.items() if kind in each} >= set(names), kind
    # That presigning is refused needs a bucket on S3: tests/access/test_credentials.py.
    assert {name for name, each in documented.items() if each == "it is refused"} == {*REFUSED, "manifest presign"}
    assert {name for name, each in documented.items() if "rounded" in each} == ROUNDED.keys()


def test_whatever_may_be_refused_takes_an_agreement() -> None:
    for name in (*REFUSED, *(name for name, (_, exact) in ROUNDED.items() if exact)):
        assert any(parameter.name == "agreement" for parameter in COMMANDS[name].params), name


@pytest.mark.slow(after=4)
@pytest.mark.parametrize("name", REFUSED)
def test_what_shows_rows_is_refused(made: Made, run: Any, name: str) -> None:
    code, text, files = run(name, REFUSED[name])
    assert (code, files) == (1, []), text
    assert "only under an agreement" in text
    refusal = find_last(str(made.root / "lake"), vocabulary.REFUSED)
    assert refusal.body["what"] == f"chest {name}"


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("name", ROUNDED)
def test_what_shows_counts_rounds_them_or_is_refused(run: Any, name: str, tmp_path: Path) -> None:
    words, exact = ROUNDED[name]
    code, text, _ = run(name, words)
    assert code in (0, 1), text
    assert "only under an agreement" not in text
    assert not _NAMES.findall(text.replace(str(tmp_path), ""))
    if exact:
        for path in tmp_path.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        code, text, files = run(name, f"{words} {exact}")
        assert (code, files, "only under an agreement" in text) == (1, [], True), text


@pytest.mark.slow(after=5)
@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("group", ["training", "validation"])
def test_a_cohort_of_ones_own_needs_an_agreement_even_for_rounded_counts(run: Any, name: str, group: str) -> None:
    """Its author decides what a count discloses, and puts rows into a label, or into an error."""
    code, text, _ = run(name, f"{OWN[name]} --group {group}")
    assert (code, "only under an agreement" in text) == (1, True), text
    assert not _NAMES.findall(text)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ROUNDED if ROUNDED[name][0].startswith("covid_risk")])
def test_counts_that_are_put_together_need_an_agreement(run: Any, name: str) -> None:
    """What the service refuses, too, to those who may see counts alone: each finds an exact number, or a patient."""
    words = ROUNDED[name][0]
    naming = words.replace("covid_risk", "prior_data", 1)
    for more in (
        f"{words} --suppress 6",
        f"{naming} --param patients=PatA --param patients=PatB",
        f"{naming} --param patients=PatA",
        f"{words.replace('covid_risk', 'external_validation', 1)} --param centres=a --param centres=b",
        f"{words.replace('covid_risk', 'external_validation', 1)} --param \"centres=['a', 'b']\"",
        f"{words.replace('covid_risk', 'teaching_set', 1)} --param draw=2",
    ):
        code, text, _ = run(name, more)
        is_examined = name == "cohort lint" and "Without --agreement ID" in text
        assert (code, "only under an agreement" in text) == (1, True) or is_examined, (more, text)
        assert not _NAMES.findall(text)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("table1", "--by swab_date"),
        ("confounders", "--label DAYS_FROM_SWAB"),
        ("split", "--balance sex,swab_date"),
        ("split", "--balance Date_Of_Death"),
        ("split", "--balance n_images"),
        ("split", "--balance submitting_centre"),
    ],
)
def test_groups_that_may_be_one_patient_need_an_agreement(run: Any, name: str, words: str) -> None:
    code, text, _ = run(f"cohort {name}", f"covid_risk {words}")
    assert (code, "only under an agreement" in text) == (1, True), text


@pytest.mark.slow(after=1)
@pytest.mark.parametrize(
    "words",
    [
        "--train 12.5 --test 87.5",
        "--seed 7",
        "--by centre --seed 1",
        f"--hold-out-centre '{LEEDS}' --hold-out-centre '{YORK}'",
        "--hold-out-centre Leds",
        "--hold-out-after 2020-03-02",
    ],
)
def test_a_split_of_ones_own_needs_an_agreement(run: Any, words: str) -> None:
    """The share at which a rounded count changes is the place of one patient, which the pseudonym discloses; centres
    that are held out together are sums; and the suggestion for a name is that of a centre with a record or two."""
    code, text, _ = run("cohort split", f"covid_risk {words}")
    assert (code, "only under an agreement" in text) == (1, True), text
    assert not re.search(LEEDS, text, re.IGNORECASE)


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("words", ["", "--by centre", "--train 70 --tune 15 --test 15 --balance sex,age,death"])
def test_the_split_that_is_the_same_for_all_needs_none(run: Any, words: str) -> None:
    code, text, _ = run("cohort split", f"covid_risk {words}")
    assert (code, "only under an agreement" in text) == (0, False), text


@pytest.mark.parametrize("words", ["report -o TMP/report.html --suppress 6", "check --suppress 6"])
def test_overviews_have_one_base_of_rounding(run: Any, words: str) -> None:
    name, _, more = words.partition(" ")
    code, text, files = run(name, more)
    assert (code, files, "only under an agreement" in text) == (1, [], True), text


def test_a_cohort_of_ones_own_is_examined_without_the_lake(run: Any) -> None:
    code, text, _ = run("cohort lint", "FAILING")
    assert (code, "Without --agreement ID: possible leakage is listed, not counted" in text) == (0, True), text
    assert not _NAMES.findall(text)


@pytest.mark.slow
def test_only_a_registered_manifest_is_reproduced_and_shows_no_more_than_whether_it_is_the_same(
    made: Made, run: Any, here: Chest, tmp_path: Path
) -> None:
    """A manifest of one's own could ask anything, of any group: what differs would be rows of the lake."""
    write_objects(tmp_path / "bucket", {key: text for key, text in make_objects().items() if "PatC" in key})
    warehouse.refresh(str(tmp_path / "bucket"), str(tmp_path / "own"))
    given = ("--group", "all", "--lake", tmp_path / "own", "-o", tmp_path / "theirs")
    assert here("manifest", "export", made.root / "films.sql", *given).returncode == 0
    for more in ("", "--format json"):
        done = here(*shlex.split(f"manifest reproduce {tmp_path}/theirs --newest {more} --lake {made.root}/lake"))
        assert (done.returncode, "its register does not have the manifest" in done.stderr) == (1, True)
        assert not _NAMES.findall(done.stdout + done.stderr)
    assert find_last(str(made.root / "lake"), vocabulary.REFUSED).body["what"] == "chest manifest reproduce"
    lake = copy_lake(made.root / "lake", tmp_path / "lake")
    changing.withdraw(parse_address(str(lake)), Settings(), ["PatB"])
    for more in ("", "--format json"):
        done = here(*shlex.split(f"manifest reproduce {made.root}/m {more} --lake {lake}"))
        assert done.returncode == 1
        assert not re.findall("Pat[ACV]|added|removed", done.stdout + done.stderr), "only who has withdrawn"


@pytest.mark.slow
def test_a_registered_question_that_fails_beyond_its_agreement_does_not_show_why(
    made: Made, run: Any, here: Chest, tmp_path: Path
) -> None:
    """It was asked of what an agreement covers, and is asked again of the whole lake: its error would quote that."""
    lake = copy_lake(made.root / "lake", tmp_path / "lake")
    (tmp_path / "trap.sql").write_text(
        "-- title: All\n-- question: Who?\n-- grain: patient\nselect patient_id, cast(case when (select count(*) from "
        "patients) > 1 then (select string_agg(patient_id, ' ') from patients) else '1' end as integer) as arm "
        "from patients\n"
    )
    folder = tmp_path / "trap"
    given = ("--lake", lake, "--agreement", "2026-0003")
    done = here("manifest", "export", tmp_path / "trap.sql", "-o", folder, *given)
    assert done.returncode == 0, done.stderr
    write_objects(tmp_path / "bucket", {**make_objects(), "training/PatD/data/2020-03-05/data.json": '{"Age": "5"}'})
    for words in (f"reproduce {folder}", f"reproduce {folder} --newest", "list --check", "list --check --format json"):
        if "list" in words:
            assert here("refresh", tmp_path / "bucket", "--add-source", "--lake", lake).returncode == 0
        done = here("manifest", *words.split(), "--lake", lake)
        assert "can no longer run" in " ".join((done.stdout + done.stderr).split()), words
        assert not re.findall("Pat[BCDV]", done.stdout + done.stderr), words


@pytest.mark.slow
def test_no_name_that_an_author_wrote_is_in_what_was_released(here: Chest, tmp_path: Path) -> None:
    """A cohort, its parameters, its SQL and its file name patients; beside a name, a number is a fact about whom it
    names."""
    for key, text in make_objects().items():
        written = text if isinstance(text, bytes) else text.replace("PatA", "Covid12")
        write_objects(tmp_path / "bucket", {key.replace("PatA", "Covid12"): written})
    lake, cohort = make_lake(tmp_path, enforced=False, bucket=str(tmp_path / "bucket")), tmp_path / "Covid12.sql"
    cohort.write_text(
        "-- title: Covid12\n-- question: Who?\n-- grain: patient\n-- param whom VARCHAR = 'Covid12': one\n"
        "select patient_id, 'Covid12' as arm from patients where patient_id = $whom\n"
    )
    agreed = ("--agreement", "2026-0001", "--lake", lake)
    before = here("manifest", "export", cohort, "--lake", lake, "-o", tmp_path / "Covid12-before")
    assert before.returncode == 0, before.stderr
    append(lake, switch.switch_enforcement(True))
    for words in ("manifest export", "cohort run", "cohort attrition"):
        done = here(*words.split(), cohort, "-o", tmp_path / f"of_Covid12-{words[0:6]}.csv", *agreed)
        assert done.returncode == 0, done.stderr
    narrow = ("--agreement", "2026-0002", "--lake", lake)
    done = here("manifest", "download", tmp_path / "Covid12-before", "-o", tmp_path / "d", *narrow)
    assert (done.returncode, "does not cover" in done.stderr) == (1, True), done.stderr
    assert "manifest in " in find_last(lake, vocabulary.REFUSED).body["reason"]
    digest = json.loads((tmp_path / "of_Covid12-manife.csv/manifest.json").read_text())["digest"]
    for words in ("manifest list", "manifest list --check", "audit", "manifest used-by --withdrawn", "access verify"):
        for more in ("", "--format json"):
            if (words, more) == ("access verify", "--format json"):
                continue
            done = here(*shlex.split(f"{words} {more}"), "--lake", lake)
            assert done.returncode == 0, done.stderr
            assert "Covid12" not in done.stdout + done.stderr, words
            assert digest in done.stdout or "list" not in words or not more
    assert not [event for event in read_log(lake) if "Covid12" in event.text]


@pytest.mark.slow(after=2)
@pytest.mark.parametrize(
    "words", ["audit --patient PatA", "manifest used-by PatA", "withdraw list PatA PatB", "manifest used-by t/PatA/x/y"]
)
def test_who_asks_in_what_a_patient_is_is_logged(made: Made, here: Chest, run: Any, tmp_path: Path, words: str) -> None:
    """That a patient is in a cohort is a fact about them: without an agreement, the log has who asked for it."""
    lake = copy_lake(made.root / "lake", tmp_path / "lake")
    done = here(*words.split(), "--lake", lake)
    assert done.returncode in (0, 1), done.stderr
    asked = find_last(str(lake), vocabulary.ASKED)
    name = re.sub(" ?(t/)?Pat.*| --patient", "", words)
    assert (asked.body["what"], asked.body["patients"]) == (f"chest {name}", words.count("Pat"))
    assert "Pat" not in asked.text
    assert f"asked: chest {name}, by " in here("audit", "--lake", lake).stdout
    for path in (lake / "catalog.sqlite", lake):
        path.chmod(0o555 if path.is_dir() else 0o444)
    n_events = len(read_log(str(lake)))
    done = here(*words.split(), "--lake", lake)
    if os.geteuid():  # root may write
        assert (done.returncode, done.stdout) == (2, "")
    assert len(read_log(str(lake))) == n_events + (0 if os.geteuid() else 1)


@pytest.mark.parametrize("name", NOTHING)
def test_what_needs_no_agreement_shows_nothing_of_a_patient(run: Any, name: str) -> None:
    code, text, _ = run(name, NOTHING[name])
    assert code in (0, 2), text
    assert not _NAMES.findall(text)


@pytest.mark.slow
def test_small_numbers_are_not_in_the_overviews(run: Any) -> None:
    """The lake has four patients, with one or two images and at most one record each."""
    _, text, _ = run("status", "--format json")
    status = json.loads(text[: text.rindex("}") + 1])
    for name in (
        "patients",
        "images",
        "studies",
        "series",
        "objects",
        "image_json",
        "clinical_json",
        "dcm",
        "withheld",
    ):
        assert status[name] == 0, name
    assert (status["modality"], status["reject_reasons"]) == ({}, [])
    assert {n for name, n in status["tables"].items() if name.startswith(("raw.", "core.")) and n % 5} == set()
    assert "rounded" in text
    _, text, _ = run("status", "--as-of 2020-06-01 --format json")
    day = json.loads(text[: text.rindex("}") + 1])["as_of"]["2020-06-01"]
    assert day == {"patients": 0, "images": 0}
    _, text, _ = run("source list", "--format json")
    (source,) = json.loads(text[: text.rindex("]") + 1])
    assert (source["objects"], source["patients"], source["bytes"]) == (0, 0, None)
    _, text, _ = run("check", "--format json")
    checks = json.loads(text[: text.rindex("]") + 1])
    assert not [one for one in checks if one.get("patients") or "rows" in one or one["faults"]]
