import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="All data of one patient")


@app.cell
def _():
    import marimo as mo

    import warehouse

    return mo, warehouse


@app.cell
def _(mo):
    mo.md("""
    # All data of one patient

    What happened, what was sent, since when it is known, and what changed.
    """)
    return


@app.cell
def _(mo, warehouse):
    wh = warehouse.open()
    # First those whose record changed, because there is most to see.
    known = [
        name
        for (name,) in wh.sql("""
            select patient_id
            from patients
            left join (select patient_id, count(*) as changes from clinical_changes group by all) using (patient_id)
            order by changes desc nulls last, patient_id
            limit 5000
        """).fetchall()
    ]
    choice = mo.ui.dropdown(known, value=known[0], searchable=True, label="Patient")
    choice
    return choice, wh


@app.cell
def _(choice, wh):
    patient = wh.patient(choice.value)
    patient
    return (patient,)


@app.cell
def _(patient):
    timeline = patient.timeline().pl()
    timeline
    return (timeline,)


@app.cell
def _(mo):
    mo.md("""
    ## What changed

    Each clinical file supersedes the earlier ones: here is every field that it changed.
    """)
    return


@app.cell
def _(patient):
    changes = patient.clinical_changes().pl().select("available_date", "field", "old_value", "new_value")
    changes
    return (changes,)


@app.cell
def _(mo):
    mo.md("""
    ## The record in effect as of a day
    """)
    return


@app.cell
def _(mo, patient):
    days = sorted({str(day) for (day,) in patient.clinical_history().select("available_date").fetchall()})
    mo.stop(not days, mo.md("There is no clinical record of this patient."))
    day = mo.ui.slider(steps=[*range(len(days))], value=len(days) - 1, label="Record", show_value=False)
    day
    return day, days


@app.cell
def _(day, days, mo, patient):
    record = patient.known_at(days[day.value]).pl()
    facts = {name: str(value) for name, value in record.row(0, named=True).items() if value is not None}
    mo.vstack(
        [mo.plain_text(f"As of {days[day.value]}"), mo.ui.table([{"field": k, "value": v} for k, v in facts.items()])]
    )
    return (record,)


@app.cell
def _(mo):
    mo.md("""
    ## Images
    """)
    return


@app.cell
def _(patient):
    images = (
        patient.images()
        .pl()
        .select("StudyDate", "Modality", "SeriesDescription", "InstanceNumber", "key", "dcm_key", "available_date")
    )
    images
    return (images,)


if __name__ == "__main__":
    app.run()
