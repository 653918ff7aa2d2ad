"""Renders a table 1 as CSV, Markdown, LaTeX (booktabs) and HTML; names from outside are escaped for each."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from html import escape

from warehouse.cohorts.table1 import Table1
from warehouse.cohorts.table1_lines import NUMERIC, list_heads, list_notes, list_rows, list_stubs
from warehouse.engine.json_values import write_csv
from warehouse.errors import UsageError
from warehouse.text import escape_controls

_STYLE = """
.table1 { border-collapse: collapse; font: 14px/1.45 Helvetica, Arial, 'DejaVu Sans', sans-serif; color: #1c2733; }
.table1 caption { text-align: left; font-weight: bold; font-size: 16px; padding: 0 0 10px; }
.table1 caption small { display: block; font-weight: normal; color: #55606e; font-size: 13px; }
.table1 th, .table1 td { padding: 2px 14px 2px 0; text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.table1 th:first-child { text-align: left; font-weight: normal; white-space: normal; }
.table1 thead th { border-top: 2px solid #33475b; border-bottom: 1px solid #33475b; vertical-align: bottom;
  font-weight: bold; white-space: normal; max-width: 11em; }
.table1 thead th:first-child, .table1 tr.title th:first-child { font-weight: bold; }
.table1 tr.title th, .table1 tr.title td { padding-top: 8px; }
.table1 tr.level th { padding-left: 18px; }
.table1 tbody tr:last-child > * { border-bottom: 2px solid #33475b; padding-bottom: 6px; }
.table1 tfoot td { text-align: left; white-space: normal; color: #55606e; font-size: 12.5px; padding-top: 6px; }
"""


def render(table: Table1, form: str, numeric: str = "mean") -> str:
    """Render as `md`, `tex`, `html` or `csv`; UsageError for another form or summary."""
    forms = {"md": render_markdown, "tex": render_latex, "html": render_html, "csv": render_csv}
    if form not in forms:
        raise UsageError(f"A table 1 has no form {form!r}. Choose one of {', '.join(forms)}.")
    if numeric not in NUMERIC:
        raise UsageError(f"Numbers are shown as mean or median, not as {numeric!r}.")
    return forms[form](table, numeric)


def render_csv(table: Table1, numeric: str) -> str:
    """Render as CSV for programs: texts as they are, no thousands separators, no notes. Excel gets a workbook."""
    file = io.StringIO()
    write_csv(file, list_rows(table, numeric))
    return file.getvalue()


def render_markdown(table: Table1, numeric: str) -> str:
    """Render as a table of GitHub's Markdown."""
    heads = ["Characteristic", *list_heads(table)]
    lines = [f"**{_to_markdown(table.title)}** ({_to_markdown(table.source)})", ""]
    lines += [_join(map(_to_markdown, heads)), _join(["---", *["---:"] * (len(heads) - 1)])]
    for stub in list_stubs(table, numeric):
        text = _to_markdown(stub.text)
        text = f"&nbsp;&nbsp;&nbsp;{text}" if stub.is_level else f"**{text}**"
        lines.append(_join([text, *map(_to_markdown, stub.cells)]))
    return "\n".join([*lines, "", *(f"{_to_markdown(note)}\n" for note in list_notes(table))])


def _join(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _to_markdown(text: str) -> str:
    shown = re.sub(r"([\\`*_\[\]|~#$!])", r"\\\1", escape_controls(text, keep_lines=False))
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "–": "--",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def _to_latex(text: str) -> str:
    # A bracket after \\ would be read as its argument; braces keep it apart.
    shown = "".join(_LATEX.get(sign, sign) for sign in escape_controls(text, keep_lines=False))
    return f"{{}}{shown}" if shown.startswith(("[", "*")) else shown


def render_latex(table: Table1, numeric: str) -> str:
    """Render as a LaTeX table; it needs the package booktabs."""
    heads = list_heads(table)
    body = [
        " & ".join([r"\quad " * stub.is_level + _to_latex(stub.text), *map(_to_latex, stub.cells)]) + r" \\"
        for stub in list_stubs(table, numeric)
    ]
    return "\n".join(
        [
            "% \\usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_to_latex(table.title)} ({_to_latex(table.source)})}}",
            rf"\begin{{tabular}}{{l{'r' * len(heads)}}}",
            r"\toprule",
            " & ".join(["Characteristic", *map(_to_latex, heads)]) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\par\smallskip\footnotesize",
            *map(_to_latex, list_notes(table)),
            r"\end{table}",
            "",
        ]
    )


def render_html(table: Table1, numeric: str) -> str:
    """Render as a page of its own that loads nothing."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_to_html(table.title)}</title>'
        '<meta name="viewport" content="width=device-width"><style>body { margin: 24px; }</style></head>\n'
        f"<body>{render_html_table(table, numeric)}</body></html>\n"
    )


def render_html_table(table: Table1, numeric: str) -> str:
    """Render as an HTML table with its style, for a page or a notebook."""
    heads = "".join(f'<th scope="col">{_to_html(head)}</th>' for head in ["Characteristic", *list_heads(table)])
    body = [
        f'<tr class="{"level" if stub.is_level else "title"}"><th scope="row">{_to_html(stub.text)}</th>'
        + "".join(f"<td>{_to_html(cell)}</td>" for cell in stub.cells)
        + "</tr>"
        for stub in list_stubs(table, numeric)
    ]
    notes = "<br>".join(map(_to_html, list_notes(table)))
    return (
        f'<style>{_STYLE}</style>\n<table class="table1"><caption>{_to_html(table.title)}'
        f"<small>{_to_html(table.source)}</small></caption>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n"
        + "\n".join(body)
        + f'\n</tbody>\n<tfoot><tr><td colspan="{len(list_heads(table)) + 1}">{notes}</td></tr></tfoot></table>\n'
    )


def _to_html(text: str) -> str:
    return escape(escape_controls(text, keep_lines=False))
