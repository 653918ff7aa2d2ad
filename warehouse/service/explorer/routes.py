"""The pages of the explorer: /explore and what is below it."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from warehouse.cohorts.attrition import Count
from warehouse.cohorts.attrition_chart import render_svg
from warehouse.errors import NotFoundError, UsageError, WarehouseError
from warehouse.query.days import parse_day
from warehouse.service.core import Service
from warehouse.service.explorer import builder, charts, pages, timeline
from warehouse.service.explorer.counting import count_page
from warehouse.service.explorer.frame import Frame, make_frame
from warehouse.service.explorer.keeping import FacetTables
from warehouse.service.explorer.table import FacetTable
from warehouse.service.http.problems import describe_error
from warehouse.service.preparing import PreparingError
from warehouse.service.questions import Answer, Question
from warehouse.service.tokens import Rights

Handler = Callable[[Request], Awaitable[Response]]
#: Patients on one page of the list.
_PATIENTS_A_PAGE = 50


def list_routes(service: Service) -> list[BaseRoute]:
    """The routes of the explorer."""
    explorer = _Explorer(service)
    return [
        Route("/explore", _as_page(explorer.show_facets)),
        Route("/explore/go", _as_page(explorer.go)),
        Route("/explore/patients", _as_page(explorer.show_patients)),
        Route("/explore/patient", _as_page(explorer.show_patient)),
        Route("/explore/cohort", _as_page(explorer.show_cohort)),
        Route("/explore/cohort.sql", _as_page(explorer.download_cohort)),
        Route("/explore/attrition.svg", explorer.draw_attrition),
        Route("/explore/manifest.zip", _as_page(explorer.download_manifest)),
        Route("/explore/assets/{name}", explorer.send_asset),
    ]


def _as_page(handler: Handler) -> Handler:
    """Show the errors of a handler as a page, with the same status, and how far it is while something is read."""

    @functools.wraps(handler)
    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except PreparingError as error:
            # 202, since proxies replace the body of a 503 by a page of their own.
            return pages.render("waiting.html", 202, root=request.state.prefix, progress=error.progress)
        except WarehouseError as error:
            status = describe_error(error).status_code
            root = getattr(request.state, "prefix", "")
            return pages.render("error.html", status, error=str(error), root=root, status=status)

    return handle


class _Explorer:
    """The handlers, and the facets that were read."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.tables = FacetTables(service)

    async def show_facets(self, request: Request) -> Response:
        """The page of facets."""
        frame = make_frame(request, self.service)
        table = await self._find_table(frame)
        page = await self.service.call(
            frame.caller,
            count_page,
            table,
            frame.selection,
            frame.base,
            self.service.narrow(frame.caller),
            self.service.memory,
        )
        return pages.render("explore.html", frame=frame, page=page, charts=_draw_charts(frame, page.facets))

    async def go(self, request: Request) -> Response:
        """Lead from a form to the address of what it says."""
        frame, given = make_frame(request, self.service), request.query_params
        scope, selection = frame.scope, frame.selection
        if "as_of" in given:
            # A day is narrowed by the path alone; the server's own day stays in force there.
            scope = replace(scope, as_of=parse_day(given["as_of"]) if given["as_of"] else frame.base_scope.as_of)
        if given.get("group") in frame.groups:
            scope = replace(scope, group=given["group"])
        if "first" in given:
            selection = selection.between(given["first"][:7], given.get("last", "")[:7])
        page = given.get("page", "")
        if page not in ("", "/patients", "/cohort"):
            raise UsageError(f"There is no page {page!r}.")
        return RedirectResponse(replace(frame, selection=selection).at(scope, page), status_code=303)

    async def show_patients(self, request: Request) -> Response:
        """The patients who fit, some at a time."""
        frame = make_frame(request, self.service)
        self.service.require(frame.caller, frame.scope, Rights.rows)
        first = max(0, int(request.query_params.get("first", "0")) if _is_number(request, "first") else 0)
        table = await self._find_table(frame)
        members = await self.service.call(frame.caller, lambda: table.find_members(table.find_rows(frame.selection)))
        found = table.list_patients(members, first, _PATIENTS_A_PAGE)
        rows = await self._read(frame, Rights.rows, timeline.list_patients, found)
        request.state.logged = {"rows": len(rows)}
        total = int(members.sum())
        more = first + _PATIENTS_A_PAGE if first + _PATIENTS_A_PAGE < total else None
        return pages.render(
            "patients.html", frame=frame, rows=rows, total=total, first=first, more=more, size=_PATIENTS_A_PAGE
        )

    async def show_patient(self, request: Request) -> Response:
        """The history of one patient, as of one of its days."""
        frame = make_frame(request, self.service)
        patient_id = request.query_params.get("id", "")
        days = await self._read(frame, Rights.rows, timeline.list_days, patient_id)
        if not days:
            raise NotFoundError(f"Nothing is known of {patient_id!r}.")
        wanted = parse_day(request.query_params["day"]) if request.query_params.get("day") else days[-1]
        day = max((each for each in days if each <= wanted), default=days[0])
        scope = replace(frame.scope, as_of=day)
        history = await self.service.read(
            frame.caller, scope, Rights.rows, timeline.read_history, patient_id, day, snapshot=frame.snapshot
        )
        request.state.logged = {"rows": len(history.events)}
        everything = await self._read(frame, Rights.rows, timeline.read_history, patient_id, day)
        return pages.render(
            "patient.html", frame=frame, history=history, days=days, scope=replace(frame, scope=scope),
            place=days.index(day), drawing=_draw_history(history, everything.events, days), facts=timeline.FACTS,
        )  # fmt: skip

    async def show_cohort(self, request: Request) -> Response:
        """The cohort that what is chosen makes."""
        frame, grain, title, text = self._build(request)
        given = {"grain": grain, "title": title}
        name = builder.name_file(title or builder.suggest_title(frame.selection, grain))
        suggested = title or builder.suggest_title(frame.selection, grain)
        return pages.render("cohort.html", frame=frame, sql=text, grain=grain, title=suggested, name=name, given=given)

    async def download_cohort(self, request: Request) -> Response:
        """The file of the cohort."""
        frame, grain, title, text = self._build(request)
        name = builder.name_file(title or builder.suggest_title(frame.selection, grain))
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(text, media_type="application/sql", headers=headers)

    async def draw_attrition(self, request: Request) -> Response:
        """What remains after each step of the cohort, as a drawing."""
        frame, _, title, text = self._build(request)
        answer = await self._ask(frame, "attrition", text)
        steps = [Count(reads=(), **step) for step in answer.document["steps"]]
        day = f"As of {frame.scope.as_of}" if frame.scope.as_of else "Everything available"
        about = f"{day}; group {frame.scope.group}, snapshot {frame.snapshot}"
        if frame.base > 1:
            about += f"; patients, rounded to {frame.base}"
        drawn = render_svg(title or "Attrition", about, steps)
        return Response(drawn, media_type="image/svg+xml", headers={"Cache-Control": "no-store"})

    async def download_manifest(self, request: Request) -> Response:
        """The manifest of the cohort, as a zip file."""
        frame, grain, title, text = self._build(request)
        self.service.require(frame.caller, frame.scope, Rights.rows)
        answer = await self._ask(frame, "manifest", text)
        name = builder.name_file(title or builder.suggest_title(frame.selection, grain)).removesuffix(".sql")
        headers = {"Content-Disposition": f'attachment; filename="{name}.zip"', "Cache-Control": "no-store"}
        return Response(answer.file or b"", media_type="application/zip", headers=headers)

    async def send_asset(self, request: Request) -> Response:
        """A file that the pages load."""
        try:
            return pages.read_asset(request.path_params["name"])
        except KeyError:
            raise NotFoundError("There is no such file.") from None

    def _build(self, request: Request) -> tuple[Frame, str, str, str]:
        """The frame, grain, title and text of the cohort of a request."""
        frame, given = make_frame(request, self.service), request.query_params
        grain, title = given.get("grain") or "patient", given.get("title", "")
        return frame, grain, title, builder.build_cohort(frame.selection, grain, title)

    async def _ask(self, frame: Frame, kind: str, text: str) -> Answer:
        given = {"sql": text, "name": "cohort.sql", "suppress": frame.base}
        return await self.service.ask(
            frame.caller, Question(kind, frame.scope, frame.snapshot, given), is_ours=kind == "attrition"
        )

    async def _find_table(self, frame: Frame) -> FacetTable:
        latest, patience = replace(frame.scope, as_of=frame.base_scope.as_of), self.service.limits.page_patience
        return await self.tables.find(frame.caller, frame.scope, latest, frame.snapshot, patience)

    async def _read(self, frame: Frame, rights: Rights, do: Callable[..., Any], *given: Any) -> Any:
        return await self.service.read(frame.caller, frame.scope, rights, do, *given, snapshot=frame.snapshot)


def _draw_charts(frame: Frame, facets: Any) -> dict[str, str]:
    """The charts of facets, by name; the template marks them as safe, since all data in them is escaped."""

    def find_address(name: str) -> Callable[[str], str]:
        return lambda value: frame.go(frame.selection.toggle(name, value))

    months = charts.fill_months([value for value in facets["month"].values if value.value != "(none)"])
    ages = [value for value in facets["age"].values if value.value != "(none)"]
    return {
        "month": charts.draw_columns(months, find_address("month"), "month", frame.base, is_time=True),
        "age": charts.draw_columns(ages, find_address("age"), "age", frame.base),
    }


def _draw_history(history: timeline.History, events: list[timeline.Event], days: list[date]) -> str:
    """The timeline of a patient; its ends and rows are those of all days, so that it stands still."""
    lanes = [*sorted({event.lane for event in events} - {"Records"}), *(["Records"])]
    found = [*days, *(event.day for event in events if event.day)]
    return charts.draw_timeline(history.events, lanes, (min(found), max(found)), history.day)


def _is_number(request: Request, name: str) -> bool:
    text = request.query_params.get(name, "")
    return text.isascii() and text.isdigit() and len(text) < 9
