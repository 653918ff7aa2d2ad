"""Fills the page of the quality report (page.html, page.css) with figures, the charts of them and their tables."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from warehouse.quality import charts, heat_maps
from warehouse.quality.figures import Figures, Filled, Repairs, centre_order

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of two dimensions: what stands at (row, column), where there is something."""

    rows: list[str]
    columns: list[str]
    cells: dict[tuple[str, str], str]


def render(figures: Figures) -> str:
    """The page: one HTML text that loads and runs nothing. All that comes from data is escaped by the template."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = "{:,}".format
    dates, units = ([rule for rule in _rules(figures.repairs) if about in rule] for about in ("date", "unit"))
    drawn = {
        "studies": charts.studies(figures.studies),
        "patients": charts.patients(figures.patients),
        "completeness": heat_maps.completeness(figures.completeness),
        "repairs": heat_maps.repairs(figures.repairs, dates, units),
    }
    return environment.get_template("page.html").render(
        css=Markup((_HERE / "page.css").read_text(encoding="utf-8")),  # noqa: S704, our own file
        charts={name: Markup(svg) for name, svg in drawn.items()},  # noqa: S704, vl-convert escapes what is in it
        figures=figures,
        studies=_studies(figures),
        span=charts.shown_months(figures.studies),
        patients=_patients(figures),
        completeness=_completeness(figures.completeness),
        repairs=_repairs(figures.repairs, [*dates, *units]),
        failed=[checked for checked in figures.checks if checked.is_failed],
        warned=[checked for checked in figures.checks if checked.n_rows and not checked.is_failed],
    )


def _rules(repairs: Iterable[Repairs]) -> list[str]:
    totals: dict[str, int] = {}
    for count in repairs:
        totals[count.rule] = totals.get(count.rule, 0) + count.n_values
    return sorted(totals, key=lambda rule: (-totals[rule], rule))


def _studies(figures: Figures) -> Grid:
    months = sorted({f"{count.month:%Y-%m}" for count in figures.studies if count.month})
    undated = ["no date"] if any(count.month is None for count in figures.studies) else []
    return Grid(
        months + undated,
        sorted({count.modality for count in figures.studies}),
        {
            (f"{count.month:%Y-%m}" if count.month else "no date", count.modality): f"{count.n_studies:,}"
            for count in figures.studies
        },
    )


def _patients(figures: Figures) -> Grid:
    present = {count.status for count in figures.patients}
    return Grid(
        [*dict.fromkeys(count.centre for count in figures.patients)],
        [status for status in ("positive", "negative", "none") if status in present],
        {(count.centre, count.status): f"{count.n_patients:,}" for count in figures.patients},
    )


def _completeness(cells: Iterable[Filled]) -> Grid:
    cells = list(cells)
    return Grid(
        [*dict.fromkeys(cell.column for cell in cells)],
        sorted({cell.centre for cell in cells}, key=centre_order),
        {(cell.column, cell.centre): f"{cell.n_filled:,}/{cell.n_records:,}" for cell in cells},
    )


def _repairs(repairs: Iterable[Repairs], rules: list[str]) -> Grid:
    counts = [count for count in repairs if count.rule in rules]
    return Grid(
        sorted({count.centre for count in counts}, key=centre_order),
        rules,
        {(count.centre, count.rule): f"{count.n_values:,}" for count in counts},
    )
