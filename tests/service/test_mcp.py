"""MCP, asked by the SDK's own client: over HTTP through the gate, and over stdio by `chest mcp`."""

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from served import Served

import warehouse
from warehouse.docs import skill_page

TOOLS = {
    *("list_tables", "describe_table", "run_sql", "list_cohorts", "show_cohort", "run_cohort", "count_cohort"),
    *("attrition", "table1", "patient_timeline"),
}
ROOT = Path(__file__).parents[2]

Ask = Callable[[Client], Awaitable[Any]]


def over_http(served: Served, token: str, ask: Ask, prefix: str = "", mode: str = "auto") -> Any:
    async def run() -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(headers=headers, timeout=120, trust_env=False) as http:
            transport = streamable_http_client(f"{served.address}{prefix}/mcp", http_client=http)
            async with Client(transport, mode=mode) as client:
                return await ask(client)

    return anyio.run(run)


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    found = result.structured_content
    assert found == json.loads(result.content[0].text)
    assert isinstance(found, dict)
    return found


async def fail(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return str(result.content[0].text)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_tools_are_listed_and_only_read(served: Served, tokens: dict[str, str], mode: str) -> None:
    async def ask(client: Client) -> Any:
        return await client.list_tools(), client.instructions, await client.read_resource("chest://skill")

    listed, instructions, skill = over_http(served, tokens["counts"], ask, mode=mode)
    assert {tool.name for tool in listed.tools} == TOOLS
    assert all(tool.annotations.read_only_hint for tool in listed.tools)
    assert all(tool.description for tool in listed.tools)
    assert "context" not in json.dumps([tool.input_schema for tool in listed.tools])
    assert instructions == skill_page.render_rules()
    assert skill.contents[0].text == skill_page.render_skill()


def test_who_may_see_rows_gets_rows(served: Served, tokens: dict[str, str], served_lake: Path) -> None:
    with warehouse.open(str(served_lake)) as wh:
        n_patients = wh.as_of("2020-06-01").sql("select count(*) from patients").fetchall()[0][0]
        (patient_id,) = wh.sql("select min(patient_id) from patients where n_studies > 0").fetchall()[0]
        n_rows = wh.cohort("covid_risk").rows.num_rows

    async def ask(client: Client) -> None:
        tables = await call(client, "list_tables")
        assert tables["rights"] == "rows"
        assert "chest_films" in {each["name"] for each in tables["tables"]}
        columns = (await call(client, "describe_table", name="swabs"))["columns"]
        assert {"swab_date", "result"} <= {each["name"] for each in columns}
        count = "select count(*) as n, $word as word from patients"
        found = await call(client, "run_sql", sql=count, parameters={"word": "x"}, as_of="2020-06-01")
        assert found["rows"] == [{"n": n_patients, "word": "x"}]
        assert (found["as_of"], found["group"], found["truncated"]) == ("2020-06-01", "training", False)
        cut = await call(client, "run_sql", sql="from range(1000)")
        assert (cut["n_rows"], cut["truncated"], "note" in cut) == (50, True, True)
        wide = await call(client, "run_sql", sql="select repeat('x', 30000) as x from range(10)")
        assert (wide["n_rows"], wide["truncated"]) == (3, True)
        rows = await call(client, "run_cohort", name="covid_risk", most_rows=200)
        assert rows["n_rows"] == n_rows
        assert rows["patients"] % 5 == 0
        events = await call(client, "patient_timeline", patient_id=patient_id)
        assert "study" in {each["event"] for each in events["rows"]}
        for query in ("from raw.objects", "select 1; select 2", "from read_csv('/etc/passwd')"):
            assert await fail(client, "run_sql", sql=query)
        assert "covid_risk" in await fail(client, "show_cohort", name="../covid_risk")
        assert "group" in (await fail(client, "run_sql", sql="select 1", group="validation")).lower()
        assert "2020" in await fail(client, "run_sql", sql="select 1", as_of="2020-13-01")

    over_http(served, tokens["rows"], ask)


def test_who_may_see_counts_gets_rounded_counts(served: Served, tokens: dict[str, str]) -> None:
    async def ask(client: Client) -> None:
        listed = await call(client, "list_cohorts")
        name = listed["cohorts"][0]["name"]
        assert "select" in (await call(client, "show_cohort", name=name))["sql"]
        counted = await call(client, "count_cohort", name=name)
        assert counted["patients"] % 5 == 0
        instead = await call(client, "run_cohort", name=name)
        assert "rows" not in instead
        assert (instead["patients"], "counts" in instead["note"]) == (counted["patients"], True)
        steps = (await call(client, "attrition", name=name))["steps"]
        assert all(each["patients"] % 5 == 0 for each in steps)
        assert steps[-1]["patients"] == counted["patients"]
        assert (await call(client, "table1", name=name, by="sex"))["rounded_to"] == 5
        assert "counts" in await fail(client, "run_sql", sql="select 1")
        assert "rows" in await fail(client, "patient_timeline", patient_id="Covid13")

    over_http(served, tokens["counts"], ask)


def test_the_scope_of_the_path_and_the_log(served: Served, tokens: dict[str, str]) -> None:
    async def ask(client: Client) -> dict[str, Any]:
        sql = "select count(*) as n from images where patient_id <> 'Somebody77'"
        later = await call(client, "run_sql", sql=sql, as_of="2021-01-01")
        assert later["as_of"] == "2020-06-01"  # narrowed, never widened
        return later

    before = len(served.read_log())
    over_http(served, tokens["rows"], ask, prefix="/asof/2020-06-01")
    lines = [line for line in served.read_log()[before:] if line.get("tool") == "run_sql"]
    assert [(line["caller"], line["as_of"], line["rows"]) for line in lines] == [("rows", "2020-06-01", 1)]
    assert "Somebody77" not in json.dumps(served.read_log())
    for token in ("", "wrong"):
        answer = served.ask("POST", "/mcp", token or "x", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        assert answer.status_code == 401


@pytest.mark.slow
def test_over_stdio(served_lake: Path, tmp_path: Path) -> None:
    def start(*words: object) -> StdioServerParameters:
        given = ["-c", "from warehouse.cli import main; main()", "mcp", "--lake", str(served_lake), *map(str, words)]
        return StdioServerParameters(command=sys.executable, args=given)

    async def ask(*words: object) -> dict[str, Any]:
        with (tmp_path / "stderr").open("w") as errors:
            async with Client(stdio_client(start("--log", tmp_path / "log", *words), errlog=errors)) as client:
                assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS
                assert "rows" in await fail(client, "run_sql", sql="select 1")
                return await call(client, "count_cohort", name="covid_risk")

    found = anyio.run(ask, "--as-of", "2020-09-01")
    assert (found["as_of"], found["patients"] % 5) == ("2020-09-01", 0)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(line["tool"], line.get("error")) for line in lines] == [
        ("run_sql", "ForbiddenError"),
        ("count_cohort", None),
    ]
    assert (tmp_path / "stderr").read_text() == ""


def test_the_guide_is_current_and_its_queries_run(served_lake: Path) -> None:
    assert (ROOT / "docs" / "SKILL.md").read_text() == skill_page.render_skill(), "say make docs"
    with warehouse.open(str(served_lake), trusted=False) as wh:
        for query in skill_page.list_examples():
            assert wh.sql(query).fetchall()


@pytest.mark.slow
def test_no_stream_is_held_open(served: Served, tokens: dict[str, str]) -> None:
    # One for each of the server's connections would keep all others out.
    for method in ("GET", "DELETE"):
        refused = served.ask(method, "/mcp", tokens["counts"], headers={"Accept": "text/event-stream"})
        assert refused.status_code == 405
