"""The data dictionary as plain data: the views that can be queried, and their columns. No lake is needed."""

from __future__ import annotations

from typing import Any

from warehouse.catalog import columns
from warehouse.engine.names import suggest_nearest
from warehouse.errors import NotFoundError


def list_tables() -> list[dict[str, Any]]:
    """The views: name, meaning, and the number of columns."""
    return [
        {"name": view.name, "meaning": view.meaning, "n_columns": len(view.columns)} for view in columns.list_views()
    ]


def describe_table(name: str) -> dict[str, Any]:
    """A view with its columns; NotFoundError with the nearest name if there is none of this name."""
    known = {view.name: view for view in columns.list_views()}
    if name not in known:
        near = suggest_nearest(name, known)
        raise NotFoundError(f"There is no view {name!r}.{near} The views are {', '.join(known)}.")
    view = known[name]
    return {
        "name": view.name,
        "meaning": view.meaning,
        "columns": [
            {
                "name": column.name,
                "type": column.type,
                "unit": column.unit,
                "meaning": column.meaning,
                "source": column.source,
                "section": column.section,
                "limits": column.limits,
                "categories": column.categories,
            }
            for column in view.columns
        ],
    }
