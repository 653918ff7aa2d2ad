import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Quality")


@app.cell
def _():
    import altair as alt
    import marimo as mo
    import polars as pl

    import warehouse

    return alt, mo, pl, warehouse


@app.cell
def _(mo):
    mo.md("""
    # Quality

    What is wrong with the data, what was repaired, and how complete the clinical fields are.
    """)
    return


@app.cell
def _(pl, warehouse):
    wh = warehouse.open()
    results = wh.check()
    checks = pl.DataFrame(
        {
            "check": [result.check.name for result in results],
            "severity": [str(result.check.severity) for result in results],
            "rows": [result.rows.num_rows for result in results],
            "title": [result.check.title for result in results],
        }
    )
    checks
    return checks, results, wh


@app.cell
def _(mo):
    mo.md("""
    ## The rows that fail a check
    """)
    return


@app.cell
def _(mo, results):
    failing = {result.check.name: result for result in results if result.rows.num_rows}
    check = mo.ui.dropdown([*failing], value=next(iter(failing), None), label="Check")
    check
    return check, failing


@app.cell
def _(check, failing, mo, pl):
    mo.stop(check.value is None, mo.md("No check found anything."))
    rows = pl.from_arrow(failing[check.value].rows)
    rows
    return (rows,)


@app.cell
def _(mo):
    mo.md("""
    ## Repairs

    Every clinical value that was nulled, repaired, changed or flagged, with its rule.
    """)
    return


@app.cell
def _(wh):
    issues = wh.sql("select rule, effect, count(*) as n from clinical_issues group by all order by n desc").pl()
    issues
    return (issues,)


@app.cell
def _(mo):
    mo.md("""
    ## Completeness
    """)
    return


@app.cell
def _(alt, wh):
    filled = wh.sql("""
        select column_name, centre, n_filled / n_records as share
        from completeness
        where n_records > 0
    """).pl()
    alt.Chart(filled).mark_rect().encode(
        x="centre:N", y="column_name:N", color=alt.Color("share:Q", scale=alt.Scale(domain=[0, 1]))
    )
    return (filled,)


@app.cell
def _(mo):
    mo.md("""
    ## The report

    One page of counts, to mail and print: rounded, so that it discloses no small number.
    """)
    return


@app.cell
def _(mo, wh):
    page = mo.notebook_dir() / "report.html"
    wh.report(page)
    mo.plain_text(f"Written to {page.name}.")
    return (page,)


if __name__ == "__main__":
    app.run()
