"""Traces the columns and filters of a cohort through all of its steps to the columns of the views.

A column without a source of its own (a literal such as 'positive') depends on the filters of its SELECT. Concepts are
followed into their own SQL, down to columns of records and images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from warehouse.catalog import columns, public_views, view_lineage
from warehouse.cohorts.definition import Definition
from warehouse.cohorts.sql_text import find_line
from warehouse.engine.names import fold_name

#: A column of a view.
Base = tuple[str, str]
_Columns = dict[str, set[Base]]


@dataclass(frozen=True, slots=True)
class Use:
    """A use of columns of views: in a filter, or in a named column of the answer."""

    line: int
    where: str
    base: frozenset[Base]


@dataclass
class Lineage:
    """The sources of the answer's columns, and the filters."""

    answer: _Columns = field(default_factory=dict)
    filters: list[Use] = field(default_factory=list)


@dataclass(frozen=True)
class _Text:
    """SQL to trace: its text and tree, and the line to report for nodes without a position."""

    sql: str
    tree: Any
    line: int


def trace_columns(definition: Definition) -> Lineage:
    """Follow every column of the answer, and every filter, to the columns of the views."""
    return _trace(_Text(definition.sql, definition.tree, definition.answer.line))


def find_fields_read(definition: Definition) -> frozenset[Base]:
    """Find the columns of images, headers and clinical records that the answer depends on, through all views."""
    traced = trace_columns(definition)
    ahead = set().union(*traced.answer.values(), *(use.base for use in traced.filters))
    found: set[Base] = set()
    while ahead:
        view, column = ahead.pop()
        made_of = () if view in _SOURCES else view_lineage.trace_columns(view).get(column, ())
        ahead |= {base for base in made_of if base[0] in public_views.VIEW_ORDER} - found
        found.add((view, column))
    return frozenset(found)


#: Views where tracing ends: one row per object, or the record in effect.
_SOURCES = frozenset(("images", "headers", "clinical", "clinical_history", "clinical_issues", "known_at"))


def _trace(text: _Text) -> Lineage:
    found = Lineage()
    steps: dict[str, _Columns] = {}
    for cte in text.tree.ctes:
        steps[fold_name(cte.alias)] = _trace_query(cte.this, steps, text, found)
    found.answer = _trace_query(text.tree, steps, text, found)
    return found


@cache
def _trace_concept(view: str) -> Lineage:
    """Trace a concept's columns and filters to the columns of its views."""
    return _trace(_Text("", view_lineage.parse_view(view), 1))


def _trace_query(query: Any, steps: dict[str, _Columns], text: _Text, found: Lineage) -> _Columns:
    from sqlglot import exp

    if isinstance(query, exp.Subquery):
        return _trace_query(query.this, steps, text, found)
    if isinstance(query, exp.SetOperation):
        return _trace_union(query, steps, text, found)
    if not isinstance(query, exp.Select):
        return {}
    if query is not text.tree:
        inner = {fold_name(cte.alias): _trace_query(cte.this, steps, text, found) for cte in query.ctes}
        steps = {**steps, **inner}
    sources = dict(_trace_sources(query, steps, text, found))
    filters = [query.args.get(name) for name in ("where", "having", "qualify")]
    filters += [join.args.get("on") for join in query.args.get("joins") or []]
    by: set[Base] = set()
    for condition in filters:
        if condition is None:
            continue
        for nested in condition.find_all(exp.Query):
            by |= set().union(*_trace_query(nested, {**steps}, text, found).values(), set())
        base = _find_bases(condition, sources)
        by |= base
        found.filters += _find_uses(condition, sources, text)
    made: _Columns = {}
    for item in query.expressions:
        if isinstance(item, exp.Star):
            for columns_ in sources.values():
                made |= {name: made.get(name, set()) | base for name, base in columns_.items()}
        elif isinstance(item, exp.Column) and isinstance(item.this, exp.Star):
            made |= sources.get(fold_name(item.table), {})
        else:
            has_columns = next(item.find_all(exp.Column), None) is not None
            made[fold_name(item.alias_or_name)] = _find_bases(item, sources) if has_columns else set(by)
    return made


def _trace_union(query: Any, steps: dict[str, _Columns], text: _Text, found: Lineage) -> _Columns:
    """Trace a union, by column position; iterative, because a chain may have hundreds of members."""
    from sqlglot import exp

    rights = []
    while isinstance(query, exp.SetOperation):
        rights.append(query.right)
        query = query.left
    made = _trace_query(query, steps, text, found)
    for right in reversed(rights):
        others = _trace_query(right, steps, text, found).values()
        made = {name: base | other for (name, base), other in zip(made.items(), others, strict=False)}
    return made


def _trace_sources(
    query: Any, steps: dict[str, _Columns], text: _Text, found: Lineage
) -> Iterator[tuple[str, _Columns]]:
    """Yield the columns of each source in the FROM of a SELECT, by alias."""
    from sqlglot import exp

    begins = query.args.get("from_")
    places = [begins.this] if begins else []
    places += [join.this for join in query.args.get("joins") or []]
    places += query.args.get("laterals") or []
    known = {view.name for view in columns.list_views()}
    for place in places:
        name = fold_name(place.alias_or_name)
        if isinstance(place, exp.Lateral):
            yield name, _trace_query(place.this, steps, text, found)
        elif isinstance(place, exp.Subquery):
            yield name, _trace_query(place, steps, text, found)
        elif isinstance(place, exp.Table) and isinstance(place.this, exp.Func):
            is_known = fold_name(place.this.name) == "known_at"
            yield name or fold_name(place.this.name), _trace_view("known_at", "clinical") if is_known else {}
        elif isinstance(place, exp.Table):
            table = fold_name(place.name)
            if table not in steps and table in public_views.CONCEPTS:
                line = find_line(text.sql, place.this.meta["start"]) if "start" in place.this.meta else text.line
                bases = set().union(*(use.base for use in _trace_concept(table).filters), set())
                found.filters.append(Use(line, "filter", frozenset(bases)))
                yield name, _trace_concept(table).answer
            else:
                yield name, steps[table] if table in steps else _trace_view(table, table) if table in known else {}


def _trace_view(name: str, view: str) -> _Columns:
    return {fold_name(column.name): {(name, column.name)} for column in columns.load_relations()[view].columns}


def _find_bases(node: Any, sources: dict[str, _Columns]) -> set[Base]:
    from sqlglot import exp

    return set().union(*(_resolve(column, sources) for column in node.find_all(exp.Column)), set())


def _resolve(column: Any, sources: dict[str, _Columns]) -> set[Base]:
    name, table = fold_name(column.name), fold_name(column.table)
    if table in sources:
        return sources[table].get(name, set())
    # A field of a struct comes from the column of the struct.
    return set().union(*(offered.get(name, offered.get(table, set())) for offered in sources.values()), set())


def _find_uses(condition: Any, sources: dict[str, _Columns], text: _Text) -> Iterator[Use]:
    """Yield a use for each line of a filter that refers to a column."""
    from sqlglot import exp

    by_line: dict[int, set[Base]] = {}
    for column in condition.find_all(exp.Column):
        start = column.this.meta.get("start")
        line = find_line(text.sql, start) if start is not None else text.line
        by_line.setdefault(line, set()).update(_resolve(column, sources))
    return (Use(line, "filter", frozenset(base)) for line, base in by_line.items() if base)
