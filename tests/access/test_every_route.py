"""Every address of the service and every tool of assistants, where agreements are enforced and a token has none.

Each is listed with what it may show: rows of patients, which are refused; counts, which are rounded; or nothing of a
patient. A new one fails here until somebody has decided.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from agreed_lakes import find_last, make_lake
from every_route import TOOLS, fill, list_addresses
from served import Served, serve_thread

from warehouse.access import vocabulary
from warehouse.service.tokens import Caller, Rights, add_token

_API, _WADO = "/api/v1", "/dicomweb/studies/{StudyInstanceUID}"
_SERIES = f"{_WADO}/series/{{SeriesInstanceUID}}"
_INSTANCE = f"{_SERIES}/instances/{{SOPInstanceUID}}"
_FRAMES = f"{_INSTANCE}/frames/{{frames}}"
#: Addresses that show rows or images, and need an agreement.
ROWS = {
    *(f"{_API}/{path}" for path in ("sql", "patients/{patient_id}", "patients/{patient_id}/timeline")),
    *(f"{_API}/cohorts/{{name}}/{what}" for what in ("rows", "manifest")),
    *(f"/explore/{page}" for page in ("patients", "patient", "manifest.zip")),
    *(f"/dicomweb/{level}" for level in ("studies", "series", "instances")),
    *(place for found in (_WADO, _SERIES, _INSTANCE) for place in (found, f"{found}/metadata", f"{found}/thumbnail")),
    *(f"{_WADO}/series", f"{_WADO}/instances", f"{_SERIES}/instances"),
    *(_FRAMES, f"{_FRAMES}/rendered", f"{_FRAMES}/thumbnail", f"{_INSTANCE}/rendered"),
    f"{_INSTANCE}/bulkdata/{{place:path}}",
}
#: Addresses that show counts: rounded, and refused to another base.
COUNTS = {
    *(f"{_API}/cohorts/{{name}}/{what}" for what in ("counts", "attrition", "table1")),
    f"{_API}/checks",
    "/explore",
    "/explore/attrition.svg",
}
#: Addresses that show definitions, numbers of snapshots, pages and what the address itself says.
NOTHING = {
    "/health",
    "/docs",
    "/docs/{name}",
    "/mcp",  # its tools are below
    *(f"{_API}/{path}" for path in ("about", "snapshots", "tables", "tables/{name}", "cohorts", "cohorts/{name}")),
    f"{_API}/openapi.json",
    *(f"/explore/{page}" for page in ("go", "cohort", "cohort.sql", "assets/{name}")),
}
#: Headers of a client that holds nothing, and of one that claims to hold every answer.
_HELD: tuple[dict[str, str], ...] = ({}, {"If-None-Match": "*"})
TOOLS_OF_ROWS = ("run_sql", "patient_timeline", "run_cohort")
_NAMES = re.compile(r"\bPat[ABCV]\b|\b1\.2\.[1-5]\b|\b1\.9\.\d\d|\b(?:Leeds North|York East)\b", re.IGNORECASE)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_lake(tmp_path_factory.mktemp("routes"))


@pytest.fixture(scope="module")
def tokens(lake: str) -> dict[str, str]:
    file = Path(lake).with_name("tokens.json")
    return {
        "none": add_token(file, Caller("none", Rights.pixels, ("all",))),
        "agreed": add_token(file, Caller("agreed", Rights.pixels, ("all",), agreement="2026-0010")),
    }


def make_token(lake: str, name: str) -> str:
    """A token of somebody who was shown nothing yet, with every right and without an agreement."""
    return add_token(Path(lake).with_name("tokens.json"), Caller(re.sub(r"\W", "-", name), Rights.pixels, ("all",)))


@pytest.fixture(scope="module")
def server(lake: str, tokens: dict[str, str]) -> Iterator[Served]:
    with serve_thread(lake, token_file=Path(lake).with_name("tokens.json")) as running:
        yield running


@pytest.fixture(scope="module")
def found(server: Served) -> list[tuple[str, str]]:
    return list_addresses(server)


def ask(server: Served, token: str, path: str, method: str, *, suppress: str = "", **headers: str) -> Any:
    """Ask for an address, with what it needs in its query or its body."""
    given = {"sql": "from patients"} if path == f"{_API}/sql" else {}
    given |= {"suppress": suppress} if suppress else {}
    if method == "POST":
        return server.post(fill(path), given, token, headers=headers)
    given = {"q": given["sql"]} if "sql" in given else given | ({"id": "PatA"} if path == "/explore/patient" else {})
    return server.get(f"{fill(path)}?{urlencode(given)}", token, headers=headers)


def test_every_address_is_listed_with_what_it_shows(found: list[tuple[str, str]]) -> None:
    assert {path for path, _ in found} == ROWS | COUNTS | NOTHING
    assert len(ROWS) + len(COUNTS) + len(NOTHING) == len(ROWS | COUNTS | NOTHING)


def test_what_shows_rows_is_refused(
    server: Served, tokens: dict[str, str], lake: str, found: list[tuple[str, str]]
) -> None:
    for path, method in found:
        if path not in ROWS:
            continue
        for held in _HELD:
            answer = ask(server, tokens["none"], path, method, **held)
            assert answer.status_code == 403, (method, path, answer.status_code, answer.text)
            assert "under an agreement" in answer.text, path
            assert not _NAMES.findall(answer.text.replace(fill(path), "")), path
    assert find_last(lake, vocabulary.REFUSED).body["caller"] == "none"


@pytest.mark.slow
def test_what_shows_counts_rounds_them(server: Served, lake: str, found: list[tuple[str, str]]) -> None:
    """The lake has four patients: every number of them is 0."""
    for path, method in found:
        if path not in COUNTS:
            continue
        fresh = make_token(lake, f"{method} {path}")
        answer = ask(server, fresh, path, method)
        assert answer.status_code == 200, (method, path, answer.text)
        assert not _NAMES.findall(answer.text), (method, path, answer.text)
        numbers = re.findall(r'"(?:patients|total|n|after|count)": ?(\d+)', answer.text)
        assert {*numbers} <= {"0"}, (path, answer.text)
        for base in ("0", "6") if path.startswith(_API) else ():
            refused = ask(server, fresh, path, method, suppress=base)
            assert refused.status_code == 403, (method, path, base, refused.text)


def test_what_needs_no_agreement_shows_nothing_of_a_patient(
    server: Served, tokens: dict[str, str], found: list[tuple[str, str]]
) -> None:
    for path, method in found:
        if path in NOTHING and path != "/mcp":
            answer = ask(server, tokens["none"], path, method)
            assert answer.status_code in (200, 303, 404), (path, answer.text)
            assert not _NAMES.findall(answer.text), path


@pytest.mark.slow
def test_every_tool_is_listed_and_shows_rows_under_an_agreement_alone(
    server: Served, tokens: dict[str, str], lake: str
) -> None:
    headers = {"Accept": "application/json, text/event-stream"}

    def call(token: str, method: str, **given: Any) -> str:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": given}
        return str(server.post("/mcp", body, token, headers=headers).text)

    listed = json.loads(call(tokens["none"], "tools/list"))["result"]["tools"]
    assert {tool["name"] for tool in listed} == TOOLS.keys()
    for name, arguments in TOOLS.items():
        text = call(make_token(lake, name), "tools/call", name=name, arguments=arguments)
        assert not _NAMES.findall(text), (name, text)
        assert ("under an agreement" in text) == (name in TOOLS_OF_ROWS), (name, text)
        assert "under an agreement" not in call(tokens["agreed"], "tools/call", name=name, arguments=arguments), name
