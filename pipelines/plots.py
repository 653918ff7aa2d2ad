"""Pictures in Dagster's metadata: charts of the quality report as markdown images that carry their own bytes."""

import base64

import dagster as dg

from warehouse.quality_report import bar_charts, heat_maps, model
from warehouse.quality_report.png import render_png


def render_plots(found: model.Figures) -> dict[str, dg.MetadataValue]:
    """Studies per month, and how complete each field is by centre; counts alone, nobody's values."""
    drawn = {
        "studies per month": bar_charts.draw_studies(found.studies, found.modalities, found.base),
        "completeness": heat_maps.draw_completeness(found.completeness),
    }
    return {name: _render_image(name, render_png(svg)) for name, svg in drawn.items() if svg}


def _render_image(name: str, png: bytes) -> dg.MetadataValue:
    text = base64.b64encode(png).decode()
    return dg.MetadataValue.md(f"![{name}](data:image/png;base64,{text})" if png else "too large to be shown here")
