"""The drawing of sql/README.md: how tables, views and concepts depend on each other, according to the SQL of the views.

`python -m warehouse.docs.view_drawing sql/README.md` regenerates it (make docs); a test keeps it up to date.
"""

from __future__ import annotations

import sys
from pathlib import Path

from warehouse.catalog import columns, public_views, view_lineage
from warehouse.docs.markers import replace_part


def draw_views() -> str:
    """The tables, views and concepts as a Mermaid flowchart: an arrow goes from what is read to the view that reads."""
    tables = [relation.name for relation in columns.load_relations().values() if relation.kind == "table"]
    views = [view for view in public_views.VIEW_ORDER if view not in public_views.CONCEPTS]
    lines = ["flowchart LR"]
    for title, names in (("tables", tables), ("views", views), ("concepts", public_views.CONCEPTS)):
        lines += [f"    subgraph {title}", *(f"        {_render_node(name)}" for name in names), "    end"]
    for view in public_views.VIEW_ORDER:
        lines += [f"    {_to_id(read)} --> {_to_id(view)}" for read in view_lineage.find_relations_read(view)]
    return "\n".join(["```mermaid", *lines, "```"]) + "\n"


def redraw(text: str) -> str:
    """Regenerate the drawing in the page; ValueError if it lacks the markers."""
    return replace_part(text, "drawing", draw_views())


def _render_node(name: str) -> str:
    return f'{_to_id(name)}["{name}"]'


def _to_id(name: str) -> str:
    return name.replace(".", "_")


if __name__ == "__main__":
    _page = Path(sys.argv[1])
    _page.write_text(redraw(_page.read_text(encoding="utf-8")), encoding="utf-8")
