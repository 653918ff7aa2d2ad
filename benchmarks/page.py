"""Makes docs/performance.md, its plots, and the calculation in docs/scale.md from the results of the benchmarks.

    python -m benchmarks.page        (make performance, make docs)

The words are those of performance.md.in, a template whose tables and numbers come from benchmarks/results/*.json.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from benchmarks import costs, tables
from benchmarks.fits import build_curve
from benchmarks.growth import MEASURES, REFRESHES, STORES
from benchmarks.plots import draw_plots
from benchmarks.results import FOLDER, Part, Row, load_part
from warehouse.docs.markers import replace_part

_TEMPLATE = Path(__file__).with_name("performance.md.in")
_DOCS = Path(__file__).parents[1] / "docs"
#: The rows that are aimed at: part and name.
_AIMS = (
    ("refreshes", "refresh from a folder"),
    ("refreshes", "refresh from S3, 100,000 objects"),
    ("refreshes", "refresh with nothing new"),
    ("refreshes", "lake"),
    ("questions", '`chest sql "select 1"`, cold'),
    ("questions", "cohort `ventilation`"),
    ("questions", "cohort `longitudinal_ct`"),
)
#: The least objects of a bucket whose memory is compared with that of one a tenth as large.
_LEAST_FOR_MEMORY = 1_000_000


class Page:
    """What the template asks for; each method returns Markdown."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder

    def load(self, part: str) -> Part:
        """The results of a part."""
        return load_part(part, self._folder)

    def aims(self) -> str:
        """What is aimed at, in one table."""
        found = Part("aims")
        for name, wanted in _AIMS:
            part = self.load(name)
            row = part.find(wanted)
            if row:
                found.rows.append(row)
                found.runs[row.run] = part.runs[row.run]
        memory = self._compare_memory()
        if memory:
            found.rows.append(memory)
            found.runs[memory.run] = self.load("growth").runs[memory.run]
        return tables.render_rows(found, found.rows)

    def _compare_memory(self) -> Row | None:
        """The memory of a first refresh of the largest bucket, beside that of one a tenth as large."""
        part = self.load("growth")
        rows = {row.at["objects"]: row for row in part.rows if _is_at(row, "peak memory", "process", "first")}
        # In smaller ones the buffers are not full.
        if not rows or max(rows) < _LEAST_FOR_MEMORY or (largest := rows[max(rows)]).at["objects"] // 10 not in rows:
            return None
        size = largest.at["objects"]
        smaller = rows[size // 10]
        name = f"peak memory of a refresh, {size:,} objects"
        return Row(
            name, "MiB", largest.values, f"{size // 10:,} objects", smaller.values, "ratio <= 1.2", {}, "", largest.run
        )

    def rows(self, part: str, *, only: str = "", without: str = "") -> str:
        """The rows of a part whose names begin with one of some texts, separated by `|`, or with none of them."""
        found = self.load(part)
        rows = [row for row in found.rows if not only or row.name.startswith(tuple(only.split("|")))]
        rows = [row for row in rows if not without or not row.name.startswith(tuple(without.split("|")))]
        return tables.render_rows(found, rows) if rows else "Not measured yet."

    def pivot(self, part: str, dimensions: list[str], measures: list[str]) -> str:
        """The rows of a part as a table with a column for each measure."""
        found = self.load(part)
        return tables.render_pivot(found, dimensions, measures, found.rows) if found.rows else "Not measured yet."

    def growth(self, store: str) -> str:
        """All that was measured of a store, by refresh and size."""
        found = self.load("growth")
        rows = [row for row in found.rows if row.at["store"] == store]
        rows.sort(key=lambda row: (list(REFRESHES).index(row.at["refresh"]), row.at["objects"]))
        measures = [name for name in MEASURES if any(row.name == name for row in rows)]
        return tables.render_pivot(found, ["refresh", "objects"], measures, rows) if rows else "Not measured yet."

    def exponents(self) -> str:
        """The growth exponents, over all sizes and between the two largest."""
        part = self.load("growth")
        table = [("refresh", "store", "measure", "sizes", "exponent, all sizes", "exponent, two largest")]
        for store in STORES:
            for refresh in REFRESHES:
                for measure in ("seconds", "CPU seconds", "peak memory", "LIST requests", "GET requests", "lake"):
                    curve = build_curve(part, measure, store=store, refresh=refresh)
                    if curve.exponent is None or curve.last_exponent is None:
                        continue
                    sizes = f"{curve.points[0][0]:,} to {curve.points[-1][0]:,}"
                    shown = (f"{curve.exponent:.2f}", f"{curve.last_exponent:.2f}")
                    table.append((refresh, STORES[store], measure, sizes, *shown))
        return tables.render_table(table) if len(table) > 1 else "Not measured yet."

    def extrapolated(self) -> str:
        """A hundred million objects, by the exponents."""
        return costs.render_extrapolation(self.load("growth"))

    def dollars(self) -> str:
        """What the requests cost."""
        return costs.render_dollars(self.load("growth"))

    def render(self) -> str:
        """The page."""
        environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True)
        template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
        names: dict[str, Any] = {name: getattr(self, name) for name in dir(self) if not name.startswith("_")}
        plots = draw_plots(self.load("growth"))
        return template.render(**names, plots=sorted(plots))


def _is_at(row: Row, name: str, store: str, refresh: str) -> bool:
    return (row.name, row.at["store"], row.at["refresh"]) == (name, store, refresh)


def render_files(results: Path = FOLDER, docs: Path = _DOCS) -> dict[Path, str]:
    """The files that are made of the results, with their contents."""
    page = Page(results)
    scale = docs / "scale.md"
    night = costs.render_night(page.load("growth"), page.load("workers"), page.load("driver"))
    return {
        docs / "performance.md": page.render(),
        scale: replace_part(scale.read_text(encoding="utf-8"), "a night", night),
        **{docs / "images" / name: drawn for name, drawn in draw_plots(page.load("growth")).items()},
    }


def main() -> None:
    """Write the files."""
    for path, text in render_files().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
