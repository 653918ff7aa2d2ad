"""No value becomes markup: what is built into HTML, SVG or Markdown is escaped, or stands in a short list with reasons.

The same as test_sql_building.py for SQL. What pages show of hostile values is tested with each of them.
"""

from pathlib import Path

import pytest
from markup_building import find_interpolated, find_markup_in_notebook

import warehouse

ROOT = Path(warehouse.__file__).parent.parent
FILES = sorted([*ROOT.glob("warehouse/**/*.py"), *ROOT.glob("pipelines/**/*.py")])
NOTEBOOKS = sorted((ROOT / "warehouse/workbench/notebooks").glob("*.py"))

#: What may become markup without being escaped on the spot, by the reason for it: file and expressions.
ALLOWED: dict[str, dict[str, set[str]]] = {
    "Put together from escaped parts just before": {
        "warehouse/notebook.py": {"body", "head", "rest", "rows"},
        "warehouse/cohorts/table1_formats.py": {"heads", "notes", "render_html_table(table, numeric)"},
        "warehouse/cohorts/attrition_chart.py": {"''.join(body)", "frame", "head", "size", "tip", "words"},
        "warehouse/service/explorer/charts.py": {"''.join(body)", "size", "words"},
    },
    "Constants and numbers of the drawing": {
        "warehouse/cohorts/table1_formats.py": {"_STYLE"},
        "warehouse/cohorts/attrition_chart.py": {
            *("_STYLE", "kind", "self.kind", "self.x + _PAD", "self.y + _PAD + 9 + place * _LINE"),
            *("x1", "x2", "y1", "y2"),
        },
        "warehouse/cohorts/demographics_bars.py": {"BAR - 6", "colour", "how", "y"},
        "warehouse/quality_report/svg.py": {"title"},
        "warehouse/service/explorer/charts.py": {
            *("_FLOOR", "_FLOOR + 17", "_HEIGHT", "_LEFT", "_LEFT - 1", "end", "floor", "floor + 18"),
            *("kind", "mark", "when", "y", "y + 4"),
        },
    },
    "Our own style sheet, and drawings whose texts were escaped as they were drawn": {
        "warehouse/quality_report/html.py": {
            "Markup((_HERE / 'page.css').read_text(encoding='utf-8'))",
            "Markup(svg)",
        },
        "warehouse/service/explorer/pages.py": {"Markup(draw_bar(count, most))"},
    },
    "Markdown for Dagster: cells are escaped, a fence is longer than any in its code, a picture is named by us": {
        "pipelines/metadata.py": {
            "md(f'{fence}sql\\n{escape_controls(sql.strip())}\\n{fence}')",
            "md(format_table(names, rows, _format_cell))",
        },
        "pipelines/plots.py": {
            "md(f'![{name}](data:image/png;base64,{text})' if png else 'too large to be shown here')",
        },
    },
    "No markup: the repr of an object, a named group of a regular expression": {
        "warehouse/catalog/check_rules.py": {"self.name", "self.severity", "self.title"},
        "warehouse/cohorts/answer.py": {"given", "self.definition.grain", "self.definition.name", "self.warehouse"},
        "warehouse/manifests/manifest.py": {
            *("self.folder", "self.name", "self.seal.removeprefix('sha256:')[:12] or 'none'"),
        },
        "warehouse/query/checks.py": {"self.check.name", "self.check.severity"},
        "warehouse/query/patient.py": {"day", "self.patient_id"},
        "warehouse/masking.py": {"MASK", "_NAME"},
        "warehouse/object_store/keys.py": {"_DATE"},
    },
}


def test_everything_that_becomes_markup_is_escaped_or_listed_with_a_reason() -> None:
    found = {
        (str(path.relative_to(ROOT)), expression)
        for path in FILES
        for expression in find_interpolated(path.read_text(encoding="utf-8"))
    }
    listed = {
        (file, expression)
        for reasons in ALLOWED.values()
        for file, expressions in reasons.items()
        for expression in expressions
    }
    assert found - listed == set(), "escape it, or list it with the reason why it cannot be markup"
    assert listed - found == set(), "listed, but no longer there"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_constants_as_markdown_and_all_else_as_plain_text(path: Path) -> None:
    assert [*find_markup_in_notebook(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    "cell",
    [
        'mo.md(f"{row}")',
        "mo.md(text)",
        'mo.md("a" + text)',
        "mo.Html(text)",
        "mo.callout(text)",
        "mo.accordion({text: 1})",
        "mo.iframe(text)",
        "mo.ui.dropdown([1], label=text)",
        "mo.ui.text(**given)",
        "show = mo.md",
        "from marimo import md",
    ],
)
def test_a_cell_that_shows_a_value_as_markup_is_found(cell: str) -> None:
    assert [*find_markup_in_notebook(cell)]


@pytest.mark.parametrize(
    "code",
    ['f"<td>{value}</td>"', 'f"<td>{value:>9}</td>"', "Markup(value)", "dg.MetadataValue.md(value)", "f'<p>{a or b}'"],
)
def test_markup_that_is_filled_with_a_value_is_found(code: str) -> None:
    assert [*find_interpolated(code)]
