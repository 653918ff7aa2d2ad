"""Arguments that nobody means, to every tool of assistants and every address: answers and refusals, never a fault."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from every_route import TOOLS, fill, list_addresses
from served import Served

#: A NUL ends a text for DuckLake; half of a character is none for DuckDB; the rest are of another type, size or depth.
ODD: list[Any] = [
    *("PatA\0", "\ud800", "", "../../etc/passwd", "9999-12-31", "x" * 50_000, -1, 10**30, True, None),
    *([["\0"]], {"": ""}, {"a\0b": "c"}, {"patients": ["\0"]}, {"days_before": 2**64}),
]
#: In an address, where all are texts.
_TEXTS = ["PatA%00", "%ED%A0%80", "%FF", "", "%2e%2e%2fetc", "9" * 30, "x" * 3_000]
#: Parameters of addresses, by how those begin; the API describes its own.
_PARAMETERS = {
    "/explore": ("id", "centre", "age", "month", "search", "page"),
    "/dicomweb": ("PatientID", "StudyInstanceUID", "StudyDate", "limit", "offset", "includefield", "ModalitiesInStudy"),
}


@pytest.fixture(scope="module")
def schemas(served: Served, tokens: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The arguments of each tool, as the server lists them."""
    tools = ask(served, tokens["all"], "tools/list")["result"]["tools"]
    return {tool["name"]: tool["inputSchema"]["properties"] for tool in tools}


def ask(served: Served, token: str, method: str, **given: Any) -> Any:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": given})
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    answer = served.ask("POST", "/mcp", token, headers, content=body)
    assert answer.status_code < 500, answer.text
    return answer.json()


@pytest.mark.slow
@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_no_argument_of_a_tool_is_a_fault(
    tool: str, served: Served, tokens: dict[str, str], schemas: dict[str, dict[str, Any]]
) -> None:
    before = len(served.read_log())
    assert TOOLS[tool].keys() <= schemas[tool].keys()
    for argument in (*schemas[tool], "another"):
        for odd in ODD:
            answer = ask(served, tokens["all"], "tools/call", name=tool, arguments={**TOOLS[tool], argument: odd})
            assert "fault of the program" not in json.dumps(answer), (argument, odd, answer)
    assert not [line for line in served.read_log()[before:] if "fault" in line or line["status"] >= 500]


@pytest.mark.slow
def test_no_part_of_an_address_is_a_fault(served: Served) -> None:
    before = len(served.read_log())
    for path, method in sorted({*list_addresses(served)}):
        if "{" not in path:
            continue
        begin, _, rest = path.partition("{")
        for odd in _TEXTS:
            answer = served.ask(method, begin + odd + fill(rest.partition("}")[2]))
            assert answer.status_code < 500, (path, odd, answer.text)
    assert not [line for line in served.read_log()[before:] if "fault" in line or line["status"] >= 500]


@pytest.mark.slow
def test_no_parameter_of_an_address_is_a_fault(served: Served) -> None:
    before = len(served.read_log())
    described = served.get("/api/v1/openapi.json").json()["paths"]
    tried = 0
    for path, method in sorted({*list_addresses(served)}):
        if method != "GET":
            continue
        own = described.get(path.removeprefix("/api/v1"), {}).get("get", {}).get("parameters", [])
        parameters = [one["name"] for one in own if one["in"] == "query"]
        parameters += next((names for begin, names in _PARAMETERS.items() if path.startswith(begin)), ())
        for name in parameters:
            for odd in ("%FF", "9" * 30):
                given = f"q={quote('select 1')}&" if path.endswith("/sql") and name != "q" else ""
                answer = served.get(f"{fill(path)}?{given}{name}={odd}")
                assert answer.status_code < 500, (path, name, odd, answer.text)
                tried += 1
    assert tried > 100, tried
    assert not [line for line in served.read_log()[before:] if "fault" in line or line["status"] >= 500]
