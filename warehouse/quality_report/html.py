"""Renders the page of the quality report (page.html, page.css) from figures, with charts and tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.disclosure_control import format_rounded
from warehouse.quality_report import bar_charts, heat_maps
from warehouse.quality_report.model import STATUSES, Figures, Filled, Repairs, order_by_name

if TYPE_CHECKING:
    import jinja2

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Grid:
    """A cross table: the text of each (row, column); `total` names the row or column of totals."""

    rows: list[str]
    columns: list[str]
    cells: dict[tuple[str, str], str]
    total: str = ""


def render_page(figures: Figures) -> str:
    """Render the page as one HTML text that loads and runs nothing. The template escapes all data."""
    from markupsafe import Markup

    dates, units = ([rule.rule for rule in figures.rules if about in rule.rule] for about in ("date", "unit"))
    drawn = {
        "studies": bar_charts.draw_studies(figures.studies, figures.modalities, figures.base),
        "patients": bar_charts.draw_patients(figures.patients, figures.centres),
        "completeness": heat_maps.draw_completeness(figures.completeness),
        "repairs": heat_maps.draw_repairs(figures.repairs, dates, units, figures.base),
    }
    return _load_template().render(
        css=Markup((_HERE / "page.css").read_text(encoding="utf-8")),  # noqa: S704, our own file
        charts={name: Markup(svg) for name, svg in drawn.items()},  # noqa: S704, vl-convert escapes its content
        figures=figures,
        studies=_build_studies(figures),
        span=bar_charts.find_shown_months(figures.studies),
        patients=_build_patients(figures),
        completeness=_build_completeness(figures.completeness),
        repairs=_build_repairs(figures.repairs, [*dates, *units]),
        failed=[checked for checked in figures.checks if checked.is_failed],
        warned=[checked for checked in figures.checks if checked.has_rows and not checked.is_failed],
    )


@cache
def _load_template() -> jinja2.Template:
    """The page's template, compiled once: that takes longer than rendering it."""
    import jinja2

    @jinja2.pass_context
    def name_count(context: jinja2.runtime.Context, count: int) -> str:
        return format_rounded(count, context["figures"].base)

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = _format_count
    environment.filters["named"] = name_count
    return environment.get_template("page.html")


def _format_count(count: int) -> str:
    return f"{count:,}"


def _build_studies(figures: Figures) -> Grid:
    months = sorted({f"{count.month:%Y-%m}" for count in figures.studies if count.month})
    undated = ["no date"] if any(count.month is None for count in figures.studies) else []
    return Grid(
        [*months, *undated, "all"],
        sorted(figures.modalities),
        {
            (f"{count.month:%Y-%m}" if count.month else "no date", count.modality): _format_count(count.n_studies)
            for count in figures.studies
        }
        | {("all", modality): _format_count(n) for modality, n in figures.modalities.items()},
        "all",
    )


def _build_patients(figures: Figures) -> Grid:
    present = {count.status for count in figures.patients}
    return Grid(
        [*dict.fromkeys(count.centre for count in figures.patients)],
        [*(status for status in STATUSES if status in present), "all"],
        {(count.centre, count.status): _format_count(count.n_patients) for count in figures.patients}
        | {(centre, "all"): _format_count(n) for centre, n in figures.centres.items()},
        "all",
    )


def _build_completeness(cells: list[Filled]) -> Grid:
    return Grid(
        [*dict.fromkeys(cell.column for cell in cells)],
        sorted({cell.centre for cell in cells}, key=order_by_name),
        {(cell.column, cell.centre): f"{cell.n_filled:,}/{cell.n_records:,}" for cell in cells},
    )


def _build_repairs(repairs: list[Repairs], rules: list[str]) -> Grid:
    counts = [count for count in repairs if count.rule in rules]
    return Grid(
        sorted({count.centre for count in counts}, key=order_by_name),
        rules,
        {(count.centre, count.rule): _format_count(count.n_values) for count in counts},
    )
