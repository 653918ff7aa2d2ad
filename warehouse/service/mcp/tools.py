"""The tools: what each takes and answers. All of them only read."""

from __future__ import annotations

import json
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.types import ToolAnnotations
from pydantic import Field

from warehouse.api import Warehouse
from warehouse.cohorts.description import describe_definition
from warehouse.cohorts.parsing import list_shipped, load
from warehouse.errors import NotFoundError
from warehouse.service import dictionary
from warehouse.service.core import ForbiddenError
from warehouse.service.encoding import Encoded, Form, encode_relation
from warehouse.service.mcp.asking import FEW_ROWS, MOST_BYTES, MOST_ROWS, Asking, Calls
from warehouse.service.questions import Answer
from warehouse.service.tokens import Rights

Document = dict[str, Any]
AsOf = Annotated[str | None, Field(description="Only what was available on or before this day, such as 2020-06-01.")]
Group = Annotated[str | None, Field(description="The group of patients; training by default.")]
Snapshot = Annotated[int | None, Field(description="A published snapshot; the newest by default.")]
Name = Annotated[str, Field(description="A cohort, by its name in list_cohorts.")]
Parameters = Annotated[
    dict[str, Any] | None, Field(description="Parameters of the cohort by name, as show_cohort lists them.")
]
Most = Annotated[int, Field(ge=1, le=MOST_ROWS, description="Rows at most.")]

_READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
_WITHHELD = "Your token may see counts, not rows of patients: here is the rounded number of patients instead."


def add_tools(server: MCPServer[Any], calls: Calls) -> None:
    """Add the tools to a server."""
    _add_dictionary(server, calls)
    _add_rows(server, calls)
    _add_cohorts(server, calls)


def _add_dictionary(server: MCPServer[Any], calls: Calls) -> None:
    @server.tool(annotations=_READS)
    async def list_tables(context: Context) -> Document:
        """List the views that can be queried, with what a row of each is. Begin here."""
        async with calls.begin(context, "list_tables") as asking:
            return asking.describe(rights=asking.caller.rights.name, tables=dictionary.list_tables())

    @server.tool(annotations=_READS)
    async def describe_table(name: str, context: Context) -> Document:
        """List the columns of a view: type, unit, meaning, limits, codes, and the DICOM tag or key that it is from."""
        async with calls.begin(context, "describe_table"):
            table = dictionary.describe_table(name)
            return {**table, "columns": [{k: v for k, v in each.items() if v} for each in table["columns"]]}

    @server.tool(annotations=_READS)
    async def list_cohorts(context: Context) -> Document:
        """List the cohorts: named questions whose answers are reviewed. Prefer one of them to SQL of your own."""
        async with calls.begin(context, "list_cohorts"):
            known = [load(name) for name in list_shipped()]
            return {"cohorts": [{"name": d.name, "grain": d.grain, "question": d.question} for d in known]}

    @server.tool(annotations=_READS)
    async def show_cohort(name: Name, context: Context) -> Document:
        """Show a cohort: what it asks and its limits, parameters, labels, steps and SQL."""
        async with calls.begin(context, "show_cohort"):
            if name not in list_shipped():
                raise NotFoundError(f"There is no cohort {name!r}. The cohorts are {', '.join(list_shipped())}.")
            definition = load(name)
            return {**describe_definition(definition), "sql": definition.sql}


def _add_rows(server: MCPServer[Any], calls: Calls) -> None:
    @server.tool(annotations=_READS)
    async def run_sql(
        sql: Annotated[str, Field(max_length=100_000, description="One SELECT over the views of list_tables.")],
        context: Context,
        parameters: Annotated[Document | None, Field(description="Values for $name in the query.")] = None,
        as_of: AsOf = None,
        group: Group = None,
        snapshot: Snapshot = None,
        most_rows: Most = FEW_ROWS,
    ) -> Document:
        """Run one SELECT in DuckDB's SQL over the views, in a sandbox. Aggregate in SQL: few rows are returned.

        Needs the right to rows. With the right to counts use count_cohort, attrition or table1.
        """
        async with calls.begin(context, "run_sql", as_of, group, snapshot) as asking:
            if not asking.may_see_rows:
                raise ForbiddenError(
                    "Your token may see counts, not rows, and SQL returns rows. Use count_cohort, attrition or table1."
                )
            return _to_rows(asking, await asking.ask("sql", sql=sql, parameters=parameters, most_rows=most_rows))

    @server.tool(annotations=_READS)
    async def patient_timeline(
        patient_id: Annotated[str, Field(description="The pseudonym of a patient, such as Covid12.")],
        context: Context,
        as_of: AsOf = None,
        group: Group = None,
        snapshot: Snapshot = None,
    ) -> Document:
        """List the studies and clinical records of one patient by day. Needs the right to rows."""
        async with calls.begin(context, "patient_timeline", as_of, group, snapshot) as asking:
            found: Encoded = await asking.read(Rights.rows, _encode_timeline, patient_id)
            answer = Answer(found.data, found.n_rows, found.columns, truncated=found.truncated)
            asking.facts["rows"] = found.n_rows
            return _to_rows(asking, answer)


