"""The bar charts of the quality report: studies by month, patients by centre."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from warehouse.quality_report import svg
from warehouse.quality_report.model import STATUSES, Patients, Studies

if TYPE_CHECKING:
    import altair as alt

# Okabe and Ito's colours, which colour-blind people can distinguish (jfly.uni-koeln.de/color).
_STATUS = {"positive": "#d55e00", "negative": "#0072b2", "none": "#999999"}
_MODALITIES = {"CR": "#0072b2", "DX": "#56b4e9", "CT": "#d55e00", "MR": "#009e73"}
_OTHER_MODALITY = "#8c8c8c"
#: The most months that the chart of studies shows; a study of 1990 must not squeeze all others.
_MONTHS = 48
_WIDTH, _HEIGHT = 880, 64


def find_shown_months(counts: list[Studies]) -> tuple[date, date] | None:
    """The first and last month of the chart: the span with the most studies, trimmed to months with data."""
    months: dict[int, int] = {}
    for count in counts:
        if count.month:
            place = 12 * count.month.year + count.month.month - 1
            months[place] = months.get(place, 0) + count.n_studies
    if not months:
        return None
    first = max(sorted(months), key=lambda m: sum(n for other, n in months.items() if m <= other < m + _MONTHS))
    last = max(month for month in months if month < first + _MONTHS)
    return date(first // 12, first % 12 + 1, 1), date(last // 12, last % 12 + 1, 1)


def _next_month(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def _count_months(span: tuple[date, date]) -> int:
    return 12 * (span[1].year - span[0].year) + span[1].month - span[0].month


def draw_studies(counts: list[Studies], totals: dict[str, int], base: int = 0) -> str:
    """Chart studies by month, a row per modality with its own scale, so that rare ones (MR) stay visible.

    Rounded to a base, numbers are of patients.
    """
    import altair as alt

    span = find_shown_months(counts)
    if not span:
        return ""
    known = [c for c in counts if c.month and span[0] <= c.month <= span[1]]
    order = sorted({c.modality for c in known}, key=lambda name: (-totals[name], name))
    rows = [
        _draw_modality([c for c in known if c.modality == name], span, totals[name], is_last=name == order[-1])
        for name in order
    ]
    counted = "Patients with studies," if base > 1 else "Studies"
    return svg.render_svg("studies", alt.vconcat(*rows, spacing=14), f"{counted} by month and modality")


def _draw_modality(counts: list[Studies], span: tuple[date, date], total: int, *, is_last: bool) -> alt.Chart:
    """Chart one modality; the last one has the shared axis."""
    import altair as alt

    name = counts[0].modality
    values = [
        {
            "month": f"{c.month:%Y-%m-%d}",
            "n": c.n_studies,
            "tooltip": f"{name}, {c.month:%Y-%m}: {c.n_studies:,}",
        }
        for c in counts
    ]
    top = max(c.n_studies for c in counts)
    y = alt.Y(
        "n:Q",
        scale=alt.Scale(domain=[0, top], nice=False),
        axis=alt.Axis(
            title=[name, f"{total:,}"],
            titleAngle=0,
            titleAlign="right",
            titleAnchor="middle",
            titleX=-48,
            titleY=26,
            titleFontSize=12,
            titleColor=svg.INK,
            values=[0, top],
            format=",d",
        ),
    )
    bars: alt.Chart = (
        svg.build_chart(values, width=_WIDTH, height=_HEIGHT)
        .mark_bar(color=_MODALITIES.get(name, _OTHER_MODALITY))
        .encode(x=_month_axis(span, is_labelled=is_last), y=y, description="tooltip:N")
    )
    return bars


def _month_axis(span: tuple[date, date], *, is_labelled: bool) -> alt.X:
    """The axis from the first to the last month, with at most a dozen ticks."""
    import altair as alt

    domain = [f"{span[0]:%Y-%m-%d}", f"{_next_month(span[1]):%Y-%m-%d}"]
    return alt.X(
        "utcyearmonth(month):T",
        scale=alt.Scale(type="utc", domain=domain),
        axis=alt.Axis(
            title=None,
            labels=is_labelled,
            format="%b %Y",
            tickCount={"interval": "month", "step": 1 + _count_months(span) // 12},
            labelAngle=0,
            labelOverlap=True,
            labelFlush=False,
            labelBound=True,
            grid=False,
            domain=True,
            domainColor=svg.LINE,
        ),
    )


def draw_patients(counts: list[Patients], totals: dict[str, int]) -> str:
    """Chart patients by centre and status, largest centre first."""
    import altair as alt

    if not counts:
        return ""
    label = svg.shorten_names(totals)
    y = alt.Y(
        "centre:N",
        scale=alt.Scale(domain=[*dict.fromkeys(label[count.centre] for count in counts)]),
        axis=alt.Axis(title=None, labelLimit=320),
    )
    bars = _status_bars(counts, label, y, top=max(totals.values()))
    texts = [{"centre": label[name], "n": n, "total": f"{n:,}"} for name, n in totals.items()]
    text = (
        svg.build_chart(texts)
        .mark_text(align="left", dx=5, fontSize=11, color=svg.QUIET, aria=False)
        .encode(y=y, x="n:Q", text="total:N")
    )
    chart = (bars + text).properties(width=700, height=alt.Step(19))
    return svg.render_svg("patients", chart, "Patients by centre and COVID-19 status")


def _status_bars(counts: list[Patients], label: dict[str, str], y: alt.Y, *, top: int) -> alt.Chart:
    """Chart a stacked bar of statuses for each centre."""
    import altair as alt

    values: list[dict[str, Any]] = [
        {
            "centre": label[c.centre],
            "status": c.status,
            "place": STATUSES.index(c.status),
            "n": c.n_patients,
            "tooltip": f"{c.centre}{'' if c.status == 'none' else f', {c.status}'}: {c.n_patients:,}",
        }
        for c in counts
    ]
    present = [status for status in STATUSES if any(c.status == status for c in counts)]
    bars: alt.Chart = (
        svg.build_chart(values)
        .mark_bar(height=alt.RelativeBandSize(0.72))
        .encode(
            y=y,
            x=alt.X(
                "n:Q",
                scale=alt.Scale(domainMin=0),
                axis=alt.Axis(
                    title="patients",
                    orient="top",
                    values=_choose_ticks(top),
                    format=",d",
                ),
            ),
            color=alt.Color(
                "status:N",
                scale=alt.Scale(domain=present, range=[_STATUS[status] for status in present]),
                legend=alt.Legend(
                    title=None, orient="top", labelExpr="datum.label == 'none' ? 'no clinical record' : datum.label"
                ),
            ),
            order=alt.Order("place:O"),
            description="tooltip:N",
        )
    )
    return bars


def _choose_ticks(top: int) -> list[int]:
    """At most ten ticks, at multiples of 5 and its doubles, or at all integers up to 4."""
    step = 5 if top >= 5 else 1
    while top > 10 * step:
        step *= 2
    return [*range(0, top + 1, step)]
