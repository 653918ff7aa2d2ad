"""The `chest` command as a user meets it: its answers, its formats, its refusals, and never a traceback."""

import csv
import io
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import typer
from conftest import Chest, start_lake, write_objects

import warehouse
from warehouse.cli import commands
from warehouse.synthetic import make_bucket

COMMANDS = (
    "backup",
    "refresh",
    "status",
    "rejects",
    "describe",
    "sql",
    "patient",
    "export",
    "check",
    "report",
    "sample",
)
VIEWS = (
    "clinical",
    "clinical_changes",
    "clinical_history",
    "clinical_issues",
    "completeness",
    "images",
    "patients",
    "series",
    "studies",
)
DAY = "2020-12-31"
BROKEN = "training/Covid1/images_metadata/2020-03-01/9.json"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight patients, an object that cannot be read, and one that does not belong to the bucket's layout."""
    root = tmp_path_factory.mktemp("bucket") / "small"
    make_bucket(root, 8)
    write_objects(root, {BROKEN: "<html>", "notes/readme.txt": "hello"})
    return root


@pytest.fixture(scope="module")
def truth(bucket: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((bucket / "truth.json").read_text())
    return found


@pytest.fixture(scope="module")
def lake(bucket: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = start_lake(tmp_path_factory.mktemp("lake") / "lake")
    warehouse.refresh(str(bucket), str(folder))
    return folder


@pytest.fixture
def ask(here: Chest, lake: Path, monkeypatch: pytest.MonkeyPatch) -> Chest:
    """The command within this process, with CHEST_LAKE set."""
    monkeypatch.setenv("CHEST_LAKE", str(lake))
    return here


def answer(done: "subprocess.CompletedProcess[str]") -> Any:
    """The JSON that a successful command wrote."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refused(done: "subprocess.CompletedProcess[str]", code: int, *words: str) -> None:
    """Assert that a command failed with this code: nothing on stdout, no traceback, and these words."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("chest: ")
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_that_is_a_command(here: Chest, command: str) -> None:
    done = here(command, "--help")
    assert done.returncode == 0
    examples = [line.strip() for line in done.stdout.splitlines() if line.strip().startswith("$ chest")]
    assert examples
    for example in examples:
        words = shlex.split(example)
        assert words[:3] == ["$", "chest", command]
        for word in words:
            if word.startswith("-"):
                assert word in done.stdout.replace(example, "")


def test_help_lists_every_command(here: Chest) -> None:
    done = here("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert f"  {command} " in done.stdout
    assert here("--version").stdout == f"chest {warehouse.__version__}\n"


def test_each_command_can_be_built_alone() -> None:
    groups = {path.stem for path in Path(commands.__file__).parent.glob("*.py") if "def add_to(" in path.read_text()}
    assert groups == commands._MODULES.keys()
    for module, names in commands._MODULES.items():
        assert sorted(typer.main.get_command(commands.create_app(module)).commands) == sorted(names)  # type: ignore[attr-defined]
    assert commands.build_command("sql").commands.keys() == {"sql", "patient"}
    assert commands.build_command().commands.keys() == {name for names in commands._MODULES.values() for name in names}


def test_sample_refresh_and_again(chest: Chest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHEST_SOURCE", str(tmp_path / "b"))
    monkeypatch.chdir(tmp_path)
    made = chest("sample", "b", "--patients", 2, "--layout", "published", "--seed", 5)
    assert made.returncode == 0, made.stderr
    first = chest("refresh", "--format", "json")  # into ./lake, the default
    result = answer(first)
    assert result["source"] == str(tmp_path / "b")
    assert result["images"]["loaded"] == json.loads(Path("b/truth.json").read_text())["image_json"]
    assert "listing" in first.stderr or "images" in first.stderr  # progress, beside the answer
    assert Path("lake/catalog.sqlite").exists()
    again = chest("refresh", "-q")
    assert (again.returncode, again.stderr) == (0, "")
    assert "Nothing new" in again.stdout
    assert chest("sample", "b").returncode == 2


def test_status_has_the_names_of_truth(ask: Chest, bucket: Path, truth: dict[str, Any]) -> None:
    found = answer(ask("status", "--format", "json"))
    for name in ("image_json", "clinical_json", "patients", "studies", "series", "modality"):
        assert found[name] == truth[name]
    assert found["objects"] == truth["objects"] + 2
    assert (found["rejected"], found["other"]) == (1, 1)
    parts = ("image_json", "clinical_json", "rejected", "dcm", "other")
    assert found["objects"] == sum(found[name] for name in parts)
    assert found["sources"][0]["source"] == str(bucket)
    assert found["snapshot"] == found["refreshes"][0]["snapshot"]
    assert set(found["tables"]) == {
        "raw.objects",
        "raw.headers",
        "raw.records",
        "core.images",
        "core.clinical",
        "core.clinical_issues",
    } | {
        "ops.rejects",
        "ops.refreshes",
        "ops.layouts",
        "ops.manifests",
        "ops.files",
    } | {
        "access.events",
        "access.releases",
        "access.withdrawals",
        "access.withheld",
        "access.manifest_patients",
        "access.models",
    }
    assert (found["blocked"], found["newest_published"]) == ([], found["snapshot"])


@pytest.mark.slow
def test_status_as_of_a_day(ask: Chest, truth: dict[str, Any]) -> None:
    found = answer(ask("status", "--as-of", DAY, "--format", "json"))
    assert found["as_of"] == {DAY: truth["as_of"][DAY]}
    assert found["images"] == truth["as_of"][DAY]["images"]
    before = answer(ask("status", "--as-of", "1999-12-31", "--format", "json"))
    assert (before["patients"], before["images"]) == (0, 0)
    assert before["objects"] == found["objects"]
    table = ask("status", "--as-of", DAY)
    assert f"group training, as of {DAY}" in table.stdout


def test_rejects(ask: Chest, tmp_path: Path) -> None:
    (row,) = answer(ask("rejects", "--format", "json"))
    assert row["key"] == BROKEN
    assert row["reason"]
    assert row["first_seen"] == row["last_seen"]
    assert {"etag", "first_seen", "last_seen"} <= set(row)
    assert ask("rejects", "-o", tmp_path / "r.csv").returncode == 0
    assert BROKEN in (tmp_path / "r.csv").read_text()


QUERY = (
    "select date '2020-03-01' as day, ['a', 'b'] as many, 1.5 as number, null as nothing, true as yes, 'ü,\"' as text"
)


def test_json_and_csv_of_every_kind_of_value(ask: Chest) -> None:
    row = {
        "day": "2020-03-01",
        "many": ["a", "b"],
        "number": 1.5,
        "nothing": None,
        "yes": True,
        "text": 'ü,"',
    }
    assert answer(ask("sql", QUERY, "--format", "json")) == [row]
    done = ask("sql", QUERY, "--format", "csv")
    assert done.stderr == ""
    (cells,) = csv.DictReader(io.StringIO(done.stdout))
    assert cells == {
        "day": "2020-03-01",
        "many": '["a", "b"]',
        "number": "1.5",
        "nothing": "",
        "yes": "true",
        "text": 'ü,"',
    }


def test_no_rows_are_an_empty_list(ask: Chest) -> None:
    assert answer(ask("sql", "select 1 as one where false", "--format", "json")) == []
    assert ask("sql", "select 1 as one where false", "--format", "csv").stdout == "one\n"


def test_a_table_has_all_rows_when_piped(ask: Chest) -> None:
    done = ask("sql", "select 'row ' || range as name from range(100)")
    assert done.returncode == 0
    for number in range(100):
        assert f"row {number} " in done.stdout


@pytest.mark.slow
def test_files_by_ending_and_by_format(ask: Chest, tmp_path: Path) -> None:
    query = "select patient_id, n_images from patients order by all"
    rows = answer(ask("sql", query, "--format", "json"))
    assert rows
    for name, words in {
        "a.json": [],
        "a.parquet": [],
        "a.csv": [],
        "b.txt": ["--format", "json"],
        "p.dat": ["--format", "parquet"],
    }.items():
        done = ask("sql", query, "-o", tmp_path / name, *words)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert json.loads((tmp_path / "a.json").read_text()) == json.loads((tmp_path / "b.txt").read_text()) == rows
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == pq.read_table(tmp_path / "p.dat").to_pylist() == rows
    cells = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert cells == [{name: str(value) for name, value in row.items()} for row in rows]
    assert len(list(tmp_path.iterdir())) == 7  # the two of Parquet have their hashes beside them; no half file


def test_files_that_cannot_be_written(ask: Chest, tmp_path: Path) -> None:
    refused(ask("sql", "select 1", "-o", tmp_path / "no" / "x.csv"), 2, "cannot be written")
    refused(ask("sql", "select 1", "-o", tmp_path / "no" / "x.parquet"), 2, "cannot be written")
    refused(ask("sql", "select 1", "--format", "parquet"), 2, "-o FILE.parquet")
    refused(ask("sql", "select error('half')", "-o", tmp_path / "x.csv"), 2, "half")
    assert list(tmp_path.iterdir()) == []


def test_query_from_a_file_with_parameters(ask: Chest, tmp_path: Path) -> None:
    (tmp_path / "q.sql").write_text("-- a question\nselect $centre as c, $n::int + 1 as n;\n")
    done = ask("sql", "-f", tmp_path / "q.sql", "--param", "centre=Le=eds'", "--param", "n=1", "--format", "json")
    assert answer(done) == [{"c": "Le=eds'", "n": 2}]
    refused(ask("sql", "-f", tmp_path / "none.sql"), 2, "none.sql")
    refused(ask("sql", "select 1", "-f", tmp_path / "q.sql"), 2)
    refused(ask("sql"), 2, "Give either a query")
    refused(ask("sql", "select $a", "--param", "a"), 2, "name=value")
    refused(ask("sql", "select $a"), 2)
    refused(ask("sql", "select $a", "--param", "b=1"), 2)


@pytest.mark.slow
def test_a_parameter_takes_the_type_of_what_it_is_compared_with(ask: Chest) -> None:
    values = "from (values (5, date '2020-05-01', '05'), (6, date '2020-06-01', '6')) as v (n, d, s)"

    def found(condition: str, value: str) -> list[int]:
        done = ask("sql", f"select n {values} where {condition}", "--param", f"p={value}", "--format", "json")
        return [row["n"] for row in answer(done)]

    assert found("n = $p", "5") == [5]
    assert found("n > $p", "5.7") == [6], "not rounded to 6"
    assert found("n = $p", "5.7") == []
    assert found("d >= $p", "2020-06-01") == [6]
    assert found("s = $p", "5") == [], "a text is not a number"
    assert found("s = $p", "05") == [5]
    for condition, value in (("n = $p", "five"), ("d = $p", "2020-02-30"), ("d = $p", "5.5")):
        refused(ask("sql", f"select n {values} where {condition}", "--param", f"p={value}"), 2, "The query failed")


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("select * from patient", "patients"),
        ("select nonsense from patients", "nonsense"),
        ("selec 1", "syntax"),
        ("select 1; select 2", "one query"),
        ("", "one query"),
        ("drop view patients", "SELECT"),
        ("delete from core.images", "SELECT"),
        ("insert into core.images select * from core.images", "SELECT"),
        ("create table t as select 1", "SELECT"),
        ("copy (select 1) to '/tmp/chest-not-there.csv'", "SELECT"),
        ("attach ':memory:' as other", "SELECT"),
        ("set variable as_of = date '2030-01-01'", "SELECT"),
        ("explain analyze delete from core.images", ""),
        ("select cast('x' as integer)", "Could not convert"),
        ("select tag(header, 'Nonsense') from headers", "Nonsense"),
    ],
)
def test_queries_that_are_refused(ask: Chest, query: str, word: str) -> None:
    refused(ask("sql", query), 2, word)
    assert not Path("/tmp/chest-not-there.csv").exists()


@pytest.mark.parametrize("day", ["2020-13-01", "yesterday", "2020-02-30", "01/06/2020"])
def test_a_malformed_day(ask: Chest, day: str) -> None:
    refused(ask("status", "--as-of", day), 2, day, "2020-06-01")


def test_a_day_in_the_future(ask: Chest, truth: dict[str, Any]) -> None:
    done = ask("sql", "select count(*) as n from images", "--as-of", "2999-01-01", "--format", "json")
    assert answer(done) == [{"n": truth["image_json"]}]
    assert "2999-01-01 is in the future" in done.stderr


def test_processes_exit_with_the_code_and_leave_no_traceback(
    chest: Chest, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHEST_LAKE", str(lake))
    assert chest("sql", "select 1 as one", "--format", "json").stdout == '[{"one": 1}]\n'
    refused(chest("sql", "selec 1"), 2, "syntax")
    refused(chest("patient", "Nobody"), 1, "Nobody")
    refused(chest("status", "--as-of", "yesterday"), 2, "yesterday")
    assert chest("nonsense").returncode == 2


def test_snapshots(ask: Chest) -> None:
    number = answer(ask("status", "--format", "json"))["snapshot"]
    assert answer(ask("status", "--snapshot", number, "--format", "json"))["snapshot"] == number
    refused(ask("status", "--snapshot", 999), 2, "999", str(number))
    refused(ask("status", "--snapshot", 1), 2, "not a published snapshot")


def test_groups(ask: Chest, truth: dict[str, Any]) -> None:
    count = ("sql", "select count(*) as n from patients", "--format", "json")
    assert answer(ask(*count, "--group", "all")) == [{"n": truth["patients"]}]
    assert answer(ask(*count, "--group", "validation")) == [{"n": 0}]


def test_patient(ask: Chest) -> None:
    found = answer(ask("patient", "Covid1", "--format", "json"))
    assert set(found) == {
        "patient",
        "clinical_history",
        "clinical_changes",
        "clinical_issues",
        "studies",
        "series",
        "images",
    }
    assert found["patient"]["patient_id"] == "Covid1"
    assert len(found["images"]) == found["patient"]["n_images"]
    assert all(isinstance(row["record"], dict) for row in found["clinical_history"])
    shown = ask("patient", "Covid1")
    assert shown.returncode == 0
    assert shown.stdout.startswith("Covid1 · ")
    for study in found["studies"]:
        assert study["StudyDate"] in shown.stdout


def test_an_unknown_patient_is_the_answer_no(ask: Chest) -> None:
    refused(ask("patient", "Nobody"), 1, "Nobody")
    refused(ask("patient", "covid1", "--format", "json"), 1, "case-sensitive")
    refused(ask("patient", "Covid1", "--as-of", "1999-01-01"), 1, "1999-01-01")
    refused(ask("patient", "Covid1", "--format", "csv"), 2, "table or json")


def test_export_writes_every_view(ask: Chest, truth: dict[str, Any], tmp_path: Path) -> None:
    done = ask("export", "--as-of", DAY, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert DAY in done.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "SHA256SUMS",
        *(f"{view}.parquet" for view in VIEWS),
    ]
    tables = {view: pq.read_table(tmp_path / "out" / f"{view}.parquet") for view in VIEWS}
    assert tables["images"].num_rows == truth["as_of"][DAY]["images"]
    assert tables["clinical"].num_rows == truth["as_of"][DAY]["patients"]
    assert max(tables["images"]["available_date"].to_pylist()).isoformat() <= DAY
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_export_as_csv_and_json_into_an_empty_folder(ask: Chest, truth: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "csv").mkdir()
    for form in ("csv", "json"):
        assert ask("export", "--format", form, "-o", tmp_path / form).returncode == 0
        assert sorted(path.name for path in (tmp_path / form).iterdir()) == [
            "SHA256SUMS",
            *(f"{view}.{form}" for view in VIEWS),
        ]
    rows = json.loads((tmp_path / "json" / "images.json").read_text())
    assert len(rows) == truth["image_json"] == len(list(csv.DictReader((tmp_path / "csv" / "images.csv").open())))


def test_export_refuses_what_is_in_the_way(ask: Chest, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    refused(ask("export", "-o", tmp_path / "full"), 2, "in the way")
    refused(ask("export", "-o", tmp_path / "full" / "mine.txt"), 2, "in the way")
    refused(ask("export", "-o", tmp_path / "new", "--format", "table"), 2)
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"
    assert not (tmp_path / "new").exists()


def test_describe(here: Chest) -> None:
    tables = {row["name"]: row for row in answer(here("describe", "--format", "json"))}
    assert {*VIEWS, "headers", "raw.objects", "core.images"} <= set(tables)
    rows = {row["column"]: row for row in answer(here("describe", "images", "--format", "json"))}
    assert len(rows) == tables["images"]["columns"]
    assert rows["KVP"]["source"] == "(0018,0060)"
    assert rows["KVP"]["unit"] == "kV"
    shown = here("describe", "images")
    assert "(0018,0060)" in shown.stdout
    refused(here("describe", "image"), 2, "Did you mean images?")
    refused(here("describe", "zzz"), 2, "chest describe")


def test_no_lake(here: Chest, tmp_path: Path) -> None:
    for words in (
        ["status"],
        ["sql", "select 1"],
        ["patient", "x"],
        ["rejects"],
        ["export", "-o", tmp_path / "o"],
    ):
        refused(here(*words, "--lake", tmp_path / "none"), 2, "There is no lake", "chest refresh")
    assert list(tmp_path.iterdir()) == []


def test_no_bucket(here: Chest, tmp_path: Path) -> None:
    refused(here("refresh", tmp_path / "none", "--lake", tmp_path / "lake"), 2, "Check the path")
    (tmp_path / "file").write_text("x")
    refused(here("refresh", tmp_path / "file", "--lake", tmp_path / "lake"), 2)
    refused(here("refresh", "", "--lake", tmp_path / "lake"), 2, "CHEST_SOURCE")
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["refresh"],
        ["patient"],
        ["export"],
        ["nonsense"],
        ["status", "--nonsense"],
        ["status", "--format", "xml"],
        ["status", "--snapshot", "one"],
        ["sample"],
        ["sample", "out", "--layout", "odd"],
        ["sample", "out", "--patients", "-1"],
    ],
)
def test_wrong_use(here: Chest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    done = here(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["csv", "json", "table"])
def test_a_reader_that_closes_its_pipe(lake: Path, form: str) -> None:
    command = [sys.executable, "-c", "from warehouse.cli import main; main()", "sql", "--lake", str(lake)]
    query = "select range as n, repeat('x', 100) as x from range(20000)"
    with subprocess.Popen(
        [*command, query, "--format", form], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    assert errors == ""


@pytest.mark.parametrize(("name", "value"), [("CHEST_THREADS", "many"), ("CHEST_MEMORY_LIMIT_MB", "-1")])
def test_settings_that_are_not_numbers(ask: Chest, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    refused(ask("status"), 2, name, value)


@pytest.mark.parametrize(
    ("family", "former", "present"),
    [((), "upkeep", "maintain"), (("manifest",), "repeat", "reproduce"), (("cohort",), "risk", "confounders")],
)
def test_a_former_name_works_with_a_note_and_is_not_listed(
    here: Chest,
    tmp_path: Path,
    family: tuple[str, ...],
    former: str,
    present: str,
) -> None:
    shown = here(*family, "--help").stdout
    assert f" {present} " in shown
    assert f" {former} " not in shown
    needed = {"repeat": [tmp_path / "none"], "risk": ["covid_risk", "--label", "x"]}.get(former, [])
    old, new = (here(*family, name, *needed, "--lake", tmp_path / "none") for name in (former, present))
    assert old.returncode == new.returncode == 2
    assert (
        old.stderr
        == f"{former} was renamed {present}. The old name will be removed in the next minor version.\n{new.stderr}"
    )
