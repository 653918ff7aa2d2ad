import marimo

__generated_with = "0.25.2"
app = marimo.App(width="full", app_title="Images in a grid")


@app.cell
def _():
    import io

    import marimo as mo
    import numpy as np
    from PIL import Image

    import warehouse

    return Image, io, mo, np, warehouse


@app.cell
def _(mo):
    mo.md("""
    # Images in a grid

    Chest films of a status and a projection, fetched from the bucket and checked against their etags.
    """)
    return


@app.cell
def _(mo):
    status = mo.ui.dropdown(["positive", "negative"], value="positive", label="Status")
    projection = mo.ui.dropdown(["frontal", "lateral", "other", "unknown"], value="frontal", label="Projection")
    most = mo.ui.slider(4, 48, step=4, value=12, label="Films", show_value=True)
    mo.hstack([status, projection, most], justify="start")
    return most, projection, status


@app.cell
def _(most, projection, status, warehouse):
    wh = warehouse.open()
    films = wh.sql(
        """
        select films.patient_id, films.SOPInstanceUID, films.StudyDate, films.view, images.dcm_key, images.source
        from chest_films as films
        inner join patients using (patient_id)
        inner join images on films.key = images.key and films.source = images.source
        where patients.covid_status = $status and films.projection = $projection and images.dcm_key is not null
        order by md5(films.SOPInstanceUID)
        limit $most
        """,
        status=status.value,
        projection=projection.value,
        most=most.value,
    ).pl()
    films
    return films, wh


@app.cell
def _(mo):
    mo.md("""
    The manifest of their patients, and the films of it: `download` resumes where it stopped.
    """)
    return


@app.cell
def _(films, mo, warehouse, wh):
    import hashlib

    patients = sorted(films["patient_id"].unique())
    mo.stop(not patients, mo.md("There is no such film."))
    folder = mo.notebook_dir() / "manifests" / hashlib.sha256("\n".join(patients).encode()).hexdigest()[:12]
    if folder.exists():
        manifest = warehouse.manifest(folder)
    else:
        manifest = wh.cohort("prior_data", patients=patients).export(folder, objects=("dcm",))
    data = mo.notebook_dir() / "data"
    downloaded = warehouse.download(manifest, data)
    downloaded
    return data, downloaded


@app.cell
def _(Image, io, np):
    def draw(path) -> bytes:
        """A film as PNG, between its 1st and 99th percentile."""
        import warehouse

        pixels = np.asarray(warehouse.read_image(path), dtype=float)
        low, high = np.percentile(pixels, (1, 99))
        grey = np.clip((pixels - low) / max(high - low, 1e-9) * 255, 0, 255).astype("uint8")
        picture = Image.fromarray(grey)
        picture.thumbnail((320, 320))
        made = io.BytesIO()
        picture.save(made, "PNG")
        return made.getvalue()

    return (draw,)


@app.cell
def _(data, downloaded, draw, films, mo):
    assert downloaded is not None  # it is there before it is drawn
    pictures = [
        mo.vstack(
            [
                mo.image(draw(data / row["dcm_key"]), width=220, rounded=True),
                mo.plain_text(f"{row['patient_id']}, {row['StudyDate']}"),
            ]
        )
        for row in films.iter_rows(named=True)
    ]
    mo.hstack(pictures, wrap=True, justify="start")
    return (pictures,)


if __name__ == "__main__":
    app.run()
