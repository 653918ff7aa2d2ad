"""The lake's schema: numbered migrations, columns updated to the column tables, views and their comments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from warehouse.catalog import columns, public_views
from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_first
from warehouse.errors import LakeError
from warehouse.lake.snapshots import find_catalogue
from warehouse.version import __version__

if TYPE_CHECKING:
    import duckdb

    from warehouse.lake.location import Location


Transact = Callable[..., Any]


def list_migrations() -> list[tuple[int, str]]:
    """List the migrations of this version: number and file, in order."""
    return [(int(PurePath(name).name.split("_")[0]), name) for name in sql_files.list_files("schema")]


def read_version(con: duckdb.DuckDBPyConnection) -> int:
    """The number of the last migration applied to the attached lake; 0 for an empty one."""
    import duckdb

    try:
        # Asked at once: a list of tables, in which this one would be looked up, costs ten times as much.
        row = fetch_first(con.execute("select coalesce(max(number), 0) from lake.ops.migrations"))
    except (duckdb.CatalogException, duckdb.BinderException):  # the latter if a file of that name is in this folder
        return 0
    return int(row[0]) if row else 0


def check_version(con: duckdb.DuckDBPyConnection, location: Location) -> int:
    """Return the lake's schema version; LakeError when a newer version of the tool made it."""
    found, known = read_version(con), list_migrations()[-1][0]
    if found > known:
        maker = fetch_first(con.execute("select tool_version from lake.ops.migrations order by number desc limit 1"))
        raise LakeError(
            f"The lake {location.name} was made by a newer version: "
            f"schema {found} (chest {maker[0] if maker else '?'}), "
            f"this is chest {__version__} with schema {known}. Install that version or a later one."
        )
    return found


def upgrade(con: duckdb.DuckDBPyConnection, location: Location, transact: Transact) -> None:
    """Upgrade the attached lake's schema to this version; returns quickly if it is up to date."""
    found = check_version(con, location)
    pending = [(number, name) for number, name in list_migrations() if number > found]
    # Tables have settings only once they are committed (0002 sets those of 0001); the others share a commit.
    for together in ([one for one in pending if one[0] == 1], [one for one in pending if one[0] > 1]):
        if together:
            message = f"migration {', '.join(str(number) for number, _ in together)}"
            transact(con, message, lambda t=together: _migrate(con, t), migration=together[-1][0])
    con.execute("begin")  # one transaction reads the catalogue once
    try:
        missing, unlike = _find_missing_columns(con, location)
        stale = _find_stale_views(con)
    finally:
        con.execute("rollback")
    if missing or unlike or stale:
        transact(
            con,
            "columns and views",
            lambda: _update_schema(con, missing),
            columns=len(missing),
            comments=unlike,
            views=len(stale),
        )


def _migrate(con: duckdb.DuckDBPyConnection, pending: list[tuple[int, str]]) -> None:
    for number, name in pending:
        con.execute(sql_files.fill(sql_files.read(name), lake="lake", **columns.template_values()))
        con.execute(
            "insert into ops.migrations values ($number, $name, now(), $tool)",
            {"number": number, "name": PurePath(name).stem, "tool": __version__},
        )
        if number == 1:
            write_dicom_attributes(con)


def write_dicom_attributes(con: duckdb.DuckDBPyConnection) -> None:
    """Fill core.dicom_attributes, which is empty, from the DICOM dictionary of this version."""
    import pyarrow as pa

    from warehouse.catalog import dicom_dictionary

    names = ("keyword", "tag", "vr", "meaning", "is_retired")
    attributes = pa.table(
        dict(zip(names, map(list, zip(*dicom_dictionary.list_attributes(), strict=True)), strict=True))
    )
    con.register("dicom_attributes_given", attributes)
    con.execute("insert into core.dicom_attributes select * from dicom_attributes_given")
    con.unregister("dicom_attributes_given")


def _find_missing_columns(
    con: duckdb.DuckDBPyConnection, location: Location
) -> tuple[list[tuple[str, columns.Column]], int]:
    """Declared columns the lake does not have yet, and how many others have another comment than declared.

    A column whose type was changed is a user's mistake.
    """
    query = sql_files.fill(
        sql_files.read_statements("store/columns.sql")["comments"], catalogue=find_catalogue(location)
    )
    comments = {(table, name): comment for table, name, comment in con.execute(query).fetchall()}
    missing, unlike = [], 0
    for table in columns.list_tables():
        there = con.sql(f"from {table.name}")
        kinds = dict(zip(there.columns, map(str, there.types), strict=True))
        for column in table.columns:
            kind = kinds.get(column.name)
            if kind is None:
                missing.append((table.name, column))
            elif _normalize_type(kind) != _normalize_type(column.type):
                raise LakeError(
                    f"{table.name}.{column.name} is {kind} in the lake and {column.type} in sql/columns. "
                    "Declare it with its old type, or create a new lake."
                )
            elif comments.get((table.name, column.name)) != column.comment:
                unlike += 1
    return missing, unlike


def _normalize_type(kind: str) -> str:
    return kind.upper().replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")


def _find_stale_views(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Find the views that differ from their present declaration; a view's comment has a digest of its text."""
    rows = con.execute(
        "select view_name, comment from duckdb_views() where database_name = 'lake' and schema_name = 'main'"
    ).fetchall()
    comments = dict(rows)
    return [view for view in public_views.VIEW_ORDER if comments.get(view) != _render_view_comment(view)]


def _render_view_comment(view: str) -> str:
    import hashlib

    digest = hashlib.sha256(public_views.render_view(view).encode()).hexdigest()[:12]
    return f"{columns.load_relations()[view].meaning} [{digest}]"


def _update_schema(con: duckdb.DuckDBPyConnection, missing: list[tuple[str, columns.Column]]) -> None:
    for table, column in missing:
        con.execute(f"alter table {table} add column {sql_files.identifier(column.name)} {column.type}")
    for view in public_views.VIEW_ORDER:
        con.execute(public_views.render_view(view))
        con.execute(f"comment on view {view} is {sql_files.literal(_render_view_comment(view))}")
    for relation in columns.list_tables():
        con.execute(f"comment on table {relation.name} is {sql_files.literal(relation.meaning)}")
        for column in relation.columns:
            name = f"{relation.name}.{sql_files.identifier(column.name)}"
            con.execute(f"comment on column {name} is {sql_files.literal(column.comment)}")
