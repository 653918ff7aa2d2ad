"""Tables of the user's own: typed and shown, read by cohorts inside the sandbox, kept in manifests by digest."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Chest
from example_lakes import build_lake

import warehouse
from warehouse import cohorts
from warehouse.cohorts.tables import explain_table_name, read_tables, reading, source
from warehouse.manifests.manifest import open_manifest
from warehouse.manifests.reproduce import reproduce
from warehouse.settings import Settings

COHORT = """\
-- title: Read films
-- question: Which films did a reader score 2 or more?
-- grain: image
-- table reads: patient_id VARCHAR, reader VARCHAR, score INTEGER
-- label score: the highest score
with
-- Chest films.
films as (
    select SOPInstanceUID, patient_id, StudyDate from chest_films where SOPInstanceUID is not null
),

-- With a score.
scored as (
    select films.*, best.score
    from films
    inner join (select patient_id, max(score) as score from reads group by patient_id) as best
        on films.patient_id = best.patient_id
    where best.score >= 2
)

select * from scored
"""
FILMS = """
patient | image | day
007     | seven | 2020-04-01
7       | other | 2020-04-02
008     | eight | 2020-04-03
"""
READS = "patient_id,reader,score\n007,a,3\n008,a,1\n007,b,2\n"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tables")
    build_lake(root, FILMS).close()
    return root


@pytest.fixture(scope="module")
def wh(root: Path) -> Iterator[warehouse.Warehouse]:
    with warehouse.open(str(root / "lake"), trusted=False) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.sql").write_text(COHORT)
    (tmp_path / "undeclared.sql").write_text(COHORT.replace(COHORT.splitlines()[3] + "\n", ""))
    (tmp_path / "reads.csv").write_text(READS)
    return tmp_path


@pytest.fixture
def ask(root: Path, here: Chest, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Chest:
    monkeypatch.setenv("CHEST_LAKE", str(root / "lake"))
    monkeypatch.chdir(folder)
    return here


def read(what: object, declared: dict[str, str] | None = None) -> cohorts.tables.Table:
    return read_tables({"t": what}, {"t": declared} if declared else {}, Settings(), ["t"])["t"]


def csv(folder: Path, text: str | bytes, name: str = "t.csv") -> Path:
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder / name


# --- the answer ---


@pytest.mark.slow
def test_every_kind_of_table_gives_the_same_answer(wh: warehouse.Warehouse, folder: Path) -> None:
    frame = pl.read_csv(folder / "reads.csv", schema_overrides={"patient_id": pl.String})
    frame.write_parquet(folder / "reads.parquet")
    with duckdb.connect() as con:
        relation = con.from_arrow(frame.to_arrow())
        given = [
            *(folder / "reads.csv", str(folder / "reads.parquet"), frame, frame.lazy(), frame.to_arrow(), relation),
            *(frame.to_pandas(), frame.to_arrow().to_batches()[0], pl.concat([frame[2:], frame[:2]])),
        ]
        found = [wh.cohort(folder / "mine.sql", tables={"reads": each}) for each in given]
        assert {tuple(each.rows["SOPInstanceUID"].to_pylist()) for each in found} == {("seven",)}
        assert found[0].rows["score"].to_pylist() == [3]
        tables = [each.tables["reads"] for each in found]
    assert len({table.digest for table in tables}) == 1, "a file, a frame, another order: the same table"
    assert tables[0].file_sha256 == hashlib.sha256(READS.encode()).hexdigest()
    assert tables[2].file_sha256 == ""


def test_the_command_shows_the_types(ask: Chest) -> None:
    done = ask("cohort", "run", "mine.sql", "--table", "reads=reads.csv", "--format", "csv")
    assert done.stdout.splitlines() == ["SOPInstanceUID,patient_id,StudyDate,score", "seven,007,2020-04-01,3"]
    assert "Table reads: 3 rows; patient_id VARCHAR, reader VARCHAR, score INTEGER (as declared)" in done.stderr
    done = ask("cohort", "run", "undeclared.sql", "--table", "reads=reads.csv", "--format", "csv")
    assert "seven" in done.stdout
    assert "patient_id VARCHAR, reader VARCHAR, score BIGINT (inferred from all rows)" in done.stderr


@pytest.mark.slow
def test_every_command_that_runs_a_cohort_takes_it(ask: Chest) -> None:
    given = ("mine.sql", "--table", "reads=reads.csv")
    steps = json.loads(ask("cohort", "attrition", *given, "--suppress", "0", "--format", "json").stdout)
    assert [step["images"] for step in steps] == [3, 1, 1]
    found = ask("cohort", "compare", *given, "--from", "2020-03-01", "--format", "json")
    assert [row["change"] for row in json.loads(found.stdout)] == ["added"]
    also = ask("cohort", "compare", *given, "--with", "undeclared.sql", "--format", "json")
    assert json.loads(also.stdout) == []
    assert ask("cohort", "confounders", *given, "--label", "score", "--format", "json").returncode == 0
    assert ask("cohort", "lint", *given).returncode == 0


def test_lint_works_with_what_is_declared_without_a_lake(ask: Chest, folder: Path) -> None:
    assert ask("cohort", "lint", "mine.sql", "--lake", "nowhere").returncode == 0
    (folder / "mine.sql").write_text(COHORT.replace("max(score)", "max(scor)"))
    done = ask("cohort", "lint", "mine.sql", "--lake", "nowhere")
    assert done.returncode == 1
    assert "mine.sql:16: error: There is no column scor. Did you mean score?" in done.stdout
    done = ask("cohort", "lint", "undeclared.sql", "--lake", "nowhere")
    assert "There is no view or step reads." in done.stdout
    assert "--table reads=FILE" in done.stdout
    given = ("--table", "reads=reads.csv")
    assert ask("cohort", "lint", "undeclared.sql", "--lake", "nowhere", *given).returncode == 0
    (folder / "mine.sql").write_text(COHORT)
    done = ask("cohort", "lint", "mine.sql")
    assert (done.returncode, "Without --table reads" in done.stderr) == (0, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "reads the table reads, which was not given: --table reads=FILE"),
        (("--table", "reads"), "is not name=file"),
        (("--table", "reads=reads.csv", "--table", "more=reads.csv"), "does not read a table more. It reads reads."),
        (("--table", "reads=reads.csv", "--table", "reads=reads.csv"), "given twice"),
        (("--table", "reads=reads.csv", "--table", "READS=reads.csv"), "given twice"),
        (("--table", "images=reads.csv"), "has the name of a view"),
        (("--table", "cohort_answer=reads.csv"), "has a reserved name"),
        (("--table", "select=reads.csv"), "is a reserved word"),
        (("--table", 'a"b=reads.csv'), "is not a valid name"),
        (("--table", "reads=gone.csv"), "No such file"),
        (("--table", "reads=mine.sql"), "neither .csv nor .parquet"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(ask: Chest, words: tuple[str, ...], message: str) -> None:
    done = ask("cohort", "run", "mine.sql", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert message in done.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-- table reads patient_id VARCHAR", "line"),
        ("-- table reads:", "header"),
        ("-- table images: a VARCHAR", "has the name of a view"),
        ("-- table reads: patient_id", "is not a column"),
        ("-- table reads: patient_id TEXT", "unknown type"),
        ("-- table reads: patient_id VARCHAR, PATIENT_ID VARCHAR", "letter case"),
        ("-- table reads: patient_id VARCHAR\n-- table READS: a VARCHAR", "declared twice"),
        ("-- table reads: patient_id VARCHAR, score INTEGER\n-- table more: a VARCHAR", "Table more is never read"),
        ("-- table films: patient_id VARCHAR", "has the name of a table"),
    ],
)
def test_a_declaration_that_is_wrong_has_its_line(line: str, message: str) -> None:
    text = COHORT.replace(COHORT.splitlines()[3], line)
    with pytest.raises(warehouse.UsageError) as caught:
        cohorts.check_definition(cohorts.parse(text, "mine.sql"))
    assert message in str(caught.value)
    assert str(caught.value).startswith("mine.sql:")


def test_two_cohorts_of_one_warehouse_do_not_see_each_others_tables(wh: warehouse.Warehouse, folder: Path) -> None:
    first = wh.cohort(folder / "mine.sql", tables={"reads": folder / "reads.csv"})
    other = csv(folder, READS.replace("008,a,1", "008,a,2"), "other.csv")
    second = wh.cohort(folder / "mine.sql", tables={"reads": other})
    assert (first.rows.num_rows, second.rows.num_rows) == (1, 2)
    with pytest.raises(warehouse.UsageError, match="reads is not a view"):
        wh.sql("from reads")


# --- types ---


def test_types_are_inferred_from_all_rows(tmp_path: Path) -> None:
    rows = [
        f"{n},{n % 2 == 0},{n}.5,2020-04-01,2020-04-01 10:00,{n:04},{10**20 + n},{n},1.2.{n},{n}" for n in range(3000)
    ]
    text = "n,yes,share,day,at,code,long,patient_id,uid,late\n" + "\n".join(rows)
    kinds = read(csv(tmp_path, text + "\n9,true,1e3,2021-01-01,2021-01-01T10:00:01,1,1,,,x\n")).columns
    assert kinds == {
        "n": "BIGINT",
        "yes": "BOOLEAN",
        "share": "DOUBLE",
        "day": "DATE",
        "at": "TIMESTAMP",
        "code": "VARCHAR",
        "long": "VARCHAR",
        "patient_id": "VARCHAR",
        "uid": "VARCHAR",
        "late": "VARCHAR",
    }


def test_identifiers_stay_as_they_are_written(tmp_path: Path) -> None:
    table = read(csv(tmp_path, "patient_id,code,StudyInstanceUID\n007,01,1.20\n42,02,1.30\n"))
    assert table.rows.to_pydict() == {
        "patient_id": ["007", "42"],
        "code": ["01", "02"],
        "StudyInstanceUID": ["1.20", "1.30"],
    }
    assert read(pl.DataFrame({"patient_id": [7, 42]})).rows["patient_id"].to_pylist() == ["7", "42"]
    with pytest.raises(warehouse.UsageError, match="patient_id has decimals"):
        read(pd.DataFrame({"patient_id": [7.0, None]}))


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("INTEGER", "7", "1.5"),
        ("INTEGER", "-7", "3000000000"),
        ("BIGINT", "007", "7e3"),
        ("DOUBLE", "1e3", "1,5"),
        ("DOUBLE", ".5", "nan"),
        ("BOOLEAN", "yes", "maybe"),
        ("DATE", "2020-02-29", "2021-02-29"),
        ("DATE", "2020-02-29", "2020-02-29 10:00"),
        ("TIMESTAMP", "2020-02-29 10:00", "10:00"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_row(tmp_path: Path, kind: str, good: str, bad: str) -> None:
    file = csv(tmp_path, f'id,x\na,"{good}"\nb,\nc,"{bad}"\nd,"{bad}"\n')
    with pytest.raises(warehouse.UsageError, match=f"Table t, row 3: x is {kind}, not '{bad}'"):
        read(file, {"x": kind})
    table = read(csv(tmp_path, f'id,x\na,"{good}"\nb,\n', "good.csv"), {"x": kind})
    assert table.columns == {"x": kind}
    assert table.rows["x"].null_count == 1, "an empty cell is null"
    assert table.left_out == ("id",)


def test_a_frame_must_fit_too() -> None:
    with pytest.raises(warehouse.UsageError, match=r"row 2: score is INTEGER, not '1.5'"):
        read(pl.DataFrame({"score": [1.0, 1.5]}), {"score": "INTEGER"})
    assert read(pl.DataFrame({"score": [1.0, 2.0]}), {"score": "INTEGER"}).rows["score"].to_pylist() == [1, 2]
    kinds = read(pd.DataFrame({"c": pd.Categorical(["a", "b"]), "t": pd.to_datetime(["2020-01-01"] * 2)})).columns
    assert kinds == {"c": "VARCHAR", "t": "TIMESTAMP"}
    with pytest.raises(warehouse.UsageError, match=r"lacks the declared column y. Its columns are x"):
        read(pl.DataFrame({"x": [1]}), {"y": "INTEGER"})
    with pytest.raises(warehouse.UsageError, match=r"is a int. Give a path, or a frame"):
        read(7)


def test_files_as_others_write_them(tmp_path: Path) -> None:
    for text in ("id;x\r\na;1\r\n", "id\tx\na\t1\n", b"\xef\xbb\xbfid,x\na,1\n", '"id","x"\n"a","1"', "id,x\na,1\n\n"):
        table = read(csv(tmp_path, text))
        assert (table.columns, table.rows.to_pylist()) == ({"id": "VARCHAR", "x": "BIGINT"}, [{"id": "a", "x": 1}]), (
            text
        )
    assert read(csv(tmp_path, "id,x\n")).n_rows == 0


# --- a stranger's file ---


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it needs a header line"),
        (b"id,x\na\n", "line 2 is not valid CSV"),
        (b"id,x\na,1,2\n", "line 2 is not valid CSV"),
        (b"id,x\n\xff\xfe,1\n", "Table t"),
        (b"\xff\xfei\0d\0\n", "not text in UTF-8"),
        (b"id,id\n1,2\n", "is there twice"),
        (b"id,ID\n1,2\n", "letter case"),
        (b'id,"x"" (select 1)"\n1,2\n', "is not a valid name"),
        (b"a," * 600 + b"b\n", "600|601|is there twice"),
        (b"x" * (2 << 20), "first line has more than"),
        (b'id,x\na,"' + b"y" * (3 << 20) + b'"\n', "Table t"),
    ],
)
def test_a_malformed_file_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(warehouse.UsageError, match=message) as caught:
        read(csv(tmp_path, content))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_links_devices_pipes_and_folders_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    for name, message in (
        ("pipe", "not a regular"),
        ("zero", "not a regular"),
        ("folder", "not a regular"),
        ("loop", "cannot"),
    ):
        with pytest.raises(warehouse.UsageError, match=message):
            read(tmp_path / f"{name}.csv")
    with pytest.raises(warehouse.UsageError, match=r"cannot be read"):
        read("a\0b.csv")


def test_what_expands_is_refused_before_it_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_BYTES_OF_TEXT", 10 << 20)
    long = pa.table({"x": pa.array(["y" * 500_000] * 40).dictionary_encode()})
    pq.write_table(long, tmp_path / "bomb.parquet", compression="zstd")
    assert (tmp_path / "bomb.parquet").stat().st_size < 1_000_000
    with pytest.raises(warehouse.UsageError, match="bytes of values; the limit is"):
        read(tmp_path / "bomb.parquet")
    pq.write_table(pa.table({"x": ["y" * 2_000_000]}), tmp_path / "wide.parquet")
    with pytest.raises(warehouse.UsageError, match=r"has a row of 2,000,000 bytes"):
        read(tmp_path / "wide.parquet")
    pq.write_table(pa.table({"x": pa.array([1] * 2000)}), tmp_path / "rows.parquet")
    monkeypatch.setattr(reading, "MOST_ROWS", 1000)
    for what in (tmp_path / "rows.parquet", pl.DataFrame({"x": [1] * 2000}), csv(tmp_path, "x\n" + "1\n" * 2000)):
        with pytest.raises(warehouse.UsageError, match="has more than 1,000 rows, the limit"):
            read(what)
    monkeypatch.setattr(source, "MOST_BYTES", 1000)
    with pytest.raises(warehouse.UsageError, match="the limit for a table"):
        read(csv(tmp_path, "x\n" + "1\n" * 2000))


def test_empty_cells_are_counted_before_they_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_CELLS", 10_000)
    names = [f"c{number}" for number in range(50)]
    pq.write_table(pa.table({name: pa.nulls(1000, pa.int64()) for name in names}), tmp_path / "nulls.parquet")
    assert (tmp_path / "nulls.parquet").stat().st_size < 30_000
    text = csv(tmp_path, ",".join(names) + "\n" + ("," * 49 + "\n") * 1000)
    for what in (tmp_path / "nulls.parquet", pa.table({name: pa.nulls(1000) for name in names}), text):
        with pytest.raises(warehouse.UsageError, match="has more than 200 rows, the limit with 50 columns"):
            read(what)


def test_names_are_read_as_they_are_written(tmp_path: Path) -> None:
    """DuckDB would rename a second `score` to score_1, and an empty name to C0."""
    for names, message in (
        (["a", "a"], "a is there twice"),
        (["a", "A"], "letter case alone"),
        (["a", ""], "no letter"),
    ):
        frame = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=names)
        pq.write_table(frame, tmp_path / "names.parquet")
        for what in (tmp_path / "names.parquet", frame):
            with pytest.raises(warehouse.UsageError, match=message):
                read(what)


def test_numbers_that_duckdb_would_read_as_others_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": pa.array([1], pa.decimal256(60, 2))}), tmp_path / "wide.parquet")
    with pytest.raises(warehouse.UsageError, match="x is a decimal of 60 digits; the limit is 38"):
        read(tmp_path / "wide.parquet")
    pq.write_table(pa.table({"x": pa.array([1], pa.decimal128(38, 2))}), tmp_path / "fits.parquet")
    assert str(read(tmp_path / "fits.parquet").rows["x"][0]) == "1.00"
    assert read(csv(tmp_path, "x\n1e999\n2\n")).columns == {"x": "VARCHAR"}
    with pytest.raises(warehouse.UsageError, match="row 1: x is DOUBLE, not '1e999'"):
        read(csv(tmp_path, "x\n1e999\n2\n"), {"x": "DOUBLE"})


def test_no_table_has_the_name_of_a_relation_of_ours() -> None:
    """What the package registers on the connection of a cohort would otherwise meet the user's table there."""
    package = Path(warehouse.__file__).parent
    sources = [
        *(package / "cohorts").rglob("*.py"),
        *(package / "exports").rglob("*.py"),
        package / "manifests/rows.py",
    ]
    own = {name for path in sources for name in re.findall(r'\.register\(\s*"(\w+)"', path.read_text())}
    assert {"split_answer", "split_patients", "cohort_answer", "handed_over"} <= own
    for name in own - {"frame_given", "example_rows"}:  # on connections without the tables of a cohort
        assert explain_table_name(name), name


