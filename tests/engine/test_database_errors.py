"""What DuckDB could not do for want of memory: one line that names the setting that helps."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import duckdb
import pytest

from warehouse import refresh, synthetic
from warehouse.engine import machine_memory
from warehouse.engine.messages import clean_message, explain_shortage
from warehouse.settings import Settings


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("shortage")
    synthetic.make_bucket(root / "bucket", 3)
    refresh(str(root / "bucket"), str(root / "lake"))
    return str(root / "lake")


@pytest.mark.parametrize(
    "words",
    ["status", "check", "report -o report.html", "cohort run covid_risk", "manifest export covid_risk -o manifest"],
)
def test_too_little_memory_is_one_line_that_names_the_setting(
    here: Callable[..., CompletedProcess[str]],
    lake: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHEST_MEMORY_LIMIT_MB", "1")
    done = here(*words.split(), "--lake", lake)
    assert done.returncode == 2
    assert done.stderr.startswith("chest: ")
    assert "CHEST_MEMORY_LIMIT_MB" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "query",
    [
        "select count(distinct i) from (select range::varchar || repeat('x', 50) as i from range(2_000_000))",
        "select list(range) from range(20_000_000)",
    ],
    ids=["with a disk", "what does not spill"],
)
def test_a_shortage_in_a_query_names_the_setting(query: str) -> None:
    with (
        duckdb.connect(config={"memory_limit": "8MB", "temp_directory": "", "threads": 1}) as con,
        pytest.raises(duckdb.Error) as caught,
    ):
        con.execute(query).fetchall()
    assert "CHEST_MEMORY_LIMIT_MB" in clean_message(caught.value)


def test_what_a_scan_of_arrow_data_meets_is_a_shortage_whatever_its_class() -> None:
    met = duckdb.InvalidInputException(
        "Invalid Input Error: arrow_scan: get_next failed(): IOError: IOError: Out of Memory Error: "
        "ArrowBuffer: failed to allocate 262144 bytes"
    )
    assert "CHEST_SQL_MEMORY_MB" in explain_shortage(met)


def test_words_of_a_value_are_not_a_shortage() -> None:
    with duckdb.connect() as con, pytest.raises(duckdb.ConversionException) as caught:
        con.execute("select cast(x as integer) from (values ('Out of Memory Error')) t(x)").fetchall()
    assert explain_shortage(caught.value) == ""
    assert "Out of Memory Error" in clean_message(caught.value)


def test_untrusted_sql_has_a_share_of_the_machine_unless_it_is_given_one() -> None:
    total = machine_memory.total_mb()
    assert 512 <= machine_memory.untrusted_duckdb_mb(Settings()) <= max(512, total // 4)
    assert machine_memory.untrusted_process_mb(Settings()) == max(768, total // 2)
    given = Settings(memory_limit_mb=300, sql_memory_mb=0)
    assert machine_memory.untrusted_duckdb_mb(given) == machine_memory.confined_duckdb_mb(given) == 300
    assert machine_memory.untrusted_process_mb(given) == 0
