"""What a notebook shows: short, escaped, without secrets; whatever the values are."""

import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest
from conftest import start_lake, write_objects
from hypothesis import given, settings
from hypothesis import strategies as st

import warehouse
from warehouse import notebook
from warehouse.catalog.check_rules import load_definitions
from warehouse.query.checks import Result

EVIL = "<script>alert(1)</script>&\x1b[31m\u202e"
COHORT = """\
-- title: <b>Everybody</b>
-- question: Who "is" there?
-- grain: patient
-- param word VARCHAR = 'x': a text
select patient_id from patients where patient_id <> $word
"""


class Reader(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, _attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> str:
    """The text of what is shown; its elements are those of a plain table alone."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.tags <= {"div", "strong", "table", "tr", "th", "td"}
    assert not {"\x1b", "\u202e"} & set(html)
    assert len(html) < 50_000
    return reader.text


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(st.text() | st.sampled_from([EVIL, "x" * 100_000]), st.integers(0, 50))
def test_any_value_is_text(value: str, n: int) -> None:
    html = notebook.show_facts(value, {value: value, "n": 1_000}) + notebook.show_rows(
        [value] * 40, [[value] * 40] * n, n
    )
    assert "1,000" in read(html)
    assert html.count("<tr>") <= 2 + 1 + notebook.MOST_ROWS


@pytest.mark.slow
def test_what_a_notebook_shows(tmp_path: Path) -> None:
    write_objects(
        tmp_path / "bucket",
        {"training/P<1>/data/2020-03-01/data.json": json.dumps({"Pseudonym": "P<1>", "SwabStatus": "Negative"})},
    )
    (tmp_path / "c.sql").write_text(COHORT)
    lake = str(start_lake(tmp_path / "lake"))
    warehouse.refresh(str(tmp_path / "bucket"), lake)
    with warehouse.open(lake) as opened:
        wh = opened.as_of("2020-06-01")
        cohort = wh.cohort(tmp_path / "c.sql", word=EVIL)
        shown = {
            "wh": (wh, ["Warehouse", lake, "training", "2020-06-01"]),
            "patient": (wh.patient("P<1>"), ["Patient P<1>", "2020-06-01"]),
            "cohort": (cohort, ["Cohort c", "<b>Everybody</b>", 'Who "is" there?', "word = <script>", "\\x1b[31m"]),
            "check": (wh.check("books")[0], ["Check books", "blocking"]),
            "manifest": (cohort.export(tmp_path / "m"), ["Manifest c", "sha256:", "training"]),
        }
        for name, (value, words) in shown.items():
            text = read(value._repr_html_())
            assert [word for word in words if word not in text] == [], name


def test_a_check_shows_its_first_rows_and_how_many_there_are() -> None:
    rows = pa.table({"patient_id": [f"P{n}" for n in range(30)], "what": [EVIL] * 30})
    text = read(Result(load_definitions()["books"], 30, rows)._repr_html_())
    assert "P9" in text
    assert "P10" not in text
    assert "10 of 30 rows" in text
    assert read(Result.empty(load_definitions()["books"], 3)._repr_html_())


@pytest.mark.parametrize("secret", ["postgres://curator:hunter2secret@db/chest", "https://me:hunter2secret@host/x"])
def test_no_secret_is_shown(secret: str) -> None:
    assert "hunter2secret" not in notebook.show_facts(secret, {secret: secret})


def test_it_imports_nothing_heavy() -> None:
    code = "import sys, warehouse.notebook; print([m for m in ('duckdb', 'pyarrow', 'polars') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
