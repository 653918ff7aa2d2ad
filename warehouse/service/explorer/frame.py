"""What every page has around it: where it is asked, by whom, and the addresses of other days, groups and pages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

from starlette.requests import Request

from warehouse.errors import UsageError
from warehouse.object_store.keys import GROUPS
from warehouse.query.session import ALL_GROUPS
from warehouse.service.core import ForbiddenError, Service
from warehouse.service.explorer.facets import FACETS
from warehouse.service.explorer.selection import Selection, describe_months, parse_selection
from warehouse.service.scope import Scope
from warehouse.service.tokens import Caller, Rights


@dataclass(frozen=True, slots=True)
class Frame:
    """A request for a page."""

    caller: Caller
    scope: Scope
    base_scope: Scope
    snapshot: int
    selection: Selection
    base: int
    has_pictures: bool
    has_viewer: bool
    page: str
    query: list[tuple[str, str]]
    #: Whether the caller may see rows of patients, and so exact counts.
    may_see_rows: bool

    @property
    def nothing(self) -> Selection:
        """The selection with nothing chosen."""
        return Selection(is_exact=self.selection.is_exact)

    @property
    def without_months(self) -> Selection:
        """What is chosen, in all months."""
        return self.selection.without("month")

    def chips(self) -> list[tuple[str, str, str]]:
        """Each value chosen: its facet, the value (".." for a range of months), and words for it."""
        found = []
        for name in self.selection.active:
            if name == "month" and self.selection.months:
                found.append((name, "..", describe_months(self.selection.months)))
            found += [(name, value, FACETS[name].label(value)) for value in self.selection.values.get(name, ())]
        return found

    def path_exact(self, is_exact: bool) -> str:
        """The address of the same page with exact counts, or rounded ones."""
        kept = [(name, value) for name, value in self.query if name != "exact"]
        found = [*kept, ("exact", "1")] if is_exact else kept
        return f"{self.root}{self.page}{'?' if found else ''}{urlencode(found)}"

    @property
    def root(self) -> str:
        """The beginning of all addresses of this scope."""
        return make_prefix(self.scope, self.base_scope)

    @property
    def all_days(self) -> Scope:
        """The same scope without a day of its own."""
        return replace(self.scope, as_of=self.base_scope.as_of)

    @property
    def subpage(self) -> str:
        """The page that another scope is shown on: lists and cohorts stay, a patient may not be there."""
        name = self.page.removeprefix("/explore")
        return name if name in ("/patients", "/cohort") else ""

    @property
    def groups(self) -> list[str]:
        """The groups that the caller may choose."""
        known = [*GROUPS, ALL_GROUPS] if ALL_GROUPS in self.caller.groups else [*self.caller.groups]
        return [*dict.fromkeys([self.scope.group, *known])]

    def go(self, selection: Selection | None = None, page: str = "", **more: str) -> str:
        """The address of a page (this one's choice by default); `more` are further parts of its query."""
        chosen = self.selection if selection is None else selection
        return f"{self.root}/explore{page}{chosen.to_query(**more)}"

    def at(self, scope: Scope, page: str = "") -> str:
        """The address of a page with another scope and the same choice."""
        return f"{make_prefix(scope, self.base_scope)}/explore{page}{self.selection.to_query()}"


def make_frame(request: Request, service: Service) -> Frame:
    """The frame of a request; UsageError for an address that chooses what cannot be.

    AccessRefusedError for exact counts without an agreement that the lake asks for. ForbiddenError for several values
    of a facet without the right to rows: enough rounded counts of unions of large values, with the total, disclose the
    small value that is left.
    """
    state, scope = request.state, request.state.scope
    if scope.cohort:
        raise UsageError("The explorer shows all that a day and a group have: leave out /cohort/… in the address.")
    selection = parse_selection(request.query_params.multi_items())
    caller: Caller = state.caller
    rights = service.narrow(caller).rights
    if rights < Rights.rows:
        selection = replace(selection, is_single=True)
        if selection.has_unions:
            raise ForbiddenError("Choose one value of each facet, and one month: more at once need the right to rows.")
    base = 0 if selection.is_exact and rights >= Rights.rows else service.suppress
    service.require_counts(caller, scope, base)
    may_see_pixels = rights >= Rights.pixels
    return Frame(
        caller,
        scope,
        service.base,
        state.snapshot,
        selection,
        base,
        may_see_pixels and _serves(request, "/dicomweb"),
        may_see_pixels and _serves(request, "/ohif"),
        request.url.path.removeprefix(state.prefix),
        request.query_params.multi_items(),
        rights >= Rights.rows,
    )


def _serves(request: Request, path: str) -> bool:
    """Whether the server has something at a path."""
    return any(str(getattr(route, "path", "")).startswith(path) for route in request.app.routes)


def make_prefix(scope: Scope, base: Scope) -> str:
    """The segments of a path that set a scope, where it is not the server's own."""
    parts = []
    if scope.as_of and scope.as_of != base.as_of:
        parts.append(f"/asof/{scope.as_of}")
    if scope.snapshot is not None and scope.snapshot != base.snapshot:
        parts.append(f"/snapshot/{scope.snapshot}")
    if scope.group != base.group:
        parts.append(f"/group/{quote(scope.group, safe='')}")
    return "".join(parts)
