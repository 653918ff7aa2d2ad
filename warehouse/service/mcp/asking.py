"""Who calls a tool, of which scope, and the line of log: from the gate over HTTP, from the command over stdio."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from starlette.requests import Request

from warehouse.engine.json_values import to_json_value
from warehouse.errors import UsageError, WarehouseError
from warehouse.service.core import Service
from warehouse.service.http.log import RequestLog
from warehouse.service.http.problems import describe_fault
from warehouse.service.questions import Answer, Question
from warehouse.service.scope import Scope
from warehouse.service.tokens import Caller, Rights

#: Rows and bytes of an answer: an assistant reads all of it.
MOST_ROWS, MOST_BYTES = 200, 100_000
FEW_ROWS = 50


@dataclass
class Asking:
    """A call of a tool: who asks, of which scope and snapshot."""

    service: Service
    caller: Caller
    scope: Scope
    snapshot: int | None
    facts: dict[str, Any] = field(default_factory=dict)

    async def narrow(self, as_of: str | None, group: str | None, snapshot: int | None) -> None:
        """Narrow the scope by the arguments of a tool; UsageError if they are not valid, ForbiddenError."""
        before = self.scope
        if as_of:
            self.scope = self.scope.set("asof", as_of)
        if group:
            self.scope = self.scope.set("group", group)
        if snapshot is not None:
            self.scope = self.scope.set("snapshot", str(snapshot))
        self.scope = await self.service.permit(self.caller, self.scope)
        self.service.require(self.caller, self.scope, Rights.counts)
        if self.snapshot is None or self.scope.snapshot != before.snapshot:
            self.snapshot = await self.service.call(self.caller, self.service.readers.find_snapshot, self.scope)
        self.facts |= {
            "snapshot": self.snapshot,
            "as_of": self.scope.as_of,
            "group": self.service.name_group(self.scope),
        }

    @property
    def may_see_rows(self) -> bool:
        """Whether rows of patients may be shown."""
        return self.caller.rights >= Rights.rows

    async def ask(self, kind: str, **arguments: Any) -> Answer:
        """Ask a question in a worker, for rows as JSON of a size that an assistant can read."""
        assert self.snapshot is not None
        given = {**arguments, "most_rows": min(arguments.get("most_rows") or FEW_ROWS, MOST_ROWS)}
        given |= {"form": "json", "most_bytes": MOST_BYTES}
        answer = await self.service.ask(self.caller, Question(kind, self.scope, self.snapshot, given))
        self.facts |= {"rows": answer.n_rows} if answer.rows is not None else {}
        return answer

    async def read(self, rights: Rights, do: Callable[..., Any], *given: Any) -> Any:
        """Call `do(warehouse, …)` with a session of the scope."""
        return await self.service.read(self.caller, self.scope, rights, do, *given, snapshot=self.snapshot)

    def describe(self, **document: Any) -> dict[str, Any]:
        """A document with what it is of."""
        source = {"snapshot": self.snapshot, "as_of": self.scope.as_of, "group": self.scope.group}
        found: dict[str, Any] = to_json_value({**source, **document})
        return found


@dataclass(frozen=True)
class Calls:
    """How tools are called: of which service; over stdio also by whom, and the log."""

    service: Service
    caller: Caller | None = None
    log: RequestLog | None = None

    @contextlib.asynccontextmanager
    async def begin(
        self,
        context: Context[Any, Any],
        tool: str,
        as_of: str | None = None,
        group: str | None = None,
        snapshot: int | None = None,
    ) -> AsyncIterator[Asking]:
        """A call of a tool, for an `async with` block: errors become its result, a line of text; it is logged."""
        begun, facts = time.monotonic(), {"tool": tool}
        try:
            asking = self._find_asking(context)
            facts = asking.facts = {**facts, "caller": asking.caller.name}
            await asking.narrow(as_of, group, snapshot)
            yield asking
        except WarehouseError as error:
            facts["error"] = type(error).__name__
            if self.caller:  # over stdio; over HTTP the gate does it
                await self.service.notes.write_refusals(self.caller)
            raise ToolError(str(error)) from None
        except Exception as error:
            facts |= describe_fault(error)
            raise ToolError(f"A fault of the program. It is in the server's log as {facts['fault']}.") from None
        finally:
            self._write(context, facts, time.monotonic() - begun)

    def _find_asking(self, context: Context[Any, Any]) -> Asking:
        """Who calls: whom the gate let in, or whoever started the command."""
        request = context.request_context.request
        if not isinstance(request, Request):
            assert self.caller
            return Asking(self.service, self.caller, self.service.base, None)
        state = request.state
        if state.scope.cohort:
            raise UsageError(f"/cohort/{state.scope.cohort}/ is for viewers: leave it out of the address.")
        return Asking(self.service, state.caller, state.scope, state.snapshot)

    def _write(self, context: Context[Any, Any], facts: dict[str, Any], seconds: float) -> None:
        """Write the line of log, or leave it to the gate."""
        request = context.request_context.request
        if isinstance(request, Request):
            request.state.logged = facts
        elif self.log:
            self.log.write({"asked": "mcp", **facts, "ms": round(seconds * 1000, 1)})