def test_a_parquet_file_is_plain_or_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [[1], [2]]}), tmp_path / "list.parquet")
    with pytest.raises(warehouse.UsageError, match=r"column x is BIGINT"):
        read(tmp_path / "list.parquet")
    pq.write_table(pa.table({"a b": [1]}), tmp_path / "name.parquet")
    with pytest.raises(warehouse.UsageError, match="is not a valid name"):
        read(tmp_path / "name.parquet")
    csv(tmp_path, "id\n1\n", "not.parquet")
    with pytest.raises(warehouse.UsageError, match=r"cannot be read"):
        read(tmp_path / "not.parquet")


@pytest.mark.parametrize(
    "query",
    [
        "select * from core.images",
        "select * from temp.reads",
        "select * from temp.main.reads",
        "select * from main.reads",
        "select * from 'reads.csv'",
        "select * from read_csv('reads.csv')",
        "select * from duckdb_tables()",
        "select * from other_table",
        "select patient_id from reads at (version => 1)",
    ],
)
def test_a_table_opens_nothing_else(wh: warehouse.Warehouse, folder: Path, query: str) -> None:
    head = "-- title: T\n-- question: Q?\n-- grain: patient\n-- table reads: patient_id VARCHAR\n"
    file = folder / "escape.sql"
    file.write_text(f"{head}with a as ({query})\nselect reads.patient_id from reads where exists (select 1 from a)\n")
    with pytest.raises(warehouse.UsageError):
        _ = wh.cohort(file, tables={"reads": folder / "reads.csv"}).rows


