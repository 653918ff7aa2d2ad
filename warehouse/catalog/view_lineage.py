"""What the views are made of: the tables and views that each reads, and which columns its columns come from.

Read off their SQL by sqlglot; nothing here opens a lake.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from warehouse.catalog import columns, public_views

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.schema import Schema

#: sqlglot wants names of one depth: `core.images` is `core__images` to it.
_DEPTH = "__"


@cache
def find_relations_read(view: str) -> tuple[str, ...]:
    """The views and tables that a view reads itself, tables with their schema (`core.images`)."""
    return find_relations_in(parse_view(view))


@cache
def find_tables_below(view: str) -> frozenset[str]:
    """The tables that a view comes from in the end."""
    found: set[str] = set()
    for name in find_relations_read(view):
        found |= find_tables_below(name) if name in public_views.VIEW_ORDER else {name}
    return frozenset(found)


def find_relations_in(query: exp.Query) -> tuple[str, ...]:
    """The declared views and tables that a query reads, through all of its steps."""
    from sqlglot import exp

    known = columns.load_relations()
    found = set()
    for table in query.find_all(exp.Table):
        if isinstance(table.this, exp.Func):
            found |= {"clinical_history"} if table.this.name.lower() == "known_at" else set()
            continue
        name = f"{table.db}.{table.name}".strip(".").replace(_DEPTH, ".").lower()
        steps = {cte.alias.lower() for scope in _enclosing_queries(table) for cte in scope.ctes}
        if name in known and name not in steps:
            found.add(name)
    return tuple(sorted(found))


@cache
def trace_columns(view: str) -> dict[str, tuple[tuple[str, str], ...]]:
    """For each column of a view, the columns of what it reads that it is made of, as (relation, column).

    A column that is made of none (a literal), or of parts that only running the query names, is left out.
    """
    from sqlglot import exp, lineage
    from sqlglot.optimizer.qualify import qualify
    from sqlglot.optimizer.scope import build_scope

    relations = {r.name.replace(".", _DEPTH): r for r in columns.load_relations().values()}
    spelt = {name: {c.name.lower(): c.name for c in r.columns} for name, r in relations.items()}
    known = _load_schema()
    tree = qualify(parse_view(view), dialect="duckdb", schema=known, validate_qualify_columns=False)
    scope = build_scope(tree)
    made: dict[str, tuple[tuple[str, str], ...]] = {}
    # Trimming selects copies each of them for the text of a node, which is not used: eight times the time.
    found_nodes = lineage.lineage(None, tree, known, scope=scope, trim_selects=False, copy=False)
    nodes = {name.lower(): node for name, node in found_nodes.items()}
    for column in columns.load_relations()[view].columns:
        if (node := nodes.get(column.name.lower())) is None:
            continue
        found = {
            (leaf.source.name, leaf.name.rpartition(".")[2].strip('"').lower())
            for leaf in node.walk()
            if not leaf.downstream and isinstance(leaf.source, exp.Table)
        }
        known_ones = {(t.replace(_DEPTH, "."), spelt[t][c]) for t, c in found if c in spelt.get(t, {})}
        if known_ones:
            made[column.name] = tuple(sorted(known_ones))
    return made


@cache
def _load_schema() -> Schema:
    """The declared columns as sqlglot looks them up; made once, since that takes longer than a small view."""
    from sqlglot.schema import MappingSchema

    relations = columns.load_relations().values()
    known: dict[str, object] = {r.name.replace(".", _DEPTH): {c.name: c.type for c in r.columns} for r in relations}
    return MappingSchema(known, dialect="duckdb")


def parse_view(view: str) -> exp.Query:
    """The SELECT of a view, tables by names of one depth; a copy, which may be altered."""
    return _parse_view(view).copy()


@cache
def _parse_view(view: str) -> exp.Query:
    import sqlglot
    from sqlglot import exp

    tree: Any = sqlglot.parse_one(public_views.render_view(view), dialect="duckdb").expression
    for table in tree.find_all(exp.Table):
        if table.db:
            table.replace(exp.alias_(exp.to_table(f"{table.db}{_DEPTH}{table.name}"), table.alias_or_name, table=True))
    return tree  # type: ignore[no-any-return]


def _enclosing_queries(node: Any) -> Any:
    """The queries around a node: their steps hide views of the same name."""
    while node := node.parent:
        if hasattr(node, "ctes"):
            yield node
