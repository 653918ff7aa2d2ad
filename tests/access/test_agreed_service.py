"""Tokens with agreements: each request is answered as far as the agreement covers, while it holds."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from agreed_lakes import append, find_last, make_lake, read_log
from conftest import Chest
from served import Served, serve_thread

import warehouse
from warehouse.access import log, vocabulary
from warehouse.errors import AccessRefusedError
from warehouse.service import permits
from warehouse.service.tokens import Caller, Rights, add_token, list_callers

AGREED = {"all": "2026-0001", "ct": "2026-0002", "leeds": "2026-0003", "late": "2026-0005", "soon": "2026-0001"}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_lake(tmp_path_factory.mktemp("agreed"))


@pytest.fixture(scope="module")
def given(lake: str) -> dict[str, str]:
    """Tokens by name; `none` and `counts` have no agreement."""
    file = Path(lake).with_name("tokens.json")
    made = {
        name: add_token(file, Caller(name, Rights.pixels, ("all",), agreement=agreement))
        for name, agreement in AGREED.items()
    }
    made["none"] = add_token(file, Caller("none", Rights.pixels, ("all",)))
    made["counts"] = add_token(file, Caller("counts", Rights.counts))
    return made


@pytest.fixture(scope="module")
def server(lake: str, given: dict[str, str]) -> Iterator[Served]:
    with serve_thread(Path(lake), token_file=Path(lake).with_name("tokens.json")) as running:
        yield running


def ask(server: Served, token: str, sql: str, prefix: str = "") -> list[dict[str, object]]:
    answer = server.post(f"{prefix}/api/v1/sql", {"sql": sql}, token)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["rows"])


@pytest.mark.slow
def test_an_answer_has_what_the_agreement_covers(server: Served, given: dict[str, str], lake: str) -> None:
    everyone = "select patient_id from patients order by 1"
    assert [row["patient_id"] for row in ask(server, given["all"], everyone)] == ["PatA", "PatB", "PatC"]
    assert [row["patient_id"] for row in ask(server, given["leeds"], everyone)] == ["PatA"]
    assert ask(server, given["ct"], "select Modality from images") == [{"Modality": "CT"}]
    assert server.get("/api/v1/patients/PatB", given["leeds"]).status_code == 404
    assert server.get("/api/v1/patients/PatB", given["all"]).status_code == 200
    released = [event for event in read_log(lake) if event.event == vocabulary.RELEASED]
    assert ("2026-0003", "chest serve", "leeds") in {(e.about, e.body["what"], e.body["caller"]) for e in released}
    assert len(released) == len({(event.about, event.body["rights"], event.body["group"]) for event in released})
    assert any(line.get("agreement") == "2026-0003" for line in server.read_log())


@pytest.mark.slow
def test_a_viewer_is_shown_what_the_agreement_covers(server: Served, given: dict[str, str]) -> None:
    def search(name: str) -> list[str]:
        found = server.get("/dicomweb/studies", given[name]).json()
        return sorted(study["00100020"]["Value"][0] for study in found)

    assert search("all") == ["PatA", "PatA", "PatB", "PatC"]
    assert search("leeds") == ["PatA", "PatA"]
    assert search("ct") == ["PatA"]
    assert search("all") == ["PatA", "PatA", "PatB", "PatC"]
    study = server.get("/dicomweb/studies?PatientID=PatB", given["all"]).json()[0]["0020000D"]["Value"][0]
    assert server.get(f"/dicomweb/studies/{study}/metadata", given["all"]).status_code == 200
    assert server.get(f"/dicomweb/studies/{study}/metadata", given["leeds"]).status_code == 404
    assert server.get(f"/dicomweb/studies/{study}", given["leeds"]).status_code == 404


def test_an_assistant_is_shown_what_the_agreement_covers(server: Served, given: dict[str, str]) -> None:
    def call(name: str) -> str:
        body = {
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "run_sql", "arguments": {"sql": "select patient_id from patients"}},
        }  # fmt: skip
        headers = {"Accept": "application/json, text/event-stream"}
        return str(server.post("/mcp", body, given[name], headers=headers).text)

    assert "PatB" in call("all")
    assert "PatA" in call("leeds")
    assert "PatB" not in call("leeds")
    assert "under an agreement" in call("none")


@pytest.mark.slow
def test_the_explorer_shows_what_the_agreement_covers(server: Served, given: dict[str, str]) -> None:
    assert server.get("/explore/patient?id=PatB", given["all"]).status_code == 200
    assert server.get("/explore/patient?id=PatB", given["leeds"]).status_code == 404
    for name, patients in {"all": "ABC", "leeds": "A", "ct": "AB"}.items():
        page = server.get("/explore/patients", given[name]).text
        assert [letter for letter in "ABCV" if f"Pat{letter}" in page] == [*patients]


@pytest.mark.parametrize(
    ("name", "path", "reason"),
    [
        ("late", "/api/v1/patients/PatA", "Agreement 2026-0005 ended on"),
        ("late", "/dicomweb/studies", "Agreement 2026-0005 ended on"),
        ("none", "/api/v1/patients/PatA", "only under an agreement"),
        ("none", "/dicomweb/studies", "only under an agreement"),
        ("none", "/explore/patients", "only under an agreement"),
        ("all", "/group/validation/dicomweb/studies", "does not cover group validation"),
    ],
)
def test_what_is_not_covered_is_forbidden(
    server: Served, given: dict[str, str], lake: str, name: str, path: str, reason: str
) -> None:
    answer = server.get(path, given[name])
    assert answer.status_code == 403
    assert reason in answer.text
    refusals = [event for event in read_log(lake) if event.event == vocabulary.REFUSED]
    assert any(event.body["caller"] == name and reason in event.body["reason"] for event in refusals)


def test_a_query_for_what_is_not_covered_is_forbidden(server: Served, given: dict[str, str]) -> None:
    answer = server.post("/api/v1/sql", {"sql": "from images where Modality = 'CR'"}, given["ct"])
    assert answer.status_code == 403
    assert "does not cover modality CR; it covers CT." in answer.json()["detail"]


@pytest.mark.slow
def test_rounded_counts_need_no_agreement(server: Served, given: dict[str, str]) -> None:
    for name in ("counts", "none"):
        assert server.get("/explore", given[name]).status_code == 200
        assert server.get("/api/v1/checks", given[name]).json()["suppress"] == 5


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/checks?suppress=0", 403),
        ("/api/v1/checks?suppress=6", 403),
        ("/api/v1/cohorts/covid_risk/counts?suppress=0", 403),
        ("/api/v1/cohorts/covid_risk/attrition?suppress=7", 403),
        ("/api/v1/cohorts/covid_risk/table1?by=swab_date", 400),
        ("/api/v1/cohorts/teaching_set/counts?param=draw=2", 400),
        ("/api/v1/cohorts/prior_data/counts?param=patients=PatA", 403),
        ("/explore?modality=CT&modality=CR", 403),
        ("/explore?month=2020-01..2020-03", 403),
    ],
)
def test_without_an_agreement_any_token_may_see_counts_alone(
    server: Served, given: dict[str, str], path: str, status: int
) -> None:
    assert server.get(path, given["none"]).status_code == status
    assert server.get(path, given["all"]).status_code == 200


def test_without_an_agreement_the_explorer_rounds_its_counts(server: Served, given: dict[str, str]) -> None:
    """The lake has three patients."""
    page = server.get("/explore?exact=1", given["none"]).text
    assert ("under 5" in page, "Exact counts" in page, "See the patients" in page) == (True, False, False)
    assert "Exact counts" in server.get("/explore?exact=1", given["all"]).text


@pytest.mark.slow
def test_a_revoked_agreement_is_refused_within_seconds(
    server: Served, given: dict[str, str], lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(lake, log.NewEvent(vocabulary.APPROVED, "2026-0099", _terms(lake)))
    file = Path(lake).with_name("tokens.json")
    token = add_token(file, Caller("short", Rights.rows, agreement="2026-0099"))
    monkeypatch.setattr(permits, "_SECONDS", 0.0)
    assert server.service is not None
    server.service.permits.forget()
    assert server.get("/api/v1/patients/PatA", token).status_code == 200
    append(lake, log.NewEvent(vocabulary.REVOKED, "2026-0099"))
    answer = server.get("/api/v1/patients/PatA", token)
    assert answer.status_code == 403
    assert "Agreement 2026-0099 was revoked on" in answer.text


def _terms(lake: str) -> dict[str, object]:
    return next(event.body for event in read_log(lake) if event.about == "2026-0001")


def test_a_token_names_its_agreement(here: Chest, tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    done = here("token", "add", file, "ward", "--agreement", "2026-0001")
    assert done.returncode == 0, done.stderr
    assert list_callers(file) == [(Caller("ward", Rights.rows, agreement="2026-0001"), "token")]
    assert "2026-0001" in here("token", "list", file).stdout
    document = json.loads(file.read_text())
    document["tokens"][0]["agreement"] = 1
    file.write_text(json.dumps(document))
    assert "agreement is an ID such as 2026-0001" in here("token", "list", file).stderr


@pytest.mark.slow
def test_python_opens_a_lake_under_an_agreement(lake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for open_lake in (warehouse.open, warehouse.Warehouse.open):
        with pytest.raises(AccessRefusedError, match="only under an agreement"):
            open_lake(lake)
    with warehouse.Warehouse.open(lake, agreement="2026-0003") as held:
        assert held.sql("select patient_id from patients").fetchall() == [("PatA",)]
        assert len(held.patients()) == 1
    assert find_last(lake, vocabulary.RELEASED).body["what"] == "warehouse.open"
    monkeypatch.setenv("CHEST_AGREEMENT", "2026-0005")
    with pytest.raises(AccessRefusedError, match="ended on"):
        warehouse.open(lake)
