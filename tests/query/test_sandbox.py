"""Opening a stranger's cohort is safe: names, rights, limits, texts that are odd; by every command that takes one."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from conftest import Chest
from example_lakes import build_lake as build_example_lake
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import warehouse
from warehouse import cohorts
from warehouse.api import Cohort
from warehouse.catalog import columns
from warehouse.cohorts import leakage
from warehouse.engine.names import explain_name
from warehouse.engine.query_text import find_hidden
from warehouse.lake import location
from warehouse.lake import store as lakes
from warehouse.manifests.checking import LABEL_TYPES
from warehouse.manifests.rows import collect_rows
from warehouse.settings import Settings

SECRET = "nobody may read this"
HEAD = "-- title: t\n-- question: q?\n-- grain: patient\n"

FILMS = """
patient | image | study | day        | modality
a       | a1    | A1    | 2020-02-01 | CR
a       | a2    | A2    | 2020-04-01 | CR
b       | b1    | B1    | 2020-04-02 | DX
"""
RECORDS = """
patient | uploaded   | positive_swab | centre
a       | 2020-04-20 | 2020-04-01    | Leeds
c       | 2020-04-20 |               | Bath
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sandbox")
    (folder / "secret.txt").write_text(SECRET)
    with build_example_lake(folder, FILMS, RECORDS):
        return folder


@pytest.fixture(scope="module")
def wh(root: Path) -> Iterator[warehouse.Warehouse]:
    with warehouse.open(str(root / "lake"), trusted=False) as opened:
        yield opened


def write(root: Path, sql: str, head: str = HEAD) -> Path:
    file = root / "mine.sql"
    file.write_bytes(f"{head}{sql}".encode("utf-8", "surrogateescape"))
    return file


# --- names ---

LABEL_NAME = """\
select
    patient_id,
    1 as "patient_id"" from images inner join answer on true limit 0; copy (from read_text('SECRET')) to 'OUT/x.csv'; \
select 1 as ""z"
from patients
"""
STEP_NAME = "a'||cast(cast('LEAK '||current_setting('temp_directory') as integer) as varchar)||'"


@pytest.mark.parametrize("command", ["run", "attrition", "lint", "confounders", "compare", "export"])
@pytest.mark.parametrize("case", ["label", "step"])
def test_a_name_that_is_sql_is_refused_by_every_command(here: Chest, root: Path, case: str, command: str) -> None:
    out = root / f"out-{case}-{command}"
    out.mkdir()
    label = LABEL_NAME.replace("SECRET", str(root / "secret.txt")).replace("OUT", str(out))
    step = f'with "{STEP_NAME}" as (select patient_id from patients)\nselect patient_id from "{STEP_NAME}"'
    file = write(root, label if case == "label" else step)
    words = {"confounders": ["--label", "z"], "compare": ["--from", "2020-03-01"], "export": ["-o", out / "m"]}
    family = "manifest" if command == "export" else "cohort"
    done = here(family, command, file, "--lake", root / "lake", *words.get(command, []))
    assert done.returncode == (1 if command == "lint" else 2)
    assert f"{file}:{6 if case == 'label' else 4}: " in (done.stdout if command == "lint" else done.stderr)
    assert "at most 63" in done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert "LEAK /" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not list(out.iterdir())


NAMES = st.one_of(
    st.text(st.characters(exclude_characters="\0\n\r", exclude_categories=["Cs"]), min_size=1, max_size=12),
    st.sampled_from(
        ("select", "a b", 'a"b', "a'b", "a;b", "--", "/*", "$a", "é", "\u212a", "x" * 64, "1a", "a.b", "*")
    ),
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True),
)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(name=NAMES)
@example("answer")
@example("Patients")
def test_only_plain_names_come_through(name: str) -> None:
    """Of a label, a column and a step; the file is refused with the line of the name, or the name is plain."""
    quoted = '"' + name.replace('"', '""') + '"'
    texts = {
        5: f"{HEAD}select patient_id,\n1 as {quoted} from patients",
        4: f"{HEAD}-- label {quoted}: what\nselect patient_id, 1 as {quoted} from patients",
        6: f"{HEAD}with a1 as (from patients),\n-- x\n{quoted} as (from patients) select patient_id from {quoted}",
    }
    taken = {"patient_id", "a1", "answer", *(view.name for view in columns.list_views())}
    for line, text in texts.items():
        if not explain_name(name) and name.lower() not in taken:
            cohorts.check_definition(cohorts.parse(text, "mine.sql"))
        elif explain_name(name):
            with pytest.raises(cohorts.DefinitionError) as caught:
                cohorts.check_definition(cohorts.parse(text, "mine.sql"))
            assert line in {problem.line for problem in caught.value.problems}