def test_the_views_stay_filtered_and_shielded_beside_a_table(wh: warehouse.Warehouse, folder: Path) -> None:
    head = "-- title: T\n-- question: Q?\n-- grain: image\n-- table reads: patient_id VARCHAR\n"
    file = folder / "probe.sql"
    file.write_text(
        f"{head}select i.SOPInstanceUID from images as i inner join reads on i.patient_id = reads.patient_id\n"
        "where cast(case when i.patient_id = '008' then i.SOPInstanceUID else '1' end as integer) = 1"
    )
    given = {"reads": folder / "reads.csv"}
    assert (
        wh.cohort(file, as_of="2020-04-02", tables={"reads": csv(folder, "patient_id\n007\n008\n")}).rows.num_rows == 1
    )
    with pytest.raises(warehouse.UsageError, match="eight"):
        _ = wh.cohort(file, tables=given).rows


# --- manifests ---


@pytest.mark.slow
def test_a_manifest_names_its_tables_and_asks_for_them(ask: Chest, folder: Path, root: Path) -> None:
    given = ("--table", "reads=reads.csv")
    assert ask("manifest", "export", "mine.sql", *given, "-o", "m").returncode == 0
    about = json.loads((folder / "m" / "manifest.json").read_text())
    (entry,) = about["tables"]
    assert (entry["name"], entry["rows"]) == ("reads", 3)
    assert entry["file_sha256"] == hashlib.sha256(READS.encode()).hexdigest()
    assert entry["columns"] == {"patient_id": "VARCHAR", "reader": "VARCHAR", "score": "INTEGER"}
    done = ask("manifest", "reproduce", "m")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert entry["digest"] in done.stderr
    assert "--table reads=FILE" in done.stderr
    assert ask("manifest", "reproduce", "m", *given).returncode == 0
    csv(folder, READS.replace("007,b,2", "007,b,1"), "other.csv")
    done = ask("manifest", "reproduce", "m", "--table", "reads=other.csv")
    assert (done.returncode, "differs from the one" in done.stderr) == (2, True)
    frame = pl.read_csv(folder / "reads.csv", schema_overrides={"patient_id": pl.String}).sort("score")
    manifest = warehouse.manifest(folder / "m")
    assert reproduce(manifest, str(root / "lake"), tables={"reads": frame}).holds
    listed = json.loads(ask("manifest", "list", "--format", "json").stdout)
    assert listed[0]["tables"] == about["tables"]


