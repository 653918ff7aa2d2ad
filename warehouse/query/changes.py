"""What was added, changed or removed between two published snapshots, as a view that queries can use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.catalog import public_views
from warehouse.engine import sql_files
from warehouse.engine.faults import explain_faults
from warehouse.errors import AccessRefusedError, UsageError
from warehouse.lake import snapshots, store

if TYPE_CHECKING:
    from warehouse.query.session import Session

_SQL = "reports/changes_since.sql"
#: Columns that the tables of early lakes lack.
_LATER_COLUMNS = {"images": ("rules", "earlier_dcm"), "clinical": ("rules",)}
_THEN = " at (version => getvariable('since'))"
_NO_DCM = "cast(null as struct(dcm_key varchar, dcm_etag varchar, dcm_available_date date))"


@explain_faults()
def create_changes_view(session: Session, since: int) -> None:
    """Create the temporary view `changes` on a trusted session: what differs from the snapshot `since`.

    UsageError if that is not a published snapshot that the lake still has, or if it is later than the session's.
    """
    if session.cover:
        raise AccessRefusedError(
            f"Agreement {session.cover.agreement} does not cover changes: they are of tables, which have more than its "
            "views."
        )
    if not session.trusted:
        raise UsageError("Changes since a snapshot are not available to untrusted SQL: run your own query.")
    if since > session.snapshot.number:
        raise UsageError(
            f"Snapshot {since} is later than snapshot {session.snapshot.number}, which is read. Give an earlier one."
        )
    con = session.con
    store.find_published(snapshots.list_snapshots(con), since, session.location)
    con.execute(f"set variable since = {int(since)}")
    sql = sql_files.read_statements(_SQL)
    then = {"rules_of_images": "rules", "rules_of_clinical": "rules", "earlier_dcm": "earlier_dcm"}
    now = dict(then)
    for table, names in _LATER_COLUMNS.items():
        older = f"{store.ALIAS}.core.{table}{_THEN}"
        there = con.sql(sql_files.fill(sql["columns"], relation=older)).columns
        for name in names:
            if name not in there:
                hole = f"rules_of_{table}" if name == "rules" else name
                then[hole] = "null" if name == "rules" else _NO_DCM
    con.execute(
        sql_files.fill(
            sql["view"],
            rows_then=_render_rows(then, _THEN),
            rows_now=_render_rows(now),
        )
    )


def _render_rows(names: dict[str, str], version: str = "") -> str:
    rows = sql_files.fill(
        sql_files.read_statements(_SQL)["rows"],
        images=f"{store.ALIAS}.core.images{version}",
        clinical=f"{store.ALIAS}.core.clinical{version}",
        as_of=public_views.AS_OF,
        in_group=public_views.IN_GROUP,
        **names,
    )
    return f"({rows})"
