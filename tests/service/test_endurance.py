"""What the service withstands: slow clients, many at once, workers that hang, a lake published again, its own end."""

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from conftest import Prepared
from served import SECONDS, Served, serve_process, serve_thread, write_tokens

import warehouse
from warehouse.service.core import Limits
from warehouse.service.tokens import Caller, Rights
from warehouse.settings import Settings

API = "/api/v1"
COUNT = f"{API}/sql?q=select+count(*)+as+n+from+images"
LONG = f"{API}/sql?q=select+repeat('x',3000000)+as+x+from+range(5)"
#: A single call that heeds no interruption, and one that takes memory past DuckDB's own limit.
ENDLESS = "select levenshtein(lpad('a', 3000000, 'ab'), lpad('b', 3000000, 'ba'))"
GREEDY = "select length(lpad(range::varchar, 1000000000, 'x')) from range(10)"


def connect(served: Served, sent: bytes = b"", *, buffer: int = 0) -> socket.socket:
    connection = socket.socket()
    if buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.settimeout(SECONDS)
    connection.connect(("127.0.0.1", int(served.address.rpartition(":")[2])))
    connection.sendall(sent)
    return connection


@pytest.mark.slow
def test_clients_that_send_or_read_nothing_block_nobody_and_are_cut_off(served_lake: Path) -> None:
    with serve_thread(served_lake, patience=2.0) as served, contextlib.ExitStack() as held:
        long = f"GET {API}/sql?q=select+repeat('x',3000000)+as+x+from+range(5) HTTP/1.1\r\nHost: localhost\r\n"
        long += f"Authorization: Bearer {served.token}\r\n\r\n"
        silent = [held.enter_context(connect(served)) for _ in range(50)]
        halting = [held.enter_context(connect(served, b"GET /health HTTP/1.1\r\nHost: loc")) for _ in range(50)]
        deaf = [held.enter_context(connect(served, long.encode(), buffer=4096)) for _ in range(5)]
        assert served.get(COUNT).status_code == 200
        for connection in (*silent, *halting):
            with contextlib.suppress(ConnectionError):
                assert connection.recv(1000) == b""
        while sum(line["bytes"] > 15_000_000 for line in served.read_log()) < len(deaf):
            assert served.get("/health").status_code == 200
        for connection in deaf:  # what the system had taken over comes, and then the end
            assert 0 < read_all(connection) < 15_000_000


def test_clients_that_go_on_sending_what_is_no_request_are_cut_off(served_lake: Path) -> None:
    with serve_thread(served_lake, patience=2.0) as served, contextlib.ExitStack() as held:
        whole = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        refused = b"POST /api/v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
        begun = b"GET /health HTTP/1.1\r\nHost: loc"
        for first, status, later in ((whole, b"200", b"\r\n"), (whole, b"200", begun), (refused, b"401", b"x")):
            connection = held.enter_context(connect(served, first))
            assert connection.recv(1000)[9:12] == status
            connection.sendall(later)
            with contextlib.suppress(ConnectionError):
                while connection.recv(1000):
                    pass


def test_connections_without_a_request_keep_nobody_out(served_lake: Path) -> None:
    """As many as may be open, opened anew as they were cut, had everybody answered with 503; no token is needed."""
    begun = b"GET /health HTTP/1.1\r\nHost: loc"
    with serve_thread(served_lake, connections=40) as served, contextlib.ExitStack() as held:
        for number in range(120):
            held.enter_context(connect(served, begun if number % 2 else b""))
        for path in ("/health", COUNT, COUNT):
            assert served.get(path).status_code == 200


@pytest.mark.slow
def test_answers_that_one_caller_does_not_read_leave_room_for_others(served_lake: Path, tmp_path: Path) -> None:
    """Who read slowly, but read, could have all connections."""
    tokens = write_tokens(tmp_path / "tokens.json", Caller("slow", Rights.rows), Caller("other", Rights.rows))
    limits = Limits(most_of_caller=4)
    with serve_thread(served_lake, token_file=tmp_path / "tokens.json", limits=limits) as served:
        with contextlib.ExitStack() as held:
            assert [begin_to_read(held, served, tokens["slow"]) for _ in range(4)] == [b"200"] * 4
            refused = served.get(f"{API}/about", tokens["slow"])
            assert (refused.status_code, refused.headers["retry-after"] != "") == (503, True)
            assert served.get(COUNT, tokens["other"]).status_code == 200
        while served.get(f"{API}/about", tokens["slow"]).status_code != 200:  # when the server has seen the ends
            pass


