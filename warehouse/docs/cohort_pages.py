"""The pages of the shipped cohorts, docs/cohorts/NAME.md, made from their files.

`python -m warehouse.docs.cohort_pages docs/cohorts` regenerates them (make docs); a test keeps them up to date.
"""

from __future__ import annotations

import sys
from pathlib import Path

from warehouse.cohorts.definition import Definition
from warehouse.cohorts.parsing import list_shipped, load
from warehouse.docs.markdown import format_table
from warehouse.filesystem import files


def render_page(definition: Definition) -> str:
    """The text of a cohort's page."""
    parts = [
        f"# {definition.title}",
        f"Made by `make docs` from `{definition.path}`; do not edit this page. "
        "How to write one: [cohorts](../cohorts.md).",
        f"**{definition.question}**",
        f"    chest cohort run {definition.name}",
        f"A row is a {definition.grain} (`{definition.grain_column}`).",
        f"## Definition\n\n{definition.definition}",
        f"## Limits\n\n{definition.limits}",
    ]
    if definition.params:
        rows = [
            (f"`{p.name}`", p.type, f"`{p.default}`" if p.default else "must be given", p.meaning)
            for p in definition.params
        ]
        parts.append(f"## Parameters\n\n{format_table(('parameter', 'type', 'default', 'meaning'), rows)}")
    if definition.labels:
        labels = [(f"`{name}`", meaning) for name, meaning in definition.labels.items()]
        parts.append(f"## Labels\n\n{format_table(('label', 'meaning'), labels)}")
    steps = [(f"`{s.name}`", ", ".join(f"`{name}`" for name in s.reads), s.meaning) for s in definition.steps]
    parts.append(f"## Steps\n\n{format_table(('step', 'reads', 'meaning'), steps)}")
    lines = definition.sql.splitlines()
    first = next(at for at, line in enumerate(lines) if line.strip() and not line.startswith("--"))
    sql = "\n".join(lines[first:])
    parts.append(f"## SQL\n\n```sql\n{sql}\n```")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    files.make_folder(folder)
    for name in list_shipped():
        with files.write_text_atomically(folder / f"{name}.md") as file:
            file.write(render_page(load(name)))