@pytest.mark.slow
def test_a_copy_beside_the_manifest_is_checked_and_used(ask: Chest, folder: Path) -> None:
    given = ("--table", "reads=reads.csv")
    assert ask("manifest", "export", "mine.sql", *given, "--copy-tables", "-o", "m").returncode == 0
    (folder / "reads.csv").unlink()
    assert ask("manifest", "reproduce", "m").returncode == 0
    assert ask("manifest", "verify", "m").returncode == 0
    shutil.copytree(folder / "m", folder / "altered")
    pq.write_table(
        pa.table({"patient_id": ["008"], "reader": ["a"], "score": [9]}), folder / "altered/table_reads.parquet"
    )
    for command in ("verify", "reproduce"):
        done = ask("manifest", command, "altered")
        assert (done.returncode, "was altered" in done.stderr) == (1, True), done.stderr


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("fault", ["content", "rows", "view", "name", "type", "stray", "case"])
def test_a_resealed_manifest_with_a_false_table_is_refused(ask: Chest, folder: Path, fault: str) -> None:
    from warehouse.manifests.sealing import DOCUMENT, SUMS, render_sums

    assert (
        ask("manifest", "export", "mine.sql", "--table", "reads=reads.csv", "--copy-tables", "-o", "m").returncode == 0
    )
    made = folder / "m"
    about = json.loads((made / DOCUMENT).read_text())
    (entry,) = about["tables"]
    copy = made / "table_reads.parquet"
    match fault:
        case "content":
            pq.write_table(pa.table({"patient_id": ["008"], "reader": ["a"], "score": [9]}), copy)
        case "rows":
            entry["rows"] = 4
        case "view":
            entry["name"] = "images"
        case "name":
            entry["name"] = 'reads"; drop'
        case "type":
            entry["columns"]["score"] = "INTEGER); drop table x"
        case "stray":
            about["tables"] = []
        case "case":
            about["tables"].append({**entry, "name": "READS"})
    content = copy.read_bytes()
    about["files"][copy.name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (made / DOCUMENT).write_text(json.dumps(about))
    (made / SUMS).write_text(render_sums((made / DOCUMENT).read_bytes(), about["files"]))
    with pytest.raises(warehouse.WarehouseError):
        open_manifest(made)
    done = ask("manifest", "reproduce", "m")
    assert done.returncode in (1, 2)
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_table_is_compared_however_the_manifest_spells_it(ask: Chest, folder: Path) -> None:
    from warehouse.manifests.sealing import DOCUMENT, SUMS, render_sums

    made = folder / "m"
    given = ("--table", "reads=reads.csv")
    assert ask("manifest", "export", "mine.sql", *given, "--copy-tables", "-o", "m").returncode == 0
    about = json.loads((made / DOCUMENT).read_text())
    about["tables"][0]["name"] = "Reads"
    about["files"]["table_Reads.parquet"] = about["files"].pop("table_reads.parquet")
    (made / "table_reads.parquet").rename(made / "table_Reads.parquet")
    (made / DOCUMENT).write_text(json.dumps(about))
    (made / SUMS).write_text(render_sums((made / DOCUMENT).read_bytes(), about["files"]))
    for table in ((), given):
        done = ask("manifest", "reproduce", "m", *table)
        assert done.returncode == 0, done.stderr
    (folder / "reads.csv").write_text(READS.replace("3", "4"))
    done = ask("manifest", "reproduce", "m", *given)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "Table reads differs from the one" in done.stderr