def test_columns_are_named_and_none_twice() -> None:
    for select, line, message in (
        ("patient_id,\n  count(*)", 4, r"count_star\(\)' is not a valid name.*by AS"),
        ("patient_id,\n  1 as n,\n  2 as N", 6, "differs from n in letter case alone"),
        ("patient_id, patient_id", 4, "patient_id is there twice"),
        ("p.*, p.*", 4, "is there twice"),
        ("patient_id,\n $x::int", 5, "is not a valid name"),
    ):
        head = f"{HEAD}-- param x VARCHAR = '1': x\n" if "$x" in select else HEAD
        with pytest.raises(cohorts.DefinitionError, match=message) as caught:
            cohorts.check_definition(cohorts.parse(f"{head}select {select}\nfrom patients p group by all", "mine.sql"))
        assert line in {problem.line for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("-- param sel-ect VARCHAR = 'a': x", "'sel-ect' is not a valid name"),
        ("-- param select VARCHAR = 'a': x", "'select' is a reserved word"),
        ("-- param \u212a VARCHAR = 'a': x", r"'\\u212a' is not a valid name"),
        ("-- param a VARCHAR = 'a': x\n-- param A VARCHAR = 'a': x", "A is declared twice"),
        ('-- label "a""b": x', "'a\"b' is not a valid name"),
        ("-- label order: x", "'order' is a reserved word"),
        ("-- label died: x\n-- label Died: x", "Died is declared twice"),
        ("-- param a VARCHAR = (select max(key) from images): x", "must be a literal"),
        ("-- param a VARCHAR = current_setting('temp_directory'): x", "must be a literal"),
        ("-- param a VARCHAR = 'a' || 'b': x", "must be a literal"),
    ],
)
def test_names_and_defaults_of_the_header(header: str, message: str) -> None:
    sql = f"{HEAD}{header}\nselect patient_id, 1 as died from patients where $a = 'a'"
    with pytest.raises(cohorts.DefinitionError, match=message):
        cohorts.check_definition(cohorts.parse(sql, "mine.sql"))


def test_the_declared_columns_are_such_names() -> None:
    assert [c.name for view in columns.list_views() for c in view.columns if explain_name(c.name)] == []


def test_a_parameter_is_a_dollar_and_a_name() -> None:
    """`@x` is a parameter to sqlglot and a call of abs() to DuckDB."""
    text = f"{HEAD}-- param x INTEGER = -1: x\nselect patient_id, @age as y from patients where n_images > $x"
    assert cohorts.check_definition(cohorts.parse(text, "mine.sql"))[0] == {"x": -1}


# --- least right ---


def hole(wh: warehouse.Warehouse, name: str) -> Cohort:
    """A cohort as if the first look had let a column of that name through."""
    quoted = '"' + name.replace('"', '""') + '"'
    known = cohorts.parse(f"{HEAD}select patient_id, 1 as {quoted} from patients", "hole.sql")
    return Cohort(wh, known, {}, {"answer": {"patient_id": "VARCHAR", name: "INTEGER"}})


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(name=NAMES)
@example('patient_id" from images; select 1 as "z')
def test_rows_behind_an_answer_whatever_its_columns_are_called(wh: warehouse.Warehouse, name: str) -> None:
    assume(name.lower() != "patient_id" and not find_hidden(name))
    rows = collect_rows(hole(wh, name))
    try:
        assert rows.counts["images"] == 3
        assert rows.con.execute("select distinct * exclude (key) from manifest_rows limit 0").description
    finally:
        rows.close()


def test_what_holds_the_rows_has_no_lake_and_one_folder(wh: warehouse.Warehouse, root: Path, tmp_path: Path) -> None:
    rows = collect_rows(hole(wh, "n"), folder=tmp_path)
    try:
        for query in (
            f"from read_text('{root / 'secret.txt'}')",
            f"copy manifest_rows to '{root / 'stolen.csv'}'",
            f"copy manifest_rows to '{tmp_path}/../stolen.csv'",
            f"attach 'ducklake:sqlite:{root / 'lake' / 'catalog.sqlite'}' as lake",
            "from lake.core.images",
            "from images",
            "install httpfs",
            "set enable_external_access = true",
            f"set allowed_directories = ['{root}']",
        ):
            with pytest.raises(duckdb.Error):
                rows.con.execute(query).fetchall()
        assert rows.con.execute("select count(*) from manifest_rows").fetchone()
        rows.con.execute(f"copy manifest_rows to '{tmp_path / 'mine.csv'}'")
    finally:
        rows.close()
    assert not (root / "stolen.csv").exists()
    assert not (tmp_path.parent / "stolen.csv").exists()