@pytest.mark.slow
def test_answers_that_one_caller_does_not_read_do_not_fill_the_memory(served_lake: Path, tmp_path: Path) -> None:
    """Each is in memory until it is read: some hundred of 64 MB, of one caller, ended the server for everybody."""
    tokens = write_tokens(tmp_path / "tokens.json", Caller("slow", Rights.rows), Caller("other", Rights.rows))
    limits = Limits(most_unread=40_000_000)
    with serve_thread(served_lake, token_file=tmp_path / "tokens.json", limits=limits) as served:
        with contextlib.ExitStack() as held:
            found = [begin_to_read(held, served, tokens["slow"]) for _ in range(4)]
            assert found == [b"200", b"200", b"503", b"503"]
            assert served.get(COUNT, tokens["slow"]).status_code == 200  # which is read at once
            assert begin_to_read(held, served, tokens["other"]) == b"200"
        while served.get(LONG, tokens["slow"]).status_code != 200:
            pass
    assert {line.get("error") for line in served.read_log() if line["status"] == 503} == {"OverloadedError"}


def begin_to_read(held: contextlib.ExitStack, served: Served, token: str) -> bytes:
    """Ask for 15 MB, and read no more than the status."""
    asked = f"GET {LONG} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    return held.enter_context(connect(served, asked.encode(), buffer=4096)).recv(12)[9:12]


def test_a_head_that_never_ends_is_refused_before_it_fills_the_memory(served: Served) -> None:
    much = b"x" * 100_000_000  # far more than the system itself takes over
    begun = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: "
    with connect(served, begun) as connection, pytest.raises(ConnectionError):
        connection.sendall(much)
    assert served.get("/health").status_code == 200


def read_all(connection: socket.socket) -> int:
    n_bytes = 0
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(1_000_000):
            n_bytes += len(part)
    return n_bytes


@pytest.mark.slow
def test_two_hundred_requests_at_once(served: Served, tokens: dict[str, str]) -> None:
    gate = threading.Barrier(200)

    def ask(number: int) -> tuple[int, object]:
        gate.wait(SECONDS)
        kinds = (COUNT, f"{API}/about", f"{API}/tables/images", f"/asof/2020-06-01{API}/patients/nobody")
        answer = served.get(kinds[number % len(kinds)], tokens["all" if number % 3 else "rows"])
        return answer.status_code, answer.json().get("rows")

    with ThreadPoolExecutor(200) as pool:
        found = list(pool.map(ask, range(200)))
    assert {status for status, _ in found} == {200, 404}
    assert len({json.dumps(rows) for status, rows in found if rows}) == 1


@pytest.mark.slow
def test_too_many_requests_of_one_caller_leave_room_for_others(served_lake: Path, tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path / "tokens.json", Caller("greedy", Rights.rows), Caller("other", Rights.rows))
    limits = Limits(seconds=20.0, most_waiting=6, most_of_caller=4)
    slow = {"sql": "select count(*) from range(100000) a, range(100000) b where (a.range * b.range) % 7 = 3"}
    with serve_thread(served_lake, token_file=tmp_path / "tokens.json", limits=limits, processes=2) as served:
        assert served.get(COUNT, tokens["other"]).status_code == 200
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(served.post, f"{API}/sql", slow, tokens["greedy"]) for _ in range(8)]
            refused = [each for each in wait_for_some(asked, 4) if each.status_code == 503]
            assert len(refused) == 4
            assert all(each.headers["retry-after"] for each in refused)
            # one of the two workers is left for whoever else asks
            assert served.get(COUNT, tokens["other"]).status_code == 200
            assert sum(each.done() for each in asked) < 8
            while left := [each for each in asked if not each.done()]:  # to spare the time
                for pid in list_children():
                    os.kill(pid, signal.SIGKILL)
                wait(left, 1, FIRST_COMPLETED)  # then also those that began meanwhile
    errors = {line.get("error") for line in served.read_log() if line["status"] == 503}
    assert errors == {"OverloadedError"}


def wait_for_some(asked: list, number: int) -> list:  # type: ignore[type-arg]
    """The answers of the first that are done."""
    from concurrent.futures import as_completed

    done = as_completed(asked, SECONDS)
    return [next(done).result() for _ in range(number)]


