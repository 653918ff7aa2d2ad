"""What one caller does stops nobody else: the log of access, the writer's lock, and what takes long to make."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest
from agreed_lakes import make_lake, read_log
from served import Served, serve_thread, write_tokens

import warehouse
from warehouse.access import vocabulary
from warehouse.lake import waiting
from warehouse.service import noting
from warehouse.service.core import Limits, Service
from warehouse.service.dicomweb import streaming
from warehouse.service.tokens import Caller, Rights, add_token
from warehouse.settings import Settings

if TYPE_CHECKING:
    from warehouse.access.log import Event

#: Whatever is not ready is not waited for.
IMPATIENT = Limits(page_patience=0, search_patience=0)
SQL = "/api/v1/sql?q=select+patient_id+from+patients"
SEARCH = "/dicomweb/studies"


@pytest.fixture
def lake(tmp_path: Path) -> str:
    return make_lake(tmp_path)


@pytest.fixture
def given(lake: str) -> dict[str, str]:
    """Tokens: of two agreements, of none, and of rounded counts."""
    agreed = [Caller(name, Rights.pixels, ("all",), agreement=f"2026-000{n}") for n, name in ((1, "all"), (3, "leeds"))]
    others = Caller("none", Rights.pixels, ("all",)), Caller("counts", Rights.counts)
    return write_tokens(Path(lake).with_name("tokens.json"), *agreed, *others)


@pytest.fixture
def server(lake: str, given: dict[str, str]) -> Iterator[Served]:
    del given
    with serve_thread(Path(lake), token_file=Path(lake).with_name("tokens.json")) as running:
        yield running


@contextmanager
def held_by_a_refresh(lake: str, monkeypatch: pytest.MonkeyPatch, seconds: float) -> Iterator[None]:
    """The writer's lock, as a refresh holds it; whoever wants it waits for some seconds."""
    monkeypatch.setattr(waiting, "SECONDS", seconds)
    with Path(lake, "writer.lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def list_noted(lake: str, kind: str) -> list[Event]:
    return [event for event in read_log(lake) if event.event == kind]


def name_day(number: int) -> str:
    return f"/asof/{date(2020, 4, 1) + timedelta(number)}"


@pytest.mark.slow
def test_groups_that_are_made_up_are_one_refusal_of_the_log(server: Served, given: dict[str, str], lake: str) -> None:
    """Each was a commit, which kept refreshes from the lake; and the log has no name that a caller thinks of."""
    for name in ("PatA", "PatB", "x1", "x2", "x3"):
        answer = server.get(f"/group/{name}/api/v1/about", given["all"])
        assert (answer.status_code, name in answer.text) == (403, True)
    (event,) = list_noted(lake, vocabulary.REFUSED)
    assert event.body["reason"] == "Agreement 2026-0001 does not cover group another; it covers groups training."


@pytest.mark.slow
def test_a_query_for_what_the_agreement_does_not_cover_is_an_event_of_the_log(
    server: Served, given: dict[str, str], lake: str
) -> None:
    """It is refused in a worker, which writes no log; what it names may be the name of a patient."""
    del given
    token = add_token(Path(lake).with_name("tokens.json"), Caller("age", Rights.rows, agreement="2026-0004"))
    for query in ("select+sex+from+clinical", "select+ethnicity+from+clinical"):
        assert server.get(f"/api/v1/sql?q={query}", token).status_code == 403
    (event,) = list_noted(lake, vocabulary.REFUSED)
    assert (event.about, event.body["caller"]) == ("2026-0004", "age")
    assert event.body["reason"] == "The query asks for what the agreement does not cover."


@pytest.mark.slow
def test_releases_of_many_days_are_few_events_of_the_log(
    server: Served, given: dict[str, str], lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noting, "MOST_NOTED", 3)
    for number in (*range(6), 0):
        assert server.get(name_day(number) + SQL, given["all"]).status_code == 200
    assert server.get(SQL, given["leeds"]).status_code == 200
    shown = [
        (event.about, event.body.get("as_of"), event.body["snapshot"])
        for event in list_noted(lake, vocabulary.RELEASED)
    ]
    snapshot = shown[0][2]
    assert shown == [
        *[("2026-0001", f"2020-04-0{n}", snapshot) for n in (1, 2, 3)],
        ("2026-0001", "any", "any"),
        ("2026-0003", None, snapshot),
    ]


@pytest.mark.slow
def test_nothing_leaves_before_the_log_has_it(
    server: Served, given: dict[str, str], lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the first request waited for the log, the same again was answered, and the log never had either."""
    with held_by_a_refresh(lake, monkeypatch, 3.0), ThreadPoolExecutor(4) as pool:
        answers = [*pool.map(lambda _: server.get(SQL, given["all"]).status_code, range(4))]
    assert answers == [503] * 4
    assert not list_noted(lake, vocabulary.RELEASED)
    assert server.get(SQL, given["all"]).status_code == 200
    assert len(list_noted(lake, vocabulary.RELEASED)) == 1


@pytest.mark.slow
def test_a_refusal_that_cannot_be_logged_keeps_nobody_waiting(
    server: Served, given: dict[str, str], lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server answered nobody meanwhile, not even /health."""
    longest = 0.0
    with held_by_a_refresh(lake, monkeypatch, 10.0):
        refused = threading.Thread(target=lambda: server.get(SQL, given["none"]))
        refused.start()
        while refused.is_alive():
            begun = time.monotonic()
            for path in ("/health", "/api/v1/about"):
                assert server.get(path, given["counts"]).status_code == 200
            longest = max(longest, time.monotonic() - begun)
    assert longest < 8.0
    assert server.get(SQL, given["none"]).status_code == 403
    assert len(list_noted(lake, vocabulary.REFUSED)) == 1


@pytest.fixture
def impatient(served_lake: Path, tokens: dict[str, str]) -> Iterator[Served]:
    del tokens
    with serve_thread(served_lake, token_file=served_lake.with_name("tokens.json"), limits=IMPATIENT) as running:
        yield running


def ask_until_ready(server: Served, path: str, token: str) -> None:
    """Ask again and again, as a viewer does."""
    ends = time.monotonic() + 120
    while (answer := server.get(path, token)).status_code in (202, 503):
        assert time.monotonic() < ends, answer.text
    assert answer.status_code == 200, answer.text


@pytest.mark.slow
@pytest.mark.parametrize("page", [SEARCH, "/explore"])
def test_days_that_one_caller_asks_for_do_not_drive_out_what_others_need(
    impatient: Served, tokens: dict[str, str], page: str
) -> None:
    """Each caller has what was made for them last, however many days another one asks for."""
    ask_until_ready(impatient, page, tokens["pixels"])
    for number in range(10):
        ask_until_ready(impatient, name_day(number) + page, tokens["all"])
    assert impatient.get(page, tokens["pixels"]).status_code == 200


@pytest.mark.slow
def test_days_that_one_caller_asks_for_are_not_made_before_what_others_need(
    impatient: Served, tokens: dict[str, str]
) -> None:
    """A thousand searches, each given up at once, kept everybody waiting for minutes."""
    days = [name_day(number) + SEARCH for number in range(20)]
    assert {impatient.get(day, tokens["all"]).status_code for day in days} <= {200, 503}
    ask_until_ready(impatient, "/asof/2020-03-30" + SEARCH, tokens["pixels"])
    assert impatient.get(days[-1], tokens["all"]).status_code == 503


@pytest.mark.slow
def test_older_snapshots_do_not_close_the_newest(tmp_path: Path, served_bucket: Path) -> None:
    """An index goes with its snapshot, and takes minutes of a large lake: older ones make room first."""
    import shutil

    bucket, lake = tmp_path / "bucket", tmp_path / "lake"
    shutil.copytree(served_bucket, bucket)
    numbers = []
    for patient in ("Covid1", "Covid2", "Covid3", "Covid4", "Covid5"):
        for folder in bucket.glob(f"*/{patient}"):
            shutil.rmtree(folder)
        numbers.append(warehouse.refresh(str(bucket), str(lake), allow_removals=True).published.snapshot)
    tokens = write_tokens(tmp_path / "tokens.json", Caller("one", Rights.rows), Caller("other", Rights.rows))
    with serve_thread(lake, token_file=tmp_path / "tokens.json", limits=IMPATIENT) as server:
        ask_until_ready(server, SEARCH, tokens["one"])
        for number in sorted({*numbers})[:-1]:
            ask_until_ready(server, f"/snapshot/{number}{SEARCH}", tokens["other"])
        assert server.get(SEARCH + "?StudyDate=20200301-", tokens["one"]).status_code == 200


@pytest.mark.parametrize("kind", ["call", "decode"])
def test_threads_that_one_caller_waits_for_leave_one_to_others(served_lake: Path, kind: str) -> None:
    """Pages of the explorer and images: the queue was full of one caller's requests."""
    one, other = Caller("one", Rights.pixels), Caller("other", Rights.pixels)
    freed, threads = threading.Event(), streaming.Threads(2)

    async def ask(service: Service, caller: Caller, do: Callable[[], object]) -> None:
        if kind == "call":
            await service.call(caller, do)
        else:
            streaming.whose.set(caller.name)
            await threads.run(do)

    async def try_it() -> None:
        service = Service(str(served_lake), Settings(), processes=1)
        try:
            async with anyio.create_task_group() as group:
                for _ in range(40):
                    group.start_soon(ask, service, one, freed.wait)
                await anyio.lowlevel.checkpoint()
                with anyio.fail_after(60):
                    await ask(service, other, lambda: None)
                freed.set()
        finally:
            freed.set()
            service.close()

    anyio.run(try_it)
