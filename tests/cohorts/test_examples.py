"""Examples beside cohorts: those that are shipped hold, and one that does not is shown with its rows."""

import json
import os
from pathlib import Path

import pytest
from conftest import Chest

import warehouse
from warehouse import cohorts
from warehouse.cohorts.examples.parsing import parse_examples
from warehouse.cohorts.examples.running import find_examples, run_examples

COHORT = """\
-- title: Films
-- question: Which films were read?
-- grain: image
-- table reads: patient_id VARCHAR, score INTEGER
-- param since DATE = '2020-01-01': only films from this day on
select f.SOPInstanceUID, f.StudyDate, reads.score
from chest_films as f inner join reads on f.patient_id = reads.patient_id
where f.StudyDate >= $since
"""
EXAMPLES = """\
# shared
images
patient_id | SOPInstanceUID | StudyDate
a          | a1             | 2020-04-01
b          | b1             | 2020-04-02

table reads
patient_id | score
a          | 3
b          | null

example: all
answer
SOPInstanceUID | score
a1             | 3
b1             |

example: later
param since: 2020-04-02
as of: 2020-05-01
answer
SOPInstanceUID
b1
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "mine.sql").write_text(COHORT)
    (tmp_path / "mine.test.txt").write_text(EXAMPLES)
    return tmp_path / "mine.sql"


@pytest.mark.slow
@pytest.mark.parametrize("name", cohorts.list_shipped())
def test_the_examples_of_every_shipped_cohort_hold(name: str) -> None:
    found = run_examples(name)
    assert len(found) > 1
    assert [(one.name, one.missing, one.unexpected) for one in found if not one.holds] == []


def test_every_shipped_cohort_is_shipped_with_its_examples() -> None:
    assert all(find_examples(name).is_file() for name in cohorts.list_shipped())


@pytest.mark.slow
def test_an_example_that_fails_is_shown_with_its_rows(mine: Path, here: Chest) -> None:
    assert here("cohort", "test", mine).returncode == 0
    other = mine.with_name("other.txt")
    other.write_text(
        EXAMPLES.replace("a1             | 3\nb1             |\n", "a1             | 2\nb1             |\n")
    )
    done = here("cohort", "test", mine, "--examples", other)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"{other}:12: all",
        "  missing     SOPInstanceUID = a1, score = 2",
        "  unexpected  SOPInstanceUID = a1, score = 3",
    ]
    assert "2 examples, 1 failed" in done.stderr
    done = here("cohort", "test", mine, "--examples", other, "--format", "json")
    assert [one["holds"] for one in json.loads(done.stdout)] == [False, True]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("StudyDate\n", "StudyDat\n", "3: images has no column StudyDat. Did you mean StudyDate?"),
        ("2020-04-01\n", "soon\n", "2: The rows of images cannot be used."),
        ("a1             | 2020", "a1 | x | 2020", "4: The row has 4 cells, its header 3."),
        ("SOPInstanceUID | score", "SOPInstanceUID | scor", "14: The answer has no column scor. Did you mean score?"),
        ("images\n", "image\n", "2: Not an example. Did you mean images?"),
        ("param since", "param sinc", "has no parameter sinc. Did you mean since?"),
        ("answer\nSOPInstanceUID\nb1\n", "", "18: The example has no answer"),
        ("| 3\nb          | null", "| x\nb | null", "row 1: score is INTEGER, not 'x'"),
        ("SOPInstanceUID | score", "score | score", "14: The column score is there twice."),
        ("SOPInstanceUID | score", "SOPInstanceUID |", "14: The column '' has no letter"),
        ("all\n", "a\x1bll\n", "12: The character U\\+001B is not allowed"),
    ],
)
def test_a_mistake_in_the_examples_has_its_line(mine: Path, old: str, new: str, message: str) -> None:
    assert old in EXAMPLES
    file = mine.with_suffix(".test.txt")
    file.write_text(EXAMPLES.replace(old, new, 1))
    with pytest.raises(warehouse.UsageError, match=message.replace("(", r"\(")):
        run_examples(str(mine))


def test_no_examples_are_an_error(mine: Path) -> None:
    mine.with_suffix(".test.txt").unlink()
    with pytest.raises(warehouse.UsageError, match="There are no examples in"):
        run_examples(str(mine))
    os.mkfifo(mine.with_suffix(".test.txt"))
    with pytest.raises(warehouse.UsageError, match="There are no examples in"):
        run_examples(str(mine))
    mine.with_suffix(".test.txt").unlink()
    with pytest.raises(warehouse.UsageError, match="There is no example"):
        parse_examples("images\npatient_id\na\n", "x.txt")


def test_all_examples_together_have_the_time_of_one_query(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's file of a megabyte has room for tens of thousands."""
    monkeypatch.setenv("CHEST_SQL_SECONDS", "1")
    shared, one = EXAMPLES.split("example: later")
    mine.with_suffix(".test.txt").write_text(shared + f"example: later{one}\n" * 400)
    with pytest.raises(warehouse.UsageError, match="took longer than 1 s"):
        run_examples(str(mine))
