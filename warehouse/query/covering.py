"""Narrows a session to what an agreement covers: its views show nothing else, whatever is asked.

Rows of other groups, modalities and centres are not in the views. Fields of the clinical records that are not covered
are null there, and a query that names them is refused. An image has the modality of its header, and a patient the
centre of the record in effect; a patient without a record is of no centre.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from warehouse.access.coverage import Cover, Request, cover_request, fold
from warehouse.access.verdict import Answer
from warehouse.catalog import columns, public_views, view_lineage
from warehouse.engine import sql_files
from warehouse.engine.names import fold_name
from warehouse.errors import AccessRefusedError
from warehouse.lake import store
from warehouse.query import macros, sandbox
from warehouse.query.sandbox.tree import split_words

if TYPE_CHECKING:
    import duckdb

    from warehouse.query.session import Session

_SQL = "expressions/cover.sql"
#: Fields of the clinical records; None for all.
Fields = tuple[str, ...] | None
#: Fields of a record that state whose and from where it is: every agreement covers them.
_ALWAYS = frozenset({"pseudonym", "submitting_centre"})
#: What a view makes of the header for a field; the header's own attributes come with the image.
_FROM_HEADERS = {"age": "header_age", "sex": "header_sex"}
#: Views that read tables, which are narrowed themselves.
_BASES = frozenset({"images", "headers", "clinical_history"})
#: Views that have fields as rows, not as columns.
_BY_ROWS = frozenset({"clinical_issues", "clinical_changes", "completeness"})
#: The modalities of DICOM (PS3.3 C.7.3.1.1.1), so that a query that names one is understood.
_MODALITIES = split_words(
    "AU BMD CR CT CTPROTOCOL DG DOC DX ECG EPS ES FID GM HD IO IVUS KER KO MG MR NM OAM OCT OP OPT OPV OT PR PT PX REG "
    "RESP RF RG RTDOSE RTIMAGE RTPLAN RTRECORD RTSTRUCT SEG SM SMR SR SRF STAIN TG US VA XA XC"
)


def require_group(cover: Cover, name: str) -> None:
    """AccessRefusedError if an agreement does not cover a group; `all` are all groups, not those that it covers."""
    judged = cover_request(cover, Request(frozenset({name})))
    if judged.answer is not Answer.YES:
        raise AccessRefusedError(judged.reasons[0])


def narrow_views(session: Session, cover: Cover) -> None:
    """Create the views of an agreement on the connection of a session; the lake's other views stand on them."""
    shield = "" if session.trusted else _read("shield")
    groups = [] if cover.groups is None else [f"group_name in ({_list(cover.groups)})"]
    modalities, centres, patients, keys = [], [], [], []
    if cover.modalities is not None:
        listed = _list(cover.modalities)
        modalities, keys = [f"Modality in ({listed})"], [_read("keys", modalities=listed)]
    if cover.centres is not None:
        listed = _list(_spell_centres(session.con, cover.centres))
        centres, patients = [f"centre in ({listed})"], [_read("patients", centres=listed)]
    fields = [] if cover.fields is None else [f"column_name in ({_list(list_shown_columns(cover.fields))})"]
    if cover.fields == ():  # no record at all: that there is one, and of which kind, is a fact about the patient
        centres = ["false"]
    for view, conditions in {
        "images": groups + modalities + patients,
        "headers": groups + patients + keys,
        "clinical_history": groups + centres + patients,
        "clinical_issues": groups + centres + patients + fields,
        "completeness": fields,
    }.items():
        if session.has(view):
            _create_view(session.con, view, _find_masked(session, view, cover.fields), conditions, shield)
    for view in public_views.VIEW_ORDER if cover.fields is not None else ():
        # What a view makes of nothing may look like an answer: no admission to intensive care.
        if view not in _BASES and (hidden := list_hidden_columns(view, cover.fields)) and session.has(view):
            there = session.con.sql(f"from {store.ALIAS}.main.{sql_files.identifier(view)} limit 0").columns
            _create_view(session.con, view, [name for name in there if fold_name(name) in hidden], [], "")
    # known_at() reads a view by its full name.
    known_at = macros.fill_macros("macros/known_at.sql")
    session.con.execute(known_at.replace(f"{store.ALIAS}.main.", ""))


def _spell_centres(con: duckdb.DuckDBPyConnection, names: Iterable[str]) -> list[str]:
    """Names of centres as the column `centre` spells them; those without a letter are of no centre."""
    listed = ", ".join(f"fold_centre({sql_files.literal(name)})" for name in names)
    return [name for (name,) in con.execute(f"select unnest([{listed}])").fetchall() if name] or [""]


def _create_view(
    con: duckdb.DuckDBPyConnection, view: str, masked: Iterable[str], conditions: list[str], shield: str
) -> None:
    nulls = [f"case when false then {name} end as {name}" for name in map(sql_files.identifier, masked)]
    con.execute(
        _read(
            "view",
            view=sql_files.identifier(view),
            masked=f"replace ({', '.join(nulls)})" if nulls else "",
            covered=" and ".join(conditions) or "true",
            shield=shield,
        )
    )


