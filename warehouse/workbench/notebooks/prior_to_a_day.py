import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="All data prior to a day")


@app.cell
def _():
    import marimo as mo
    import polars as pl

    import warehouse

    return mo, pl, warehouse


@app.cell
def _(mo):
    mo.md("""
    # All data prior to a day

    Everything that was available on or before a day, as it was known then: images, and of each patient the record in
    effect. A later upload changes nothing here.
    """)
    return


@app.cell
def _(mo, warehouse):
    wh = warehouse.open()
    first, last = wh.sql("select min(available_date), max(available_date) from images").fetchall()[0]
    day = mo.ui.date(start=first, stop=last, value=first + (last - first) / 2, label="On or before")
    day
    return day, wh


@app.cell
def _(day, wh):
    then = wh.as_of(day.value)
    then
    return (then,)


@app.cell
def _(then):
    patients = then.patients().pl()
    patients
    return (patients,)


@app.cell
def _(mo):
    mo.md("""
    ## The objects in the bucket

    The key of each object that was there, for those who fetch them themselves: the header and the image of each image,
    and every clinical file.
    """)
    return


@app.cell
def _(pl, then):
    objects = pl.concat(
        [
            then.sql("select source, key, 'header' as kind, available_date from images").pl(),
            then.sql(
                "select source, dcm_key as key, 'dcm' as kind, available_date from images where dcm_key is not null"
            ).pl(),
            then.sql("select source, key, 'clinical' as kind, available_date from clinical_history").pl(),
        ]
    ).sort("key")
    objects
    return (objects,)


@app.cell
def _(mo):
    mo.md("""
    ## As files

    `chest export --as-of DAY -o FOLDER` writes every view as Parquet; here is one of them.
    """)
    return


@app.cell
def _(day, mo, patients):
    target = mo.notebook_dir() / f"patients-{day.value}.parquet"
    patients.write_parquet(target)
    mo.plain_text(f"{target.name} has {patients.height:,} patients.")
    return (target,)


if __name__ == "__main__":
    app.run()
