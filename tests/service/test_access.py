"""Who may ask what: tokens, rights, groups, proxies, names of hosts, pages of other sites; and what the log keeps."""

import contextlib
import json
import socket
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from served import CALLERS, Served, serve_thread, write_tokens

from warehouse.service.scope import Scope
from warehouse.service.tokens import Caller, Rights, remove_token
from warehouse.settings import Settings

API = "/api/v1"
#: Each endpoint with the rights that it needs; None for any token.
ENDPOINTS = {
    "/docs": None,
    f"{API}/openapi.json": None,
    f"{API}/about": None,
    f"{API}/snapshots": None,
    f"{API}/tables": None,
    f"{API}/tables/images": None,
    f"{API}/cohorts": None,
    f"{API}/cohorts/covid_risk": None,
    f"{API}/cohorts/covid_risk/counts": Rights.counts,
    f"{API}/cohorts/covid_risk/attrition": Rights.counts,
    f"{API}/cohorts/covid_risk/table1": Rights.counts,
    f"{API}/checks": Rights.counts,
    f"{API}/cohorts/covid_risk/rows": Rights.rows,
    f"{API}/cohorts/covid_risk/manifest": Rights.rows,
    f"{API}/sql?q=select+1": Rights.rows,
    f"{API}/patients/Covid13": Rights.rows,
    f"{API}/patients/Covid13/timeline": Rights.rows,
}
#: An answer that is held is not computed again; rights are asked first.
HELD = {"If-None-Match": "*"}


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("caller", ["counts", "rows", "pixels"])
def test_each_right_against_each_endpoint(served: Served, tokens: dict[str, str], caller: str) -> None:
    for path, needed in ENDPOINTS.items():
        status = served.get(path, tokens[caller], headers=HELD).status_code
        if needed and CALLERS[caller].rights < needed:
            assert status == 403, path
        else:
            assert status in (200, 304), path
        assert served.get(path, tokens["validation"], headers=HELD).status_code == 403, (
            path
        )  # training is not its group
        assert served.get(path, "x" * 43, headers=HELD).status_code == 401, path
        assert (
            served.client.get(f"/group/validation{path}", headers={**HELD, **bearer(tokens[caller])}).status_code == 403
        )
    for kind in ("rows", "counts", "attrition", "table1", "manifest"):
        own = served.post(f"{API}/cohorts/mine/{kind}", {"sql": "nonsense"}, tokens[caller])
        assert own.status_code == (403 if caller == "counts" else 400)  # refused before it is read
    for words, is_base in (({"suppress": 0}, True), ({"suppress": 3}, False), ({"suppress": 10}, True)):
        for page in (
            "checks",
            "cohorts/covid_risk/counts",
            "cohorts/covid_risk/attrition",
            "cohorts/covid_risk/table1",
        ):
            # one number rounded to 5, to 6, to 7 … is exact: without right to rows there is one base
            status = served.get(f"{API}/{page}", tokens[caller], params={**words, "group": "training"}).status_code
            assert status == (400 if not is_base else 200 if caller != "counts" else 403)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_groups_are_those_of_the_token(served: Served, tokens: dict[str, str]) -> None:
    for place in ("/group/validation", "/group/all", "/group/nothing"):
        assert served.get(f"{place}{API}/about", tokens["rows"]).status_code == 403
    for group in ("validation", "all"):
        assert served.get(f"{API}/about", tokens["rows"], params={"group": group}).status_code == 403
        twice = f"/group/training{API}/about?group=training&group={group}"
        assert served.get(twice, tokens["rows"]).status_code == 403
    assert served.get(f"/group/validation{API}/about", tokens["validation"]).json()["group"] == "validation"
    assert served.get(f"/group/all{API}/about", tokens["all"]).status_code == 200


