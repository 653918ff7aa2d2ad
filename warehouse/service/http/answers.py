"""Answers over HTTP: which form is wanted, and ETags, by which a client learns that nothing changed without computing.

An ETag names the snapshot, the standing list of withdrawn patients, the scope, the rights and the request: all that an
answer depends on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from warehouse.engine.json_values import render_json
from warehouse.errors import UsageError
from warehouse.service.core import Service
from warehouse.service.encoding import MEDIA_TYPES, Form
from warehouse.service.questions import Answer, Question
from warehouse.service.scope import Scope
from warehouse.service.tokens import Caller, Rights
from warehouse.version import __version__

#: The service may answer with what a client holds, after it was asked; nobody between them may.
_CACHE = "private, no-cache"
_VARY = "Authorization, Cookie, Accept"
#: The status of a request whose client has gone, for the log alone.
_GONE = 499


@dataclass(frozen=True)
class Asking:
    """A request of the API: who asks, of which scope and snapshot, in which form."""

    request: Request
    service: Service
    caller: Caller
    scope: Scope
    snapshot: int
    form: Form = Form.json
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, request: Request, form: Form | None = None, offered: Sequence[Form] = (Form.json,)) -> Asking:
        """What the gate knows of a request; UsageError within a cohort's path, HTTPException 406 for another form."""
        state, service = request.state, request.app.state.service
        if state.scope.cohort:
            raise UsageError(f"/cohort/{state.scope.cohort}/ is for viewers. Ask  /api/v1/cohorts/{state.scope.cohort}")
        return cls(request, service, state.caller, state.scope, state.snapshot, choose_form(request, form, offered))

    def answer_document(self, document: Any, status: int = 200, etag: str = "") -> Response:
        """Answer with a JSON value."""
        return self._respond(render_json(document).encode("utf-8", "surrogatepass"), "application/json", etag, status)

    def answer_rows(self, answer: Answer, etag: str = "") -> Response:
        """Answer with rows in the form that is wanted."""
        self.log(rows=answer.n_rows, truncated=answer.truncated)
        data = answer.rows or b""
        if self.form is Form.json:
            facts = {**self.describe_source(), "truncated": answer.truncated, "n_rows": answer.n_rows}
            facts["columns"] = [{"name": name, "type": kind} for name, kind in answer.columns]
            head = render_json(facts).encode("utf-8", "surrogatepass")
            data = head[:-1] + b', "rows": ' + data + b"}"
        response = self._respond(data, MEDIA_TYPES[self.form], etag)
        response.headers["X-Truncated"] = str(answer.truncated).lower()
        return response

    def answer_file(self, data: bytes, name: str, media_type: str, etag: str = "") -> Response:
        """Answer with a file to be saved."""
        response = self._respond(data, media_type, etag)
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

    async def ask(self, kind: str, rights: Rights, **arguments: Any) -> Response:
        """Ask a question in a worker and answer with it: rows, a document or a file; 304 if the client holds it."""
        self.service.require(self.caller, self.scope, rights)
        etag = self.find_etag()
        if etag and self.is_held(etag):
            return self.answer_unchanged(etag)
        given = {**arguments, "form": str(self.form)}
        answer = await self._ask_while_wanted(Question(kind, self.scope, self.snapshot, given))
        if answer is None:
            return Response(status_code=_GONE)
        if not answer.is_repeatable:
            etag = ""
        if answer.file is not None:
            return self.answer_file(answer.file, f"{arguments['name']}-manifest.zip", "application/zip", etag)
        if answer.rows is not None:
            return self.answer_rows(answer, etag)
        return self.answer_document({**self.describe_source(), **answer.document}, etag=etag)

    async def _ask_while_wanted(self, question: Question) -> Answer | None:
        """Ask a question, and stop it when the client goes away: None then."""
        answers: list[Answer] = []
        errors: list[Exception] = []
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                while (await self.request.receive())["type"] != "http.disconnect":
                    pass
                group.cancel_scope.cancel()

            group.start_soon(watch)
            try:
                answers.append(await self.service.ask(self.caller, question))
            except Exception as error:  # not within a group of errors
                errors.append(error)
            group.cancel_scope.cancel()
        if errors:
            raise errors[0]
        return answers[0] if answers else None

    def describe_source(self) -> dict[str, Any]:
        """The snapshot, the as-of day and the group that an answer is of."""
        return {"snapshot": self.snapshot, "as_of": self.scope.as_of, "group": self.scope.group}

    def find_etag(self) -> str:
        """The ETag of the answer to a GET; "" for other methods."""
        if self.request.method != "GET":
            return ""
        parts = (
            __version__,
            str(self.service.readers.location),
            self.snapshot,
            self.service.readers.find_time(self.snapshot),
            self.service.readers.list_version,
            self.scope,
            self.caller.rights.name,
            self.service.suppress,
            self.request.url.path.removeprefix(self.request.scope.get("app_root_path", "")),
            sorted(item for item in self.request.query_params.multi_items() if item[0] != "token"),
            str(self.form),
        )
        return f'"{hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:32]}"'

    def is_held(self, etag: str) -> bool:
        """Whether the client says that it holds this answer."""
        held = self.request.headers.get("if-none-match", "")
        return held.strip() == "*" or etag in (each.strip().removeprefix("W/") for each in held.split(","))

    def answer_unchanged(self, etag: str) -> Response:
        """Answer that the client holds the current answer."""
        return self._respond(b"", "", etag, 304)

    def log(self, **facts: Any) -> None:
        """Note small facts for the line of log; never values of patients."""
        self.facts.update(facts)
        self.request.state.logged = self.facts

    def _respond(self, data: bytes, media_type: str, etag: str, status: int = 200) -> Response:
        headers = {"Cache-Control": _CACHE if etag else "no-store", "Vary": _VARY}
        if etag:
            headers["ETag"] = etag
        return Response(data, status_code=status, media_type=media_type or None, headers=headers)


def choose_form(request: Request, form: Form | None, offered: Sequence[Form]) -> Form:
    """The form that `?format=` or the Accept header asks for; HTTPException 406 if it is not offered."""
    if form is not None:
        if form not in offered:
            raise HTTPException(406, f"This is answered as {', '.join(offered)}.")
        return form
    accepted = _parse_accept(request.headers.get("accept", "*/*"))
    best = max(offered, key=lambda each: _rate(MEDIA_TYPES[each], accepted))
    if not _rate(MEDIA_TYPES[best], accepted):
        raise HTTPException(406, f"This is answered as {', '.join(MEDIA_TYPES[each] for each in offered)}.")
    return best


def _parse_accept(header: str) -> Mapping[str, float]:
    found = {}
    for each in header.split(","):
        kind, *parameters = (part.strip().lower() for part in each.split(";"))
        quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        try:
            found[kind] = float(quality)
        except ValueError:
            found[kind] = 0.0
    return found


def _rate(media_type: str, accepted: Mapping[str, float]) -> float:
    """How much a media type is wanted: by its own name, by its kind, or among all."""
    kind = media_type.partition("/")[0]
    return next((accepted[name] for name in (media_type, f"{kind}/*", "*/*") if name in accepted), 0.0)
