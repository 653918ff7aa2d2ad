"""What docs/reliability.md promises: each promise names tests that exist; the scenarios are those of the torture."""

import re
from pathlib import Path

import pytest
from torture import network
from torture.scenarios import list_scenarios

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs/reliability.md").read_text(encoding="utf-8")
#: The module of a test that is named without one.
HOME = "tests/lake/test_doctor.py"


def list_promises() -> list[tuple[str, str]]:
    """The rows of the tables of promises: each promise, and the cell with what keeps it."""
    tables = re.findall(r"^\| promise \| test \|\n\|[-|]+\|\n((?:\|.*\|\n)+)", PAGE, re.MULTILINE)
    rows = [line.strip("| ").split(" | ") for table in tables for line in table.splitlines()]
    return [(promise, cell) for promise, cell in rows]


@pytest.mark.parametrize(("promise", "cell"), list_promises())
def test_each_promise_names_tests_that_exist(promise: str, cell: str) -> None:
    names = re.findall(r"`(test_\w+)`", cell)
    assert names, f"no test keeps: {promise}"
    modules = [TESTS.parent / name for name in re.findall(r"`(tests/[\w/]+\.py)", cell)] or [TESTS.parent / HOME]
    found = {name for module in modules for name in re.findall(r"^def (test_\w+)", module.read_text("utf-8"), re.M)}
    assert set(names) <= found, f"{cell} names what {modules} do not have"


def test_the_page_has_promises() -> None:
    assert len(list_promises()) > 35


def test_the_page_has_the_scenarios_of_the_torture_and_how_often_each_is_tried() -> None:
    rows = re.findall(r"^\| (`.*`) \| .* \| ([\d, ]+)(?: kills| of each)? \|$", PAGE, re.MULTILINE)
    listed = dict(
        pair for names, tries in rows for pair in zip(re.findall("`(.*?)`", names), tries.split(", "), strict=True)
    )
    scenarios = [one for one in list_scenarios() if not one.weight and not one.is_of_s3]
    assert {one.name: str(one.tries) for one in scenarios}.items() <= listed.items()
    assert set(listed) - {one.name for one in scenarios} == {"kill …", "s3 … N %"}
    assert f"{len(network.KINDS)} kinds of faults" in PAGE
