"""The memory of an agreement: what differs by a few patients from what left before does not leave."""

import random
import shutil
import threading
import time
from itertools import combinations, permutations
from pathlib import Path

import duckdb
import pytest
from conftest import Chest

import warehouse
from warehouse.access import memory
from warehouse.access.memory import ANSWER, ROWS, Released, admit
from warehouse.access.patient_sets import DifferenceError, adds_up_to_nearly, digest_patients, to_array
from warehouse.errors import LakeError
from warehouse.lake import location, store
from warehouse.service import differencing
from warehouse.service.differencing import Memory
from warehouse.service.tokens import Caller, Rights
from warehouse.settings import Settings

ALL = [f"Covid{number}" for number in range(100)]


class Agreement:
    """A lake in which sets are released under one agreement."""

    def __init__(self, lake: Path, name: str = "2026-0001") -> None:
        self.place, self.name = location.parse_address(str(lake)), name

    def release(self, patients: list[str], base: int = 5, part: str = ANSWER, kind: str = memory.COUNTS) -> str:
        return admit(self.place, Settings(), self.name, part, patients, base, kind=kind)

    def refuses(self, patients: list[str], base: int = 5, part: str = ANSWER, kind: str = memory.COUNTS) -> bool:
        try:
            self.release(patients, base, part, kind)
        except DifferenceError:
            return True
        return False


@pytest.fixture
def agreement(new_lake: Path) -> Agreement:
    return Agreement(new_lake)


@pytest.mark.slow
def test_a_set_that_differs_by_few_is_refused_and_the_same_one_never(agreement: Agreement) -> None:
    first = agreement.release(ALL)
    assert agreement.release(ALL[::-1]) == first
    for differing in (ALL[1:], ALL[:-4], [*ALL, "Covid100"], [*ALL[1:], "Covid100"]):
        assert agreement.refuses(differing)
    assert agreement.release(ALL[:-5]) != first


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_two_answers_that_add_up_to_nearly_a_third_are_compared_with_it(
    agreement: Agreement, order: tuple[int, int, int]
) -> None:
    """Men, women and all: each differs from each by many, and their counts disclose the few who are neither."""
    sets = (ALL[:50], ALL[50:97], ALL)
    first, second, third = (sets[place] for place in order)
    agreement.release(first)
    agreement.release(second)
    assert agreement.refuses(third)
    assert not agreement.refuses(ALL[:50] + ALL[50:90] if order == (0, 1, 2) else ALL[20:80])


def test_two_answers_that_add_up_exactly_or_overlap_are_not_refused(agreement: Agreement) -> None:
    agreement.release(ALL[:50])
    agreement.release(ALL[50:])
    assert not agreement.refuses(ALL)
    assert not agreement.refuses(ALL[25:75])


def test_a_service_compares_with_sums_too() -> None:
    seen = Memory()
    seen.admit("ann", {"": range(50)}, 5)
    seen.admit("ann", {"": range(50, 97)}, 5)
    with pytest.raises(DifferenceError, match="from the sum of two"):
        seen.admit("ann", {"": range(100)}, 5)
    seen.admit("ben", {"": range(100)}, 5)


def test_counts_are_of_persons_and_not_of_rows(agreement: Agreement) -> None:
    """Ten images of one more patient are one more patient."""
    assert agreement.release([*ALL, *ALL]) == agreement.release(ALL)
    assert agreement.refuses([*ALL, *["Covid100"] * 10])


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("base", [0, 1, 5, 10])
def test_exact_counts_are_protected_as_rounded_ones_are(agreement: Agreement, base: int) -> None:
    agreement.release(ALL, base)
    threshold = max(base, 5)
    assert agreement.refuses(ALL[threshold - 1 :], base)
    assert not agreement.refuses(ALL[threshold:], base)


def test_each_agreement_has_its_own_memory(agreement: Agreement) -> None:
    agreement.release(ALL)
    assert not Agreement(agreement.place.folder or Path(), "2026-0002").refuses(ALL[1:])


def test_parts_of_an_answer_are_compared_with_the_same_part(agreement: Agreement) -> None:
    agreement.release(ALL, part="mine: adults")
    assert agreement.refuses(ALL[1:], part="mine: adults")
    assert not agreement.refuses(ALL[1:], part="mine: with a CT")


@pytest.mark.slow
def test_rows_are_compared_with_counts_and_not_with_rows(agreement: Agreement) -> None:
    agreement.release(ALL, kind=ROWS)
    assert not agreement.refuses(ALL[1:], kind=ROWS)
    assert agreement.refuses(ALL[2:])
    assert not agreement.refuses(ALL)  # whoever has the rows has counted them
    assert not agreement.refuses(ALL[1:61])
    assert agreement.refuses(ALL[1:62], kind=ROWS)  # with the count, the rows would show who is missing


def test_an_answer_is_admitted_whole_or_not_at_all(agreement: Agreement) -> None:
    agreement.release(ALL)
    with store.open_writer(agreement.place, Settings()) as con:
        both = Released(agreement.name, {"mine: adults": ALL[:50], ANSWER: ALL[1:]})
        with pytest.raises(DifferenceError):
            store.transact(con, "two", lambda: memory.admit_within(con, agreement.place, both, 5), released="x")
        assert [row["name"] for row in memory.list_releases(con, agreement.name)] == [ANSWER]
    assert not agreement.refuses(ALL[1:50], part="mine: adults")


