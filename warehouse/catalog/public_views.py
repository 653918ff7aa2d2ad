"""The public views: their order, the files that define them, and what every one cuts its rows by."""

from __future__ import annotations

from warehouse.catalog import columns
from warehouse.engine import sql_files

#: What every view cuts its rows by; both are session variables (docs/architecture.md, "Point in time").
AS_OF = "coalesce(cast(getvariable('as_of') as date), date '9999-12-31')"
_GROUP = "coalesce(getvariable('group_name'), 'training')"
#: In this form DuckDB compares the column with a constant, so that files of other groups are not read.
IN_GROUP = f"({_GROUP} = 'all' or group_name = {_GROUP})"

#: Concepts, a clinical idea each, which stand on the views above them (sql/concepts).
CONCEPTS = ("image_regions", "chest_films", "chest_ct", "chest_ct_series", "swabs", "admissions")

#: Views stand on each other in this order.
VIEW_ORDER = (
    "images",
    "headers",
    "clinical_history",
    "clinical",
    "clinical_issues",
    "clinical_changes",
    "completeness",
    "studies",
    "series",
    "volume_geometry",
    "patients",
    *CONCEPTS,
)


def find_view_file(view: str) -> str:
    """The file below sql/ that defines a view."""
    return f"{'concepts' if view in CONCEPTS else 'views'}/{view}.sql"


def render_view(view: str) -> str:
    """The CREATE VIEW statement of a view, filled."""
    return sql_files.fill(
        sql_files.read(find_view_file(view)), as_of=AS_OF, in_group=IN_GROUP, **columns.template_values()
    )