@pytest.mark.slow
def test_a_question_of_a_client_that_has_gone_is_stopped(served_lake: Path) -> None:
    with serve_thread(served_lake, processes=1) as served:
        assert served.get(COUNT).status_code == 200
        (worker,) = list_children()
        end = os.pidfd_open(worker)
        query = "q=select+count(*)+from+range(1000000)+a,range(1000000)+b"
        head = f"GET {API}/sql?{query} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {served.token}\r\n\r\n"
        before = measure_work(worker)
        with connect(served, head.encode()):
            while measure_work(worker) < before + 20:
                assert served.get("/health").status_code == 200
        assert await_end(end), "its worker goes on"
        assert served.get(COUNT).status_code == 200
        assert 499 in {line["status"] for line in served.read_log()}


def await_end(process: int) -> bool:
    """Whether a process ends in time: by its descriptor, which is closed. Unlike select, poll takes any number."""
    waiting = select.poll()
    waiting.register(process, select.POLLIN)
    try:
        return bool(waiting.poll(SECONDS * 1000))
    finally:
        os.close(process)


def measure_work(pid: int) -> int:
    """The processor time of a process, in hundredths of seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def list_children(parent: int | None = None) -> list[int]:
    """The worker processes of a server: not the tracker of multiprocessing, which ends by itself."""
    found = []
    for task in Path(f"/proc/{parent or os.getpid()}/task").iterdir():
        for pid in (task / "children").read_text().split():
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"spawn_main" in words:
                found.append(int(pid))
    return found


@pytest.mark.slow
def test_workers_that_hang_or_take_too_much_memory_are_replaced(served_lake: Path) -> None:
    limits, settings = Limits(seconds=1.0), Settings(sql_memory_mb=300)
    with serve_thread(served_lake, limits=limits, settings=settings, processes=1) as served:
        assert served.get(COUNT).status_code == 200
        before = set(list_children())
        endless = served.post(f"{API}/sql", {"sql": ENDLESS})
        assert (endless.status_code, endless.headers["content-type"]) == (400, "application/problem+json")
        assert served.get(COUNT).status_code == 200
        assert not before & set(list_children())
    with serve_thread(served_lake, settings=settings, processes=1) as served:
        greedy = served.post(f"{API}/sql", {"sql": GREEDY})
        assert (greedy.status_code, "memory" in greedy.text) == (400, True)
        assert served.get(COUNT).status_code == 200


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="Linux alone has it")
def test_when_memory_runs_out_the_system_ends_workers_first(served_lake: Path) -> None:
    """Several of them may take more than there is: each has half of it."""
    with serve_thread(served_lake, processes=2) as served:
        assert served.get(COUNT).status_code == 200
        found = [Path(f"/proc/{pid}/oom_score_adj").read_text().strip() for pid in list_children()]
        assert found.count("1000") == 2


@pytest.mark.slow
def test_nothing_lingers_after_a_server_is_killed(served_lake: Path, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(served_lake, lake)
    with contextlib.ExitStack() as held:
        served = held.enter_context(serve_process(lake, tmp_path / "log"))
        assert served.process
        assert served.get(COUNT).status_code == 200
        workers = list_children(served.process.pid)
        assert workers
        with ThreadPoolExecutor(2) as pool:
            busy = [pool.submit(served.post, f"{API}/sql", {"sql": ENDLESS}) for _ in workers]
            ends = [os.pidfd_open(pid) for pid in workers]
            served.process.kill()
            for each in busy:
                assert each.exception(SECONDS)
        for end in ends:
            assert await_end(end), "a worker outlived its server"
        made = warehouse.refresh(str(served_lake.with_name("bucket")), str(lake))  # nothing is locked
        assert made is not None
    with serve_process(lake, tmp_path / "log") as again:
        assert again.get(COUNT).status_code == 200


@pytest.fixture
def growing(tmp_path: Path) -> tuple[Path, Path]:
    """A bucket that can grow, and its lake."""
    made = Prepared.of(tmp_path, {record(number): json.dumps({"Pseudonym": f"P{number}"}) for number in range(3)})
    return made.bucket, made.lake


def record(number: int) -> str:
    return f"training/P{number}/data/2020-03-01/data.json"


@pytest.mark.slow
def test_a_lake_published_again_is_seen_by_the_next_request(growing: tuple[Path, Path]) -> None:
    bucket, lake = growing
    query = f"{API}/sql?q=select+count(*)+as+n,+count(distinct+a.patient_id)+as+m+from+clinical+a,+clinical+b"
    with serve_thread(lake, processes=2) as served, ThreadPoolExecutor(4) as pool:
        first = served.get(query)
        stop, seen = threading.Event(), []

        def ask() -> None:
            while not stop.wait(0.1):  # else the refreshes wait for a core all the time
                answer = served.get(query)
                assert answer.status_code == 200, answer.text
                row = answer.json()["rows"][0]
                seen.append((answer.json()["snapshot"], row["n"], row["m"]))

        asking = [pool.submit(ask) for _ in range(3)]
        for number in (3, 4):
            path = bucket / record(number)
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps({"Pseudonym": f"P{number}"}))
            published = warehouse.refresh(str(bucket), str(lake)).published
            assert published
            now = served.get(query, headers={"If-None-Match": first.headers["etag"]})
            assert now.json()["snapshot"] == published.snapshot
            assert now.json()["rows"] == [{"n": (number + 1) ** 2, "m": number + 1}]
        stop.set()
        for each in asking:
            each.result(SECONDS)
    assert len({snapshot for snapshot, _, _ in seen}) >= 2
    assert all(n == m**2 for _, n, m in seen)  # never half of each
    assert len(set(seen)) == len({snapshot for snapshot, _, _ in seen})


@pytest.mark.slow
def test_counts_that_differ_by_a_few_patients_are_refused_and_logged(served_lake: Path, tmp_path: Path) -> None:
    def find_patients(day: str) -> frozenset[str]:
        with warehouse.open(str(served_lake)) as wh:
            return frozenset(wh.cohort("covid_risk", as_of=day).rows["patient_id"].to_pylist())

    days = ["2020-06-01", "2020-08-01", "2020-10-01", "2020-11-01", "2020-12-01", "2021-02-01"]
    sets = {day: find_patients(day) for day in days}
    few = next((a, b) for a in days for b in days if a < b and 0 < len(sets[b] - sets[a]) < 5)
    tokens = write_tokens(tmp_path / "tokens.json", Caller("one", Rights.counts), Caller("two", Rights.counts))
    with serve_thread(served_lake, token_file=tmp_path / "tokens.json") as served:

        def count(day: str, name: str, kind: str = "counts") -> int:
            return int(served.get(f"/asof/{day}{API}/cohorts/covid_risk/{kind}", tokens[name]).status_code)

        assert count(few[0], "one") == 200
        assert count(few[0], "one") == 200
        refused = served.get(f"/asof/{few[1]}{API}/cohorts/covid_risk/counts", tokens["one"])
        assert (refused.status_code, refused.json()["title"]) == (403, "Too small a difference")
        assert [count(few[1], "one", kind) for kind in ("attrition", "table1")] == [403, 403]
        assert count(few[1], "two") == 200  # another caller has not seen the first
        line = next(line for line in served.read_log() if line["status"] == 403)
        assert (line["error"], line["caller"], line["asked"]) == ("DifferenceError", "one", "count_cohort")
        # the same patients, whose records say something else on another day
        assert count(few[0], "two", "table1") == 403


def test_refusals_are_few(served_lake: Path) -> None:
    """Each discloses one bit."""
    from warehouse.service.differencing import DifferenceError, Memory

    memory, whole = Memory(), set(range(100))
    memory.admit("one", {"": whole}, 5)
    for number in range(5):
        with pytest.raises(DifferenceError, match="differs from an earlier one"):
            memory.admit("one", {"": whole - {number}}, 5)
    memory.admit("one", {"": whole}, 5)  # what was shown may be shown again
    with pytest.raises(DifferenceError, match="no new counts"):
        memory.admit("one", {"": whole | set(range(200, 300))}, 5)
    memory.admit("two", {"": whole - {1}}, 5)
    memory.admit("two", {"": whole - set(range(1, 7)), "a step": whole}, 5)
    with pytest.raises(DifferenceError):
        memory.admit("two", {"": whole - {1}, "a step": whole | {-7}}, 5)


@pytest.mark.slow
def test_workers_that_ended_by_a_fault_are_started_anew(served_lake: Path) -> None:
    import anyio

    from warehouse.service.questions import Question
    from warehouse.service.scope import Scope
    from warehouse.service.workers import Workers

    with warehouse.open(served_lake) as wh:
        snapshot = wh.snapshot.number
    given = {"sql": "select 1 as n", "most_rows": 10, "most_bytes": 10_000}
    workers = Workers(str(served_lake), Settings(), 1)
    try:
        for _ in range(2):
            assert anyio.run(workers.ask, Question("sql", Scope(), snapshot, given)).n_rows == 1
            workers._end_pool()
    finally:
        workers.close()
