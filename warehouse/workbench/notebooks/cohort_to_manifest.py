import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="From a cohort to a manifest")


@app.cell
def _():
    import marimo as mo

    import warehouse

    return mo, warehouse


@app.cell
def _(mo):
    mo.md("""
    # From a cohort to a manifest

    A cohort is a question in one SQL file; a manifest is its answer, object by object, which anybody can verify and
    reproduce. Put the file of your own cohort (the explorer makes one) beside this notebook and name it here.
    """)
    return


@app.cell
def _(mo):
    name = mo.ui.text(value="covid_risk", label="Cohort (a name, or a file ending in .sql)", full_width=True)
    name
    return (name,)


@app.cell
def _(name, warehouse):
    wh = warehouse.open()
    cohort = wh.cohort(name.value)
    cohort
    return cohort, wh


@app.cell
def _(mo):
    mo.md("""
    ## Who is left after each step
    """)
    return


@app.cell
def _(cohort, mo):
    import base64

    from warehouse.cohorts.attrition_chart import render_svg

    steps = cohort.steps(suppress=5)
    chart = render_svg(cohort.definition.title, "Patients, rounded to 5", steps)
    mo.image("data:image/svg+xml;base64," + base64.b64encode(chart.encode()).decode(), alt="Patients after each step")
    return (steps,)


@app.cell
def _(cohort):
    rows = cohort.relation().pl()
    rows
    return (rows,)


@app.cell
def _(mo):
    mo.md("""
    ## The manifest

    It is written beside this notebook once, and opened when the notebook runs again.
    """)
    return


@app.cell
def _(cohort, mo, warehouse):
    folder = mo.notebook_dir() / "manifests" / cohort.definition.name
    manifest = warehouse.manifest(folder) if folder.exists() else cohort.export(folder)
    manifest
    return folder, manifest


@app.cell
def _(manifest):
    files = manifest.polars()
    files
    return (files,)


@app.cell
def _(mo):
    mo.md("""
    Download it, verify it, and train on it with `manifest.to_torch("data")`:
    """)
    return


@app.cell
def _(folder, mo):
    mo.plain_text(f"chest manifest download {folder.name} -o data\nchest manifest verify {folder.name}")
    return


if __name__ == "__main__":
    app.run()