def test_tokens_that_are_unknown_expired_or_removed(served_lake: Path, tmp_path: Path) -> None:
    today = datetime.now(UTC).date()
    file = tmp_path / "tokens.json"
    tokens = write_tokens(
        file,
        Caller("today", Rights.counts, expires=today),
        Caller("yesterday", Rights.counts, expires=today - timedelta(days=1)),
        Caller("removed", Rights.counts),
    )
    with serve_thread(served_lake, token_file=file) as served:

        def ask(name: str, **more: Any) -> int:
            return int(served.client.get(f"{API}/about", headers=bearer(tokens[name]), **more).status_code)

        assert [ask("today"), ask("yesterday"), ask("removed")] == [200, 401, 200]
        for sent in (
            "",
            "Bearer",
            f"Basic {tokens['today']}",
            tokens["today"],
            f"Bearer {tokens['today'][:-1]}",
        ):
            refused = served.client.get(f"{API}/about", headers={"Authorization": sent})
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        entered = served.client.get(f"/docs?token={tokens['removed']}")
        served.client.cookies.clear()
        cookie = {"Cookie": entered.headers["set-cookie"].split(";")[0]}
        assert served.client.get("/docs", headers=cookie).status_code == 200
        remove_token(file, "removed")
        assert ask("removed") == 401
        served.client.cookies.clear()
        assert served.client.get("/docs", headers=cookie).status_code == 401
        served.client.cookies.clear()
        text = file.read_text()
        file.write_text("{")
        broken = served.client.get(f"{API}/about", headers=bearer(tokens["today"]))
        assert (broken.status_code, str(file) in broken.text) == (503, False)
        file.unlink()
        assert ask("today") == 503
        file.write_text(text)
        assert ask("today") == 200


def test_a_token_in_an_address_becomes_a_cookie_and_leads_nowhere_else(served: Served, tokens: dict[str, str]) -> None:
    for path in ("/docs", "//evil.example/docs", "/\\evil.example", "///evil.example", "/%2f%2fevil.example/"):
        answer = served.client.get(f"{path}?token={tokens['rows']}&a=1", headers={"Authorization": ""})
        if answer.status_code == 303:
            where = answer.headers["location"]
            assert where.startswith("/")
            assert not where.startswith(("//", "/\\"))
            assert "token" not in where
            cookie = answer.headers["set-cookie"].lower()
            assert "httponly" in cookie
            assert "samesite=strict" in cookie
            assert answer.headers["referrer-policy"] == "no-referrer"
        else:
            assert answer.status_code in (400, 401, 404)
        served.client.cookies.clear()
    assert not any(token in json.dumps(served.read_log()) for token in tokens.values())