TYPES = """
    sum(n_images) over () as huge, cast('a' as enum('a', 'b''c')) as moody, cast(1.25 as decimal(9, 3)) as amount,
    cast('2020-01-01 10:00:00+02' as timestamptz) as tz, cast('2020-01-01 10:00:00.123456' as timestamp) as ts,
    cast('2020-01-01' as timestamp_ns) as ns, cast('10:00:00' as time) as tm, interval 3 days as iv,
    [[1, 2], null, []] as nested, {'a': 1, 'b c': [date '2020-01-01']} as st, map {'k': 1.5} as mp,
    '\\x01\\xff'::blob as bl, to_json({'a': 1}) as js, null as nothing, true as yes, 1.5::float as f4,
    cast(3 as utinyint) as u1, array_value(1, 2, 3) as arr, 'it''s "x", ü;' as word
"""


@pytest.mark.slow
def test_types_of_labels_survive(wh: warehouse.Warehouse, root: Path, tmp_path: Path) -> None:
    for grain in ("patient", "study"):
        name = {"patient": "patient_id", "study": "StudyInstanceUID"}[grain]
        view = {"patient": "patients", "study": "studies"}[grain]
        head = HEAD.replace("grain: patient", f"grain: {grain}")
        answer = wh.cohort(write(root, f"select {name}, {TYPES} from {view}", head))
        meant = answer.relation()
        folder = answer.export(tmp_path / grain, objects=("dcm", "json", "clinical")).folder
        with duckdb.connect() as con:
            found = con.sql(f"from '{folder / 'manifest.parquet'}'")
            types = dict(zip(found.columns, map(str, found.types), strict=True))
            for label, kind in zip(meant.columns, map(str, meant.types), strict=True):
                # What Parquet does not keep, or Polars not read, becomes text: ENUM, fixed arrays, structs, INTERVAL.
                kept = kind if LABEL_TYPES.fullmatch(kind) and "INTERVAL" not in kind else "VARCHAR"
                assert types[label] == {"HUGEINT": "BIGINT"}.get(kind, kept), label
            clinical = found.filter("object = 'clinical'").aggregate("count(*), count(word)").fetchone()
        assert clinical == ((2, 2) if grain == "patient" else (1, 0)), "a label belongs to a patient or to nobody"


@pytest.mark.slow
def test_listing_manifests_runs_no_sql_unless_asked(here: Chest, root: Path, tmp_path: Path) -> None:
    place = ("--lake", root / "lake")
    made = here("manifest", "export", write(root, "select patient_id from patients"), "-o", tmp_path / "m", *place)
    assert made.returncode == 0, made.stderr
    hostile = HEAD + LABEL_NAME.replace("SECRET", str(root / "secret.txt")).replace("OUT", str(tmp_path))
    with lakes.open_writer(location.parse_address(str(root / "lake")), Settings()) as con:
        for name, sql in (("hostile", hostile), ("plain", f"{HEAD}select patient_id from patients")):
            con.execute(
                "insert into ops.manifests from (select * replace ($name as cohort, $sql as sql, -1 as snapshot) "
                "from ops.manifests limit 1)",
                {"name": name, "sql": sql},
            )
    rows = json.loads(here("manifest", "list", *place, "--format", "json").stdout)
    assert not any("state" in row for row in rows)
    rows = json.loads(here("manifest", "list", "--check", *place, "--format", "json").stdout)
    states = {row["cohort"]: row["state"] for row in rows}
    assert states["plain"] in ("same", "changed")
    assert "at most 63" in states["hostile"]
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


# --- limits ---

UNBOUNDED = "levenshtein(repeat('ab', 400000) || patient_id, repeat('ba', 400000))"


@pytest.mark.slow(after=1)
@pytest.mark.parametrize(
    ("family", "command", "words"),
    [
        ("cohort", "run", []),
        ("cohort", "lint", []),
        ("cohort", "attrition", []),
        ("cohort", "compare", ["--from", "2020-03-01"]),
        ("cohort", "confounders", ["--label", "d"]),
        ("manifest", "export", ["-o", "unbounded"]),
    ],
)
def test_every_command_ends_in_time(
    chest: Chest, root: Path, monkeypatch: pytest.MonkeyPatch, family: str, command: str, words: list[str]
) -> None:
    """By a call that heeds no interruption; lint asks for the rows since a filter reads a fact."""
    monkeypatch.setenv("CHEST_SQL_SECONDS", "0.5")
    monkeypatch.setenv("CHEST_THREADS", "1")  # one core is kept busy until the process ends itself, not all
    file = write(root, f"select patient_id, {UNBOUNDED} as d from clinical where coalesce(death, true) or true")
    start = time.monotonic()
    done = chest(family, command, file, "--lake", root / "lake", *words, cwd=root)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr == "chest: The query took longer than 0.5 s. Ask for less, or allow more with CHEST_SQL_SECONDS.\n"
    )
    assert time.monotonic() - start < 40
    assert not (root / "unbounded").exists()


