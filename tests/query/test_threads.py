"""Answers do not depend on how many threads DuckDB has. The other tests run with one (tests/conftest.py)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import warehouse
from warehouse import synthetic
from warehouse.catalog import public_views
from warehouse.cohorts import list_shipped
from warehouse.settings import Settings

MANY = 4


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same bucket refreshed with one thread and with many, in small units, which give many files."""
    root = tmp_path_factory.mktemp("threads")
    synthetic.make_bucket(root / "bucket", 12, seed=1)
    for threads in (1, MANY):
        settings = Settings(threads=threads, unit_objects=32)
        warehouse.refresh(root / "bucket", root / str(threads), settings=settings)
    return root / "1", root / str(MANY)


@pytest.fixture(scope="module")
def sessions(lakes: tuple[Path, Path]) -> Iterator[list[warehouse.Warehouse]]:
    """Each lake, read with as many threads as it was made with."""
    opened = [warehouse.open(lake, settings=Settings(threads=n)) for lake, n in zip(lakes, (1, MANY), strict=True)]
    yield opened
    for session in opened:
        session.close()


@pytest.mark.slow
def test_the_numbers_of_threads_are_those_asked_for(sessions: list[warehouse.Warehouse]) -> None:
    found = [s.con.execute("select current_setting('threads')").fetchall()[0][0] for s in sessions]
    assert found == [1, MANY]


@pytest.mark.slow
@pytest.mark.parametrize("view", public_views.VIEW_ORDER)
def test_views_have_the_same_rows(sessions: list[warehouse.Warehouse], view: str) -> None:
    with_one, with_many = (s.sql(f"select * from {view} order by all").fetchall() for s in sessions)
    assert with_many == with_one


@pytest.mark.slow
def test_checks_find_the_same(sessions: list[warehouse.Warehouse]) -> None:
    with_one, with_many = ([(r.check.name, r.n_rows, r.patients) for r in s.check()] for s in sessions)
    assert any(n_rows for _, n_rows, _ in with_one)
    assert with_many == with_one


@pytest.mark.slow
@pytest.mark.parametrize("name", list_shipped())
def test_cohorts_have_one_digest(sessions: list[warehouse.Warehouse], name: str, tmp_path: Path) -> None:
    given = {
        param: sessions[0].sql(f"select list(distinct {column} order by {column}) from patients").fetchall()[0][0]
        for cohort, param, column in (
            ("external_validation", "centres", "centre"),
            ("prior_data", "patients", "patient_id"),
        )
        if cohort == name
    }
    made = [s.cohort(name, **given).export(str(tmp_path / str(i))) for i, s in enumerate(sessions)]
    assert len({each.digest for each in made}) == 1


@pytest.mark.slow
def test_the_report_is_the_same_page(lakes: tuple[Path, Path], tmp_path: Path) -> None:
    pages = []
    for threads in (1, MANY):
        with warehouse.open(lakes[1], settings=Settings(threads=threads)) as wh:
            wh.report(tmp_path / f"{threads}.html")
        pages.append((tmp_path / f"{threads}.html").read_bytes())
    assert pages[0] == pages[1]