@pytest.mark.slow
def test_a_proxys_header_counts_from_its_proxy_alone(served_lake: Path, tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    own = write_tokens(file, Caller("with-token", Rights.pixels))
    from warehouse.service.tokens import add_token

    add_token(file, Caller("ward-7", Rights.counts), by_proxy=True)

    def ask(served: Served, **headers: str) -> tuple[int, str]:
        answer = served.client.get(f"{API}/about", headers=headers)
        return answer.status_code, answer.json().get("caller", "")

    with serve_thread(served_lake, token_file=file, proxy_header="X-Remote-User") as served:
        assert ask(served, **{"X-Remote-User": "ward-7"}) == (200, "ward-7")
        assert ask(served, **{"X-Remote-User": "ward-8"})[0] == 401
        assert ask(served, **{"X-Remote-User": "with-token"})[0] == 401  # known by its token alone
        assert ask(served, **{"X-Remote-User": "ward-7", "Authorization": "Bearer wrong"})[0] == 401
        assert ask(served, **bearer(own["with-token"])) == (200, "with-token")
    with serve_thread(served_lake, token_file=file, proxy_header="X-Remote-User", proxies=("192.0.2.7",)) as served:
        for forged in (
            {},
            {"X-Forwarded-For": "192.0.2.7"},
            {"X-Real-IP": "192.0.2.7"},
            {"Forwarded": "for=192.0.2.7"},
        ):
            assert ask(served, **{"X-Remote-User": "ward-7", **forged})[0] == 401
    with serve_thread(served_lake, token_file=file) as served:
        assert ask(served, **{"X-Remote-User": "ward-7"})[0] == 401


def test_another_name_of_the_server_is_refused(served: Served) -> None:
    for host in (
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:80",
        "[::2]",
        "",
        "127.0.0.1@evil.example",
    ):
        answer = served.get(f"{API}/about", headers={"Host": host})
        assert answer.status_code in (400, 421), host
    for host in ("localhost", "LOCALHOST:1234", "127.0.0.1", "[::1]:80"):
        assert served.get(f"{API}/about", headers={"Host": host}).status_code == 200
    assert served.read_log()[-5]["status"] in (400, 421)


@pytest.mark.slow
def test_pages_of_other_sites_read_and_ask_nothing(served: Served, served_lake: Path) -> None:
    other = {"Origin": "https://evil.example"}
    answer = served.get(f"{API}/about", headers=other)
    assert "access-control-allow-origin" not in answer.headers
    asked = {**other, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    preflight = served.client.options(f"{API}/sql", headers={**asked, "Authorization": ""})
    assert preflight.status_code == 401
    assert not [name for name in preflight.headers if name.startswith("access-control")]
    with serve_thread(served_lake, origins=("https://viewer.example",)) as open_to_one:
        for origin, allowed in (("https://viewer.example", True), ("https://evil.example", False), ("null", False)):
            answer = open_to_one.get(f"{API}/about", headers={"Origin": origin})
            assert (answer.headers.get("access-control-allow-origin") == origin) is allowed
        # a cookie is sent by browsers for any page: only a page of the server itself may use it to ask
        entered = open_to_one.client.get(f"/docs?token={open_to_one.token}", headers={"Authorization": ""})
        name, value = entered.headers["set-cookie"].split(";")[0].split("=", 1)
        open_to_one.client.headers.pop("authorization")
        open_to_one.client.cookies.clear()
        cookie = {"Cookie": f"{name}={value}"}
        for origin, status in (
            (open_to_one.address, 200),
            ("http://localhost:3000", 403),
            ("https://evil.example", 403),
            ("null", 403),
        ):
            asked = {**cookie, "Origin": origin}
            sent = open_to_one.client.post(f"{API}/cohorts/covid_risk/counts", json={}, headers=asked)
            assert sent.status_code == status, origin


@pytest.mark.slow
def test_behind_a_proxy_with_tls_the_cookie_is_for_tls_alone(served_lake: Path) -> None:
    """X-Forwarded-Proto counts from the proxy's address alone; addresses in answers begin as the client's do."""
    for proxies, is_believed in (((), True), (("192.0.2.7",), False)):
        with serve_thread(served_lake, proxies=proxies) as served:
            path, unknown = f"/docs?token={served.token}", {"Authorization": ""}
            for scheme, is_secure in (("https", is_believed), ("http", False), ("https, http", False)):
                entered = served.client.get(path, headers={**unknown, "X-Forwarded-Proto": scheme})
                assert ("; secure" in entered.headers["set-cookie"].lower()) is is_secure, (proxies, scheme)
            assert "; secure" not in served.client.get(path, headers=unknown).headers["set-cookie"].lower()
            served.client.cookies.clear()
            found = served.get("/dicomweb/studies?limit=1", headers={"X-Forwarded-Proto": "https"}).json()
            assert found[0]["00081190"]["Value"][0].startswith("https://" if is_believed else "http://")


@pytest.mark.slow
def test_a_server_of_an_earlier_day_discloses_no_time_of_a_later_snapshot(served_lake: Path) -> None:
    with serve_thread(served_lake, Scope(as_of=date(2020, 6, 1))) as served:
        about, snapshots = (served.get(f"{API}/{name}").json() for name in ("about", "snapshots"))
        assert about["snapshot_time"] is None
        assert about["snapshot"] == snapshots["snapshots"][-1]["number"]
        assert {each["time"] for each in snapshots["snapshots"]} == {None}
    with serve_thread(served_lake, Scope(as_of=datetime.now(UTC).date())) as served:
        assert served.get(f"{API}/about").json()["snapshot_time"]
        assert served.get(f"/asof/2020-06-01{API}/about").json()["snapshot_time"], "the client's own day hides nothing"


@pytest.mark.parametrize(
    "target",
    [
        *(
            "/../../../../etc/passwd",
            "/docs/../../../etc/passwd",
            "/docs/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
            "//etc/passwd",
        ),
        *(
            "/docs/..%5c..%5cpage.js",
            "/docs/%00",
            "/docs/page.js%00.css",
            "/docs//etc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
        ),
        *(
            "/asof/2020-06-01/../../etc/passwd",
            "/cohort/..%2f..%2fetc%2fpasswd/api/v1/about",
            "/health/../api/v1/about",
        ),
        *(
            "/api/v1/cohorts/..%2F..%2F..%2Fetc%2Fpasswd/rows",
            "/api/v1/cohorts/%2Fetc%2Fpasswd",
            "/api/v1/tables/..%2f",
        ),
        *(
            "/api/v1/patients/..%2f..%2fetc%2fpasswd",
            "/group/..%2fvalidation/api/v1/about",
            "/api/v1/cohorts/x.sql/rows",
        ),
        *("/health%00", "/health/", "/Health", "/asof/%2e%2e/api/v1/about"),
    ],
)
def test_no_path_leads_out(served: Served, target: str) -> None:
    """As they are, which clients would tidy up."""
    for token in ("", served.token):
        head = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        head += f"Authorization: Bearer {token}\r\n" if token else ""
        answer = send(served, f"{head}\r\n".encode())
        status = int(answer.split(b" ", 2)[1])
        assert status in ((400, 403, 404, 405) if token else (401, 400, 404)), answer[:300]
        assert b"root:" not in answer


def send(served: Served, data: bytes) -> bytes:
    """What the server answers to these bytes, until it closes the connection."""
    port = int(served.address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        with contextlib.suppress(ConnectionError):  # it may refuse before all is sent
            connection.sendall(data)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65_536):
                answer += part
    return answer


def test_no_question_reaches_another_address(served: Served) -> None:
    """Nothing that is asked makes the server connect to anywhere, or read a file."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        place = f"http://127.0.0.1:{listening.getsockname()[1]}/x.csv"
        queries = [
            f"from '{place}'",
            f"select * from read_csv('{place}')",
            f"select * from read_parquet('{place.replace('http:', 'https:')}')",
            f"from read_text('{place}')",
            "from read_text('/etc/passwd')",
            "from glob('/etc/*')",
            f"select * from sniff_csv('{place}')",
            f"attach '{place}' as other",
            "install httpfs",
            "from duckdb_secrets()",
            "from postgres_scan('host=127.0.0.1', 'public', 't')",
            "from query_table('raw.objects')",
            "select getenv('HOME')",
        ]
        for query in queries:
            assert served.post(f"{API}/sql", {"sql": query}).status_code == 400, query
        text = served.get(f"{API}/cohorts/covid_risk").json()["sql"]
        for read in (f"read_csv('{place}')", "read_text('/etc/passwd')", f"'{place}'"):
            own = served.post(f"{API}/cohorts/mine/rows", {"sql": text.replace("from chest_films", f"from {read}", 1)})
            assert own.status_code == 400, read
        for given in (place, f"@{place}", "@/etc/passwd", "/etc/passwd"):
            served.get(f"{API}/cohorts/covid_risk/counts", params={"param": f"days_before={given}"})
            served.get(f"{API}/cohorts/{given.replace('/', '%2F')}/rows")
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_what_is_too_large_is_refused(served: Served) -> None:
    head = (
        f"POST {API}/sql HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {served.token}\r\nConnection: close\r\n"
    )
    declared = send(served, f"{head}Content-Length: 5000000\r\n\r\n".encode())
    assert declared.startswith(b"HTTP/1.1 413")
    part = f"{0x10000:x}\r\n".encode() + b"x" * 0x10000 + b"\r\n"
    endless = send(served, f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + part * 100)
    assert endless.startswith(b"HTTP/1.1 413")
    assert b"application/problem+json" in endless
    long_head = f"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: {'x' * 200_000}\r\nConnection: close\r\n\r\n"
    assert send(served, long_head.encode())[9:12] in (b"400", b"431")
    many = "".join(f"X-{number}: {number}\r\n" for number in range(20_000))
    assert send(served, f"GET /health HTTP/1.1\r\nHost: localhost\r\n{many}\r\n".encode())[9:12] in (b"400", b"431")
    assert served.get(f"{API}/sql", params={"q": f"select '{'x' * 20_000}'"}).status_code == 414
    deep = b'{"sql": "select 1", "parameters": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    nested = served.ask("POST", f"{API}/sql", content=deep, headers={"Content-Type": "application/json"})
    assert nested.status_code in (400, 422)
    for length in ("-1", "1e3", "5, 6", "9" * 40):
        assert send(served, f"{head}Content-Length: {length}\r\n\r\n".encode())[9:12] in (b"400", b"413")
    smuggled = send(served, f"{head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode())
    assert smuggled.count(b"HTTP/1.1") == 1
    assert served.get("/health").status_code == 200


def test_the_log_has_no_values_and_no_secrets(served: Served, tokens: dict[str, str]) -> None:
    name, before = "Covid13Secret", len(served.read_log())
    for path in (
        f"{API}/patients/{name}",
        f"{API}/patients/{name}/timeline",
        f"{API}/sql?q=select+'{name}'",
        f"{API}/sql?q=select+nonsense_{name}",
        f"{API}/sql?q=select+cast('{name}'+as+integer)",
        f"{API}/cohorts/{name}/rows",
        f"{API}/cohorts/covid_risk/counts?param=days_before={name}",
        f"/asof/{name}{API}/about",
        f"/group/{name}{API}/about",
        f"/cohort/{name}{API}/about",
        f"/{name}?token={name}",
    ):
        served.get(path, headers={"User-Agent": name, "Referer": f"http://localhost/{name}", "X-Request-Id": name})
    served.post(f"{API}/sql", {"sql": f"select '{name}'", "parameters": {name: name}})
    lines = served.read_log()[before:]
    assert len(lines) == 12
    assert name not in json.dumps(lines)
    assert not any(token in json.dumps(lines) for token in tokens.values())
    assert {line["asked"] for line in lines} >= {"show_patient", "show_timeline", "run_sql", "run_cohort", "post_sql"}
    assert all(
        {"time", "method", "asked", "status", "ms", "bytes", "caller", "snapshot"} <= line.keys() for line in lines
    )
    assert {"NotFoundError", "UsageError"} <= {line.get("error") for line in lines}


@pytest.mark.slow
def test_a_lake_that_is_gone_is_one_line_without_its_secrets(served_lake: Path, tmp_path: Path) -> None:
    import shutil

    lake = tmp_path / "lake"
    shutil.copytree(served_lake, lake)
    with serve_thread(lake, settings=Settings()) as served:
        assert served.get(f"{API}/about").status_code == 200
        shutil.rmtree(lake)
        for path in (f"{API}/about", f"{API}/sql?q=from+patients"):
            gone = served.get(path)
            assert gone.status_code == 503
            assert gone.headers["retry-after"]
            assert "Traceback" not in gone.text
        shutil.copytree(served_lake, lake)
        assert served.get(f"{API}/sql?q=select+count(*)+from+patients").status_code == 200
