"""The index of a worklist: studies and series of a scope in memory, made when it is first asked for.

Planning a query over DuckLake takes tens of milliseconds, reading one header of each study far longer; a search in the
index takes two. It is in a database of its own within that of the snapshot, is closed with it, and may spill to disk.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import anyio
import duckdb

from warehouse.engine import sql_files
from warehouse.errors import LakeError
from warehouse.service.core import Service
from warehouse.service.dicomweb.errors import MissingIndexError
from warehouse.service.dicomweb.series_rows import SeriesRows, read_series_rows
from warehouse.service.preparing import Progress
from warehouse.service.questions import Question
from warehouse.service.scope import Scope
from warehouse.service.sharing import Shared
from warehouse.service.tokens import Caller, Rights

if TYPE_CHECKING:
    from warehouse.api import Warehouse

T = TypeVar("T")

#: Indexes that are kept of each snapshot; of the caller with most of them, the one not used for longest makes room.
_MOST = 8
#: Images that are read at a time: the memory of a part does not grow with the lake.
_IMAGES_A_PART = 200_000
#: How often an index that was closed meanwhile is made again for one request.
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Index:
    """The tables of an index: of which scope and snapshot, and the column by which a cohort chooses images.

    `rows` has the series of each study once more, unless there are very many. `standing_list` is the version of the
    list of withdrawn patients that it was made with: in memory it does not go with the lake that was open then.
    """

    scope: Scope
    snapshot: int
    member_column: str = ""
    rows: SeriesRows | None = field(default=None, compare=False, repr=False)
    standing_list: int | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """A name for its tables."""
        return _name(self.scope)

    @property
    def studies(self) -> str:
        """The table of studies, as SQL quotes it."""
        return sql_files.identifier(f"studies_{self.name}")

    @property
    def series(self) -> str:
        """The table of series."""
        return sql_files.identifier(f"series_{self.name}")

    @property
    def members(self) -> str:
        """The table of what a cohort chose."""
        return sql_files.identifier(f"members_{self.name}")

    @property
    def is_member(self) -> str:
        """The condition that an image of view `images` is one of the cohort."""
        if not self.member_column:
            return "true"
        return sql_files.fill(
            sql_files.read_expression("expressions/dicomweb_matching.sql", "is member"),
            column=sql_files.identifier(self.member_column),
            members=self.members,
        )


@lru_cache
def _name(scope: Scope) -> str:
    text = f"{scope.as_of} {scope.group} {scope.cohort} {scope.cover or ''}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Indexes:
    """The indexes of a service."""

    def __init__(self, service: Service) -> None:
        """Begin without any."""
        self.service = service
        self._ready: Shared[tuple[int, str], Index] = Shared()
        self._building: anyio.Lock | None = None
        service.preparations.append(self.prepare_all)

    async def prepare_all(self) -> None:
        """Make the index of all that the server shows; under agreements each has its own, made when it is asked for."""
        scope = self.service.base
        caller = Caller("the server itself", Rights.rows, (scope.group,))
        if await self.service.call(caller, lambda: self.service.permits.is_enforced):
            return
        await self._prepare(caller, scope, await self.service.resolve(scope), patience=None)

    async def read(self, caller: Caller, scope: Scope, snapshot: int, do: Callable[..., T], *given: object) -> T:
        """Call `do(warehouse, index, …)` with the index of a scope, which is made if there is none.

        PreparingError while that takes long; ForbiddenError without the right to rows; NotFoundError or UsageError for
        a cohort that there is not.
        """
        self.service.require(caller, scope, Rights.rows)

        async def ask() -> T:
            index = await self._prepare(caller, scope, snapshot, self.service.limits.search_patience)
            try:
                return await self.service.read(caller, scope, Rights.rows, _guard(do), index, *given, snapshot=snapshot)
            except MissingIndexError:
                self._ready.drop((snapshot, index.name))
                raise

        return await _try_again(ask)

    async def _prepare(self, caller: Caller, scope: Scope, snapshot: int, patience: float | None) -> Index:
        key = (snapshot, Index(scope, snapshot).name)
        if (ready := self._ready.get(key)) is not None:
            return ready

        async def make(progress: Progress) -> Index:
            self._building = self._building or anyio.Lock()  # belongs to the event loop that runs
            async with self._building:
                found = await self._build(caller, scope, snapshot, progress)
                self._ready.put(key, found, caller.name)
            return found

        return await self.service.preparing.wait(("index", *key), "Studies", make, patience, whose=caller.name)

    async def _build(self, caller: Caller, scope: Scope, snapshot: int, progress: Progress) -> Index:
        members: list[str] = []
        index = Index(scope, snapshot)
        if scope.cohort:
            answer = await self.service.ask(caller, Question("members", scope, snapshot, {"name": scope.cohort}))
            members = answer.document["members"]
            index = Index(scope, snapshot, answer.document["column"])
        there = [key for key in self._ready if key[0] == snapshot]
        kept = [name for _, name in self._ready.choose_kept(there, _MOST - 1)]
        for key in there:
            if key[1] not in kept:
                self._ready.drop(key)
        given = (index, members, kept, progress)
        return await self.service.read(caller, scope, Rights.rows, build, *given, snapshot=snapshot)


async def _try_again(ask: Callable[[], Awaitable[T]]) -> T:
    for attempt in range(_TRIES):
        try:
            return await ask()
        except MissingIndexError:
            if attempt == _TRIES - 1:
                raise
    raise AssertionError("unreachable")


def _guard(do: Callable[..., T]) -> Callable[..., T]:
    """The same; MissingIndexError where the index is not, or no longer, that of the lake as it is open."""

    def run(warehouse: Warehouse, index: Index, *given: object) -> T:
        try:
            if index.standing_list == warehouse.standing_list:
                return do(warehouse, index, *given)
        except (duckdb.CatalogException, duckdb.BinderException):
            pass
        raise MissingIndexError("The lake was opened anew meanwhile. Try again.")

    return run


def build(warehouse: Warehouse, index: Index, members: list[str], kept: list[str], progress: Progress) -> Index:
    """Make the tables of an index, and remove those of indexes that are not to be kept; returns it with its rows."""
    con, texts = warehouse.con, sql_files.read_statements("dicomweb/index.sql")
    warehouse.require("images", "SOPInstanceUID")
    con.execute(sql_files.read("dicomweb/attach.sql"))
    con.execute(texts["details"])
    _remove_others(con, kept)
    if index.member_column:
        con.execute(sql_files.fill(texts["members"], members=index.members), {"members": members})
    try:
        with progress.follow(con, 0.1):
            con.execute(texts["repeated"])
            con.execute(texts["shared"])
        parts = con.execute(sql_files.fill(texts["parts"], most=str(_IMAGES_A_PART))).fetchall() or [("", "")]
        for number, (first, last) in enumerate(parts):
            with progress.follow(con, 0.1 + 0.85 * (number + 1) / len(parts)):
                _add_part(con, index, "next part" if number else "first part", (first, last))
        for name in ("forget", "forget details", "forget repeated", "forget shared"):
            con.execute(texts[name])
        with contextlib.suppress(duckdb.TransactionException):  # while somebody searches; the next index does it
            con.execute(texts["compress"])
        for table in (f"studies_{index.name}", f"series_{index.name}"):
            names = {"name": sql_files.identifier(f"by_study_{table}"), "table": sql_files.identifier(table)}
            con.execute(sql_files.fill(texts["by study"], **names))
        return replace(index, rows=read_series_rows(con, index.series), standing_list=warehouse.standing_list)
    except duckdb.CatalogException as error:
        raise LakeError(f"Snapshot {index.snapshot} cannot be searched: an older version published it.") from error


def _add_part(con: duckdb.DuckDBPyConnection, index: Index, how: str, patients: tuple[str, str]) -> None:
    """Add the studies and series of a range of patients, its first and its last, to the tables of an index."""
    texts = sql_files.read_statements("dicomweb/index.sql")
    given = dict(zip(("first_patient", "last_patient"), patients, strict=True))
    con.execute(sql_files.fill(texts["found"], is_member=index.is_member), given)
    con.execute(texts["more details"], given)
    con.execute(texts["detailed"])
    for table, name in ((index.studies, "studies"), (index.series, "series")):
        rows = sql_files.fill(texts[name], studies=index.studies)
        con.execute(sql_files.fill(texts[how], table=table, rows_of_part=rows))


def find_patient(warehouse: Warehouse, index: Index, study: str) -> str | None:
    """The patient of a study; None if the index has no such study."""
    text = sql_files.fill(sql_files.read_statements("dicomweb/search.sql")["owner"], studies=index.studies)
    row = warehouse.con.execute(text, {"study": study}).fetchone()
    return str(row[0]) if row else None


@dataclass(frozen=True, slots=True)
class Span:
    """Between which keys of a patient the headers of a study or series are, and how many images it has."""

    patient: str
    first_key: str
    last_key: str
    n_images: int


def find_span(warehouse: Warehouse, index: Index, study: str, series: str = "") -> Span | None:
    """The span of a study, or of a series of it; None if the index has none such."""
    texts = sql_files.read_statements("dicomweb/search.sql")
    text, given = texts["study span"], {"study": study}
    if series:
        text, given = texts["series span"], {"study": study, "series": series}
    row = warehouse.con.execute(sql_files.fill(text, studies=index.studies, series=index.series), given).fetchone()
    return None if row is None else Span(*row)


def _remove_others(con: duckdb.DuckDBPyConnection, kept: list[str]) -> None:
    texts = sql_files.read_statements("dicomweb/index.sql")
    for (table,) in con.execute(texts["tables"]).fetchall():
        if "_" in table and table.partition("_")[2] not in kept:
            con.execute(sql_files.fill(texts["drop"], table=sql_files.identifier(table)))
