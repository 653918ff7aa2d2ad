"""The picture of docs/architecture.md: the layers of the library, as the contract in pyproject.toml has them.

`python -m warehouse.docs.layer_drawing docs/architecture.md` regenerates it (make docs); a test keeps it up to date.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

from warehouse.docs.markers import replace_part

_PACKAGE = Path(__file__).parent.parent


def draw_layers() -> str:
    """The layers as a list, the highest first: what each room is for, by the first sentence of its docstring.

    For a checkout alone: a wheel has no pyproject.toml.
    """
    project = tomllib.loads((_PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    lines = []
    for number, layer in zip(range(len(layers), 0, -1), layers, strict=True):
        for place, room in enumerate(layer.split(" | ")):
            lines.append(f"{number if not place else '':>2}  {room:<20}{_describe(room)}")
    return "\n".join(["```", *lines, "```"]) + "\n"


def _describe(room: str) -> str:
    """The first line of a room's docstring, up to its first full stop."""
    folder = _PACKAGE / room
    file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].removesuffix(".").partition(". ")[0]


def redraw(text: str) -> str:
    """Regenerate the picture in the page; ValueError if it lacks the markers."""
    return replace_part(text, "layers", draw_layers())


if __name__ == "__main__":
    _page = Path(sys.argv[1])
    _page.write_text(redraw(_page.read_text(encoding="utf-8")), encoding="utf-8")