@pytest.mark.slow
def test_what_takes_long_before_it_runs_ends_in_time(
    chest: Chest, root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Binding a constant, or sixty arrows, each of which doubles the work; without a lake."""
    monkeypatch.setenv("CHEST_SQL_SECONDS", "0.5")
    constant = UNBOUNDED.replace("|| patient_id", "|| 'x'")
    for sql in (
        f"select patient_id, {constant} as d from patients",
        f"select patient_id, '{{}}'::json{'->1' * 60} as d from patients",
    ):
        done = chest("cohort", "lint", write(root, sql), "--lake", tmp_path / "none")
        assert done.returncode == 2
        assert "longer than 0.5 s" in done.stderr


def test_many_queries_have_the_time_of_one(wh: warehouse.Warehouse, root: Path) -> None:
    from warehouse.engine import limits

    slow = "(select count(*) from range(1000000000000) a, range(1000000) b)"
    answer = wh.cohort(write(root, f"select patient_id, {slow} as n from patients"))
    start = time.monotonic()

    def ask_twice() -> None:
        with limits.limit_resources(Settings(sql_seconds=0.5)):
            for _ in range(2):
                with pytest.raises(warehouse.UsageError, match="longer than"):
                    _ = answer.rows

    with pytest.raises(warehouse.UsageError, match=r"longer than 0\.5 s"):
        ask_twice()
    assert time.monotonic() - start < 10


@pytest.mark.slow(after=1)
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-- param a: VARCHAR =" + " " * 500_000 + "x", "The parameter is not valid"),
        ("-- param " + "ab" * 100_000 + " VARCHAR = 'x': y", "at most 63"),
        ("-- label " + "ab" * 100_000 + ": y", "at most 63"),
        ("-- " + "a1_" * 150_000, "mine.sql"),
        ("-- title" + "x" * 400_000 + " !", "mine.sql"),
        ("-- topic: x\n" + "--   y\n" * 90_000, "topic"),
        ("".join(f"-- param p{i} INTEGER = 1: x\n" for i in range(20_000)), "at most 1,000 entries"),
        ("".join(f"-- label p{i}: x\n" for i in range(30_000)), "at most 1,000 entries"),
    ],
)
def test_a_long_header_is_refused_at_once_and_shortly(line: str, message: str) -> None:
    start = time.process_time()
    with pytest.raises(warehouse.UsageError, match=message) as caught:
        cohorts.parse(f"{HEAD}{line}\nselect patient_id from patients where ${'ab' * 100_000}c is null", "mine.sql")
    assert time.process_time() - start < 5
    assert len(str(caught.value)) < 20_000


@pytest.mark.parametrize("part", ["chr(10)", "'token'", "'https://'", "'a'"])
def test_a_long_error_of_a_query_is_shown_at_once_and_shortly(wh: warehouse.Warehouse, root: Path, part: str) -> None:
    """The text of an error is the author's: no expression of ours may take hours over it."""
    failing = f"error('x' || repeat({part}, 500000) || '@')"
    file = write(root, f"select patient_id, {failing} as e from patients")
    start = time.process_time()
    for ask in (lambda: wh.cohort(file).rows, lambda: wh.sql(f"select {failing} from patients", trusted=False)):
        with pytest.raises(warehouse.UsageError) as caught:
            ask()
        assert len(str(caught.value)) < 5_000
    assert time.process_time() - start < 10


STUCK = """
import re
from warehouse.engine import limits
from warehouse.settings import Settings

limits._GRACE_SECONDS = limits._LAST_SECONDS = 0.2
limits.claim_process()
with limits.limit_resources(Settings(sql_seconds=0.1)):
    re.fullmatch("(a+)+b", "a" * 60)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no such alarm")
def test_what_lets_no_thread_run_is_ended_by_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", STUCK], check=False, timeout=60)
    assert done.returncode == -signal.SIGALRM


# --- texts that are nested, endless or no texts ---

DEEP = {
    "brackets": "select patient_id, " + "(" * 10_000 + "1" + ")" * 10_000 + " as n from patients",
    "lists": "select patient_id, " + "[" * 400 + "1" + "]" * 400 + " as n from patients",
    "case": "select patient_id, " + "case when true then " * 400 + "1" + " end" * 400 + " as n from patients",
    "calls": "select patient_id, " + "abs(" * 400 + "1" + ")" * 400 + " as n from patients",
    "sums": "select patient_id, " + "+".join(["1"] * 900) + " as n from patients",
    "not": "select patient_id, " + "not " * 900 + "true as n from patients",
    "subqueries": "select patient_id from (" * 300 + "select patient_id from patients" + ")" * 300,
    "scalars": "select patient_id, " + "(select " * 300 + "1" + ")" * 300 + " as n from patients",
    "with": "with a as (" * 200 + "select patient_id from patients" + ") select patient_id from a" * 200,
    "lambdas": "select patient_id, " + "list_transform([1], lambda x: " * 300 + "1" + ")" * 300 + " as n from patients",
    "types": "select patient_id, null::" + "struct(a " * 300 + "int" + ")" * 300 + " as n from patients",
    "steps": "with "
    + ", ".join(f"s{n} as (select patient_id from {f's{n - 1}' if n else 'patients'})" for n in range(600))
    + " select patient_id from s599",
    "default": "-- param x INTEGER[] = "
    + "[" * 3000
    + "1"
    + "]" * 3000
    + ": x\nselect patient_id from patients where $x is null",
}
LONG = {
    "and": "select patient_id from patients where " + " and ".join(["true"] * 3000),
    "union": "select patient_id from images" + " union select patient_id from images" * 120,
    "values": "select patient_id from patients where n_images in (" + ", ".join(["1"] * 20_000) + ")",
}


@pytest.mark.parametrize("kind", DEEP)
def test_what_is_nested_too_deeply_is_an_error(wh: warehouse.Warehouse, root: Path, kind: str) -> None:
    file = write(root, DEEP[kind])
    with pytest.raises(warehouse.UsageError) as caught:
        _ = wh.cohort(file).rows
    assert "Traceback" not in str(caught.value)
    assert f"{file}:" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    if kind != "default":
        with pytest.raises(warehouse.UsageError):
            wh.sql(DEEP[kind])


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("kind", LONG)
def test_what_is_long_and_not_deep_is_answered(wh: warehouse.Warehouse, root: Path, kind: str) -> None:
    answer = wh.cohort(write(root, LONG[kind]))
    assert answer.rows.num_rows > 0
    assert answer.steps()
    assert isinstance(leakage.find_warnings(answer.definition, answer), list)


ODD = {
    "a zero byte": b"select patient_id from patients\0",
    "Latin-1": "select patient_id, 'é' as n from patients".encode("latin-1"),
    "UTF-16": "select patient_id from patients".encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + HEAD.encode() + b"select patient_id from patients",
    "a mark within": f"{HEAD}select \ufeffpatient_id from patients".encode(),
    "a line of its own": f"{HEAD}-- x\u2028select patient_id from patients".encode(),
    "a carriage return": f"{HEAD}-- x\rselect patient_id from patients".encode(),
    "an escape": f"{HEAD}-- x\x1b[2J\nselect patient_id from patients".encode(),
    "a surrogate": b"select '\xed\xa0\x80' as n from patients",
    "too much": HEAD.encode() + b"select patient_id from patients -- " + b"x" * 1_000_000,
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_not_text_is_refused_in_one_line(root: Path, kind: str) -> None:
    file = root / "odd.sql"
    file.write_bytes(ODD[kind])
    with pytest.raises(warehouse.UsageError) as caught:
        cohorts.load(file)
    assert len(str(caught.value).splitlines()) == 1
    assert str(file) in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.slow
def test_commands_refuse_them_in_one_line(here: Chest, root: Path) -> None:
    odd, deep = root / "odd.sql", write(root, DEEP["brackets"])
    odd.write_bytes(ODD["Latin-1"])
    lake = ("--lake", root / "lake")
    for words in (
        ("sql", "-f", odd, *lake),
        ("sql", "-f", "/dev/zero", *lake),
        ("sql", "-f", root, *lake),
        ("sql", "select 1 as n -- \x1b\udcff", *lake),
        ("sql", "--untrusted", "-f", deep, *lake),
        ("cohort", "show", odd),
        ("cohort", "show", deep),
        ("cohort", "run", deep, *lake),
        ("cohort", "run", "covid_risk", "--param", f"centres=@{odd}", *lake),
        ("cohort", "run", "covid_risk", "--param", "centres=@/dev/zero", *lake),
        ("manifest", "export", deep, "-o", root / "none", *lake),
    ):
        done = here(*words)
        assert done.returncode == 2, (words, done)
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith("chest: ")
