import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="A tour of the lake")


@app.cell
def _():
    import altair as alt
    import marimo as mo

    import warehouse

    return alt, mo, warehouse


@app.cell
def _(mo):
    mo.md("""
    # A tour of the lake

    What is there, how it is asked, and what the same question answers for an earlier day. Everything here is read-only.
    The lake is that of `CHEST_LAKE`, or `./lake`.
    """)
    return


@app.cell
def _(warehouse):
    wh = warehouse.open()
    wh
    return (wh,)


@app.cell
def _(mo):
    mo.md("""
    ## Patients

    One row per patient. *Positive* patients have a data file, *negative* ones only status files.
    """)
    return


@app.cell
def _(wh):
    patients = wh.sql("""
        select covid_status, count(*) as patients, sum(n_studies) as studies, sum(n_images) as images
        from patients
        group by all
        order by all
    """).pl()
    patients
    return (patients,)


@app.cell
def _(alt, wh):
    months = wh.sql("""
        select date_trunc('month', StudyDate) as month, Modality as modality, count(distinct StudyInstanceUID) as studies
        from images
        where StudyDate is not null
        group by all
    """).pl()
    alt.Chart(months).mark_bar().encode(x="month:T", y="studies:Q", color="modality:N").properties(
        width=640, height=240
    )
    return (months,)


@app.cell
def _(mo):
    mo.md("""
    ## The same question for an earlier day

    `as_of` shows what was known on that day: films that were uploaded later are not there yet, and a patient who
    tested positive later is not positive yet.
    """)
    return


@app.cell
def _(mo, wh):
    first, last = wh.sql("select min(available_date), max(available_date) from images").fetchall()[0]
    day = mo.ui.date(start=first, stop=last, value=first + (last - first) / 2, label="As of")
    day
    return (day,)


@app.cell
def _(day, wh):
    then = (
        wh.as_of(day.value)
        .sql(
            "select covid_status, count(*) as patients, sum(n_images) as images from patients group by all order by all"
        )
        .pl()
    )
    then
    return (then,)


@app.cell
def _(mo):
    mo.md("""
    ## Clinical concepts

    Views that define one idea each: which films show the chest, what a swab shows, who was ventilated.
    `chest describe chest_films` has the columns, and `sql/concepts` the definitions.
    """)
    return


@app.cell
def _(wh):
    films = wh.sql(
        "select projection, view, vendor, count(*) as films from chest_films group by all order by films desc"
    ).pl()
    films
    return (films,)


@app.cell
def _(mo):
    mo.md("""
    ## Any DICOM attribute

    Those without a column are read from the stored header by their keyword.
    """)
    return


@app.cell
def _(wh):
    protocols = wh.sql("""
        select tag(header, 'ProtocolName') as protocol, count(*) as images
        from headers
        group by all
        order by images desc
        limit 10
    """).pl()
    protocols
    return (protocols,)


if __name__ == "__main__":
    app.run()