def _read(name: str, **values: str) -> str:
    return sql_files.fill(sql_files.read_statements(_SQL)[name], lake=store.ALIAS, **values)


def _list(names: Iterable[str]) -> str:
    """Names as a list of SQL, which is never empty: null equals nothing."""
    return ", ".join(sql_files.literal(name) for name in names) or "null"


def _find_masked(session: Session, view: str, fields: Fields) -> list[str]:
    """The columns of a view in the session's snapshot that are null under an agreement for some fields."""
    if fields is None or view not in ("images", "clinical_history"):
        return []
    there = session.con.sql(f"from {store.ALIAS}.main.{sql_files.identifier(view)} limit 0").columns
    if view == "images":
        return [column for field, column in _FROM_HEADERS.items() if field not in fields and column in there]
    return [name for name in there if name not in list_shown_columns(fields)]


@cache
def list_shown_columns(fields: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of clinical records that an agreement for some fields shows: those, their units, and what is no
    field."""
    shown = {*fields} | _ALWAYS
    known = columns.load_relations()["core.clinical"].columns
    return tuple(
        column.name
        for column in known
        if column.name in shown
        or (column.kind == "unit" and column.name.removesuffix("_unit") in shown)
        or not (column.is_field or column.kind == "unit")
    )


@cache
def list_hidden_columns(view: str, fields: Fields) -> frozenset[str]:
    """The columns of a view that are made of fields that an agreement for some fields does not cover, folded."""
    if fields is None or view in _BY_ROWS:
        return frozenset()
    if view in ("clinical", "clinical_history"):
        shown = list_shown_columns(fields)
        return frozenset(c.name for c in columns.load_relations()[view].columns if c.name not in shown)
    if view == "images":
        return frozenset(column for field, column in _FROM_HEADERS.items() if field not in fields)
    made = view_lineage.trace_columns(view)
    hidden = {
        column
        for column, bases in made.items()
        if any(fold_name(base) in list_hidden_columns(below, fields) for below, base in bases if "." not in below)
    }
    return frozenset(map(fold_name, hidden))


def require_covered(
    session: Session, cover: Cover, query: str, parameters: Mapping[str, object] | None = None
) -> list[str]:
    """Refuse a query that names what the session's agreement does not cover: AccessRefusedError with the reason.

    Returns notes on modalities and centres that it names beside covered ones, whose rows are not in the answer.
    """
    views, named, constants = _take_apart(sandbox.parse_query(session.con, query))
    constants |= {*_list_texts((parameters or {}).values())}
    if "known_at" in views:
        views.add("clinical")
    for view in sorted(views & sandbox.list_public_views()):
        if lacking := sorted(named & list_hidden_columns(view, cover.fields)):
            raise AccessRefusedError(
                f"Agreement {cover.agreement} does not cover the field {lacking[0]} of {view}; it covers "
                f"{', '.join(cover.fields or ()) or 'none'}. Leave it out, or ask for it:  chest access request"
            )
    notes = []
    if cover.modalities is not None:
        asked = {text.upper() for text in constants} & _MODALITIES
        notes += _require_some(cover.agreement, "modality", asked, {*cover.modalities})
    if cover.centres is not None:
        names = session.con.execute(f"select distinct centre from {store.ALIAS}.main.clinical_history").fetchall()
        known = {fold(name): name for (name,) in names if name}
        asked = {known[fold(text)] for text in constants if fold(text) in known}
        notes += _require_some(cover.agreement, "centre", asked, {known.get(fold(c), c) for c in cover.centres})
    return notes


def _require_some(agreement: str, kind: str, asked: set[str], covered: set[str]) -> list[str]:
    """Refuse names of which none is covered; a note on those that are not."""
    others = ", ".join(sorted(asked - covered))
    if not others:
        return []
    if not asked & covered:
        raise AccessRefusedError(
            f"Agreement {agreement} does not cover {kind} {others}; it covers {', '.join(sorted(covered)) or 'none'}."
        )
    return [f"Agreement {agreement} does not cover {kind} {others}: their rows are not in the answer."]


def _take_apart(tree: Any) -> tuple[set[str], set[str], set[str]]:
    """The relations and functions that a parsed query reads, the columns that it names, and its texts."""
    views: set[str] = set()
    named: set[str] = set()
    texts: set[str] = set()
    ahead: list[Any] = [tree]
    while ahead:
        node = ahead.pop()
        if isinstance(node, list):
            ahead.extend(node)
            continue
        if not isinstance(node, dict):
            continue
        ahead.extend(node.values())
        if node.get("type") == "BASE_TABLE":
            views.add(fold_name(node.get("table_name", "")))
        elif node.get("type") == "TABLE_FUNCTION":
            views.add(fold_name(node["function"].get("function_name", "")))
        elif node.get("class") == "COLUMN_REF":
            named |= {fold_name(name) for name in node.get("column_names", ())}
        elif node.get("class") == "CONSTANT":
            texts |= {*_list_texts([node.get("value", {}).get("value")])}
        named |= {fold_name(name) for name in node.get("using_columns", ())}
    return views, named, texts


def _list_texts(values: Iterable[object]) -> Iterable[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | tuple):
            yield from _list_texts(value)