def _add_cohorts(server: MCPServer[Any], calls: Calls) -> None:
    @server.tool(annotations=_READS)
    async def run_cohort(
        name: Name,
        context: Context,
        parameters: Parameters = None,
        as_of: AsOf = None,
        group: Group = None,
        snapshot: Snapshot = None,
        most_rows: Most = FEW_ROWS,
    ) -> Document:
        """Run a cohort: its first rows, and the rounded number of its patients; only that without the right to rows."""
        async with calls.begin(context, "run_cohort", as_of, group, snapshot) as asking:
            given = {"name": name, "parameters": parameters or {}}
            counted = await asking.ask("counts", **given)
            if not asking.may_see_rows:
                return asking.describe(**counted.document, note=_WITHHELD)
            found = _to_rows(asking, await asking.ask("rows", **given, most_rows=most_rows))
            return {**counted.document, **found}

    @server.tool(annotations=_READS)
    async def count_cohort(
        name: Name,
        context: Context,
        parameters: Parameters = None,
        as_of: AsOf = None,
        group: Group = None,
        snapshot: Snapshot = None,
    ) -> Document:
        """Count the patients of a cohort, rounded down to protect individuals: 0 may be a few."""
        async with calls.begin(context, "count_cohort", as_of, group, snapshot) as asking:
            answer = await asking.ask("counts", name=name, parameters=parameters or {})
            return asking.describe(**answer.document)

    @server.tool(annotations=_READS)
    async def attrition(
        name: Name,
        context: Context,
        parameters: Parameters = None,
        as_of: AsOf = None,
        group: Group = None,
        snapshot: Snapshot = None,
    ) -> Document:
        """Count the patients that remain after each step of a cohort, and those lost, rounded together."""
        async with calls.begin(context, "attrition", as_of, group, snapshot) as asking:
            document = (await asking.ask("attrition", name=name, parameters=parameters or {})).document
            steps = [
                {
                    **{part: each[part] for part in ("step", "meaning", "after")},
                    "patients": each["counts"]["patients"],
                    "lost": each["lost"]["patients"],
                }
                for each in document["steps"]
            ]
            return asking.describe(**{**document, "steps": steps})

    @server.tool(annotations=_READS)
    async def table1(
        name: Name,
        context: Context,
        by: Annotated[str | None, Field(description="A label of the cohort, or a characteristic: centre, sex.")] = None,
        parameters: Parameters = None,
        as_of: AsOf = None,
        group: Group = None,
        snapshot: Snapshot = None,
    ) -> Document:
        """Tabulate the characteristics of a cohort's patients, overall and by a column, from rounded counts."""
        async with calls.begin(context, "table1", as_of, group, snapshot) as asking:
            answer = await asking.ask("table1", name=name, parameters=parameters or {}, by=by)
            return asking.describe(**answer.document)


def _encode_timeline(warehouse: Warehouse, patient_id: str) -> Encoded:
    return encode_relation(warehouse.patient(patient_id).timeline(), Form.json, MOST_ROWS, MOST_BYTES)


def _to_rows(asking: Asking, answer: Answer) -> Document:
    """Rows with their columns, and a hint where rows were left off."""
    found = asking.describe(truncated=answer.truncated, n_rows=answer.n_rows, rows=json.loads(answer.rows or b"[]"))
    if answer.truncated:
        found["note"] = "There are more rows. Aggregate in SQL, narrow the question, or raise most_rows."
    return found