@pytest.mark.slow
def test_after_five_refusals_reviewers_decide(agreement: Agreement) -> None:
    agreement.release(ALL)
    for _ in range(memory.MOST_REFUSALS):
        assert agreement.refuses(ALL[1:])
    assert agreement.refuses(ALL[:20])
    assert agreement.release(ALL)  # what was seen before discloses nothing
    reviewed = Released(agreement.name, {ANSWER: ALL[1:]}, is_reviewed=True)
    with store.open_writer(agreement.place, Settings()) as con:
        store.transact(con, "reviewed", lambda: memory.admit_within(con, agreement.place, reviewed, 5), released="x")
    assert not agreement.refuses(ALL[1:21])
    assert agreement.refuses(ALL[1:20])


def test_the_memory_names_nobody_and_holds_eight_bytes_a_patient(agreement: Agreement) -> None:
    many = [f"Covid{number}" for number in range(20_000)]
    agreement.release(many)
    folder = Path(agreement.place.data_path) / "access/releases"
    files = list(folder.rglob("*.parquet"))
    assert files
    assert all(b"Covid" not in path.read_bytes() for path in files)
    assert sum(path.stat().st_size for path in files) < 10 * len(many)
    # The catalogue, which has the least and greatest value of each column, names nobody either, and stays small.
    assert b"Covid1" not in agreement.place.catalogue.read_bytes()
    with duckdb.connect() as con:
        found = con.execute("select * from read_parquet($files)", {"files": [str(path) for path in files]}).fetchall()
    assert "Covid" not in str(found)


def test_a_lake_with_another_secret_compares_nothing(agreement: Agreement) -> None:
    agreement.release(ALL)
    key = Path(agreement.place.data_path) / "lake.key"
    key.write_text("ab" * 32)
    with pytest.raises(LakeError, match="is not the one that its memory"):
        agreement.release(ALL[:50])
    one, other = (digest_patients(bytes([number]) * 32, ALL) for number in range(2))
    assert not set(one.tolist()) & set(other.tolist())


@pytest.mark.slow
def test_what_is_remembered_publishes_nothing(tmp_path: Path, samples: Path, here: Chest) -> None:
    shutil.copytree(samples / "dated", tmp_path / "bucket")
    lake = tmp_path / "lake"
    published = warehouse.refresh(tmp_path / "bucket", lake).published.snapshot
    Agreement(lake).release(ALL)
    done = here("status", "--lake", lake)
    assert (done.returncode, "unpublished" in done.stdout) == (0, False)
    again = warehouse.refresh(tmp_path / "bucket", lake)
    assert (again.published.snapshot, again.published.is_new) == (published, False)


def test_tokens_of_one_agreement_share_the_memory_of_the_server() -> None:
    seen = Memory()
    one, two, other = (
        Caller(name, Rights.counts, agreement=agreement)
        for name, agreement in (("a", "2026-0001"), ("b", "2026-0001"), ("c", ""))
    )
    seen.admit(one.remembered_as, {"": range(100)}, 5)
    with pytest.raises(DifferenceError):
        seen.admit(two.remembered_as, {"": range(1, 100)}, 5)
    seen.admit(other.remembered_as, {"": range(1, 100)}, 5)


def test_sums_are_found_among_any_number_of_sets_as_by_looking_at_each_pair() -> None:
    chance, n_found = random.Random(1), 0
    for _ in range(400):
        everybody = [chance.randrange(2**64) for _ in range(chance.randint(1, 30))]
        sets = [{each for each in everybody if chance.random() < 0.5} for _ in range(4)]
        base = chance.randint(2, 6)
        # Others, and the rest of two, but for a few.
        sets += [{*everybody} - one ^ {*chance.sample(everybody, min(len(everybody), base - 2))} for one in sets[:2]]
        chance.shuffle(sets)
        found, *earlier = sets
        expected = any(
            _add_up(whole, one, other, base)
            for first, second in combinations(earlier, 2)
            for whole, one, other in permutations((found, first, second))
        )
        assert adds_up_to_nearly(to_array(found), [*map(to_array, earlier)], base) == expected
        n_found += expected
    assert 50 < n_found < 350


def _add_up(whole: set[int], one: set[int], other: set[int], base: int) -> bool:
    missing, more = (one | other) - whole, whole - one - other
    is_near = len(missing) < base and len(more) < base and bool(missing or more)
    return is_near and bool(one and other) and not one & other


@pytest.mark.slow
def test_a_caller_who_was_shown_a_thousand_counts_keeps_nobody_waiting() -> None:
    """Each pair of a thousand sets took seconds to look at, while the event loop and all callers waited."""
    seen, chance = Memory(), random.Random(1)
    everybody = [chance.randrange(2**64) for _ in range(1000)]

    def ask() -> None:
        seen.admit("ann", {"": chance.sample(everybody, chance.randint(100, 400))}, 5)

    for _ in range(1000):
        ask()
    threads = [threading.Thread(target=ask) for _ in range(6)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    seen.admit("ben", {"": range(100)}, 5)
    seen.refuse("cay", "It failed.")
    waited = time.monotonic() - begun
    for thread in threads:
        thread.join()
    assert waited < 2
    assert time.monotonic() - begun < 5


def test_a_caller_is_shown_so_many_different_counts_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(differencing, "_MOST_COUNTS", 10)
    seen = Memory()
    for n in range(10):
        seen.admit("ann", {"": range(100 * n, 100 * n + 50)}, 5)
    with pytest.raises(DifferenceError, match="no new counts: you were shown 10 different ones"):
        seen.admit("ann", {"": range(5000)}, 5)
    seen.admit("ann", {"": range(50)}, 5)
    seen.admit("ben", {"": range(5000)}, 5)
