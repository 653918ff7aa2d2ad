"""Every public name of the Python interface where agreements are enforced: without one, and under a narrow one.

Each is listed with what it may show; a new one fails here until somebody has decided. Python code runs with the rights
of its user, who may read the files of a lake anyway: what is tried is what the interface itself hands out.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from agreed_lakes import find_last, make_lake, read_log

import warehouse
from warehouse.access import vocabulary
from warehouse.access.agreements import find_agreement
from warehouse.access.coverage import Cover
from warehouse.errors import AccessRefusedError, NotFoundError, WarehouseError
from warehouse.query.session import attach_as
from warehouse.settings import Settings

#: What `warehouse` has: what asks for an agreement; what needs none, being the data manager's or of what one has.
ASKS = {"open", "download"}
NEEDS_NONE = {"refresh", "manifest", "read_image"}
#: Classes, which `open`, `cohort`, `patient` and `manifest` make, and errors.
CLASSES = {"Cohort", "Manifest", "Patient", "RefreshResult", "Settings", "Split", "Warehouse"}
#: What a Warehouse has, under an agreement: what shows rows and counts that it covers,
SHOWS = {
    *("admissions", "chest_ct", "chest_ct_series", "chest_films", "clinical", "clinical_changes", "clinical_history"),
    *("clinical_issues", "completeness", "headers", "image_regions", "images", "patients", "series", "studies"),
    *("swabs", "volume_geometry", "check", "cohort", "export_meds", "patient", "report", "sql"),
}
#: what is refused, being of more than views; unless an agreement is limited by groups alone,
REFUSED = {"rejects", "changes_since", "ask"}
#: what makes another session, under the same agreement,
SESSIONS = {
    *("as_of", "at_snapshot", "cursor", "fork", "group", "narrow", "sandboxed", "under", "with_history"),
    "without_limits",
}
#: and what shows nothing of a patient. `con` is the connection itself, which is the user's own.
SILENT = {
    *(
        "cite",
        "close",
        "con",
        "cover",
        "day",
        "explain_lacks",
        "group_name",
        "has",
        "has_joins_as_written",
        "is_history_hidden",
    ),
    *("is_unpublished", "limited"),
    *(
        "location",
        "log_release",
        "open",
        "require",
        "require_covered",
        "require_group",
        "settings",
        "shown",
        "snapshot",
    ),
    *("standing_list", "trusted"),
}
#: The same of a cohort and of a patient.
OF_COHORT = {
    *("attrition", "demographics", "division", "excluded", "export", "fetch", "on", "relation", "result", "rows"),
    *("sides", "split", "steps", "table1", "unsplit_rows", "why"),
}
SILENT_OF_COHORT = {"ask", "prepare", "rule"}
OF_PATIENT = {
    *("clinical_changes", "clinical_history", "clinical_issues", "images", "known_at", "records", "series", "studies"),
    *("summary", "timeline"),
}
SILENT_OF_PATIENT = {"patient_id", "warehouse"}
#: A manifest is a folder that its holder has: it asks before it takes objects from a bucket.
ASKS_OF_MANIFEST = {"to_torch"}
OF_FOLDER = {
    *("about", "contents", "digest", "files", "folder", "home", "labels", "name", "polars", "seal", "sides", "sources"),
    *("split", "to_huggingface", "to_monai"),
}
#: Whom agreement 2026-0003, for a centre, does not cover.
OTHERS = ("PatB", "PatC", "PatV", "York")
AGREEMENT = "2026-0003"
FILMS = """-- title: All images
-- question: Which images are there?
-- grain: image
with films as (select SOPInstanceUID, patient_id, Modality from images)
select * from films
"""


def list_public(of: object) -> set[str]:
    return {name for name in dir(of) if not name.startswith("_")}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_lake(tmp_path_factory.mktemp("methods"))


@pytest.fixture(scope="module")
def wh(lake: str) -> Iterator[warehouse.Warehouse]:
    with warehouse.open(lake, agreement=AGREEMENT) as opened:
        yield opened


@pytest.fixture(scope="module")
def films(wh: warehouse.Warehouse, tmp_path_factory: pytest.TempPathFactory) -> warehouse.Cohort:
    path = tmp_path_factory.mktemp("films") / "films.sql"
    path.write_text(FILMS)
    return wh.cohort(path)


def show(found: Any) -> str:
    """All that somebody sees of what a method returns."""
    if isinstance(found, duckdb.DuckDBPyRelation):
        return str(found.fetchall())
    if isinstance(found, pa.Table):
        return str(found.to_pylist())
    if isinstance(found, list):
        return "".join(show(getattr(each, "rows", each)) + repr(each) for each in found)
    if isinstance(found, warehouse.Warehouse):
        return show(found.patients()) + show(found.images()) + show(found.clinical_history())
    if isinstance(found, warehouse.Cohort):
        return show(found.rows) + show(found.attrition())
    if isinstance(found, warehouse.Patient):
        return show(found.summary()) + show(found.images())
    if isinstance(found, warehouse.Manifest):
        return str(found.polars().to_dicts()) + str(found.about)
    return repr(found)


def test_every_public_name_is_listed_with_what_it_shows() -> None:
    errors = {name for name in list_public(warehouse) if name.endswith("Error")}
    assert list_public(warehouse) == ASKS | NEEDS_NONE | CLASSES | errors
    assert list_public(warehouse.Warehouse) == SHOWS | REFUSED | SESSIONS | SILENT
    assert list_public(warehouse.Cohort) == OF_COHORT | SILENT_OF_COHORT
    assert list_public(warehouse.Patient) == OF_PATIENT | SILENT_OF_PATIENT
    assert list_public(warehouse.Manifest) == ASKS_OF_MANIFEST | OF_FOLDER


@pytest.mark.slow
def test_what_asks_is_refused_without_an_agreement(lake: str, films: warehouse.Cohort, tmp_path: Path) -> None:
    manifest = films.export(tmp_path / "films")
    manifest.about["agreement"] = ""
    calls: dict[str, Callable[[], object]] = {
        "open": lambda: warehouse.open(lake),
        "download": lambda: warehouse.download(manifest, tmp_path / "data", lake_address=lake),
    }
    assert calls.keys() == ASKS
    for name, call in calls.items():
        before = len(read_log(lake))
        with pytest.raises(AccessRefusedError, match="only under an agreement"):
            call()
        assert find_last(lake, vocabulary.REFUSED).number > before, name
    assert not (tmp_path / "data").exists()


def call_method(wh: warehouse.Warehouse, name: str, folder: Path) -> object:
    """Call a method of SHOWS, with what it needs."""
    if name == "report":
        wh.report(folder / "report.html", suppress=0)
        return (folder / "report.html").read_text()
    if name == "export_meds":
        wh.export_meds(folder / "meds")
        files = sorted((folder / "meds").rglob("*.parquet"))
        return "".join(str(duckdb.sql(f"from read_parquet('{file}')").fetchall()) for file in files)
    given = {"cohort": ("covid_risk",), "patient": ("PatA",), "sql": ("from images",)}
    return getattr(wh, name)(*given.get(name, ()))


@pytest.mark.slow(cases=("cohort", "report"))
@pytest.mark.parametrize("name", sorted(SHOWS))
def test_what_shows_rows_shows_what_is_covered(name: str, wh: warehouse.Warehouse, tmp_path: Path) -> None:
    text = show(call_method(wh, name, tmp_path))
    assert text
    assert not [other for other in OTHERS if other in text], text
    if name in ("images", "patients", "clinical_history", "sql", "patient", "export_meds"):
        assert "PatA" in text


def test_what_is_of_more_than_views_is_refused(wh: warehouse.Warehouse) -> None:
    calls: dict[str, Callable[[], object]] = {
        "rejects": wh.rejects,
        "changes_since": lambda: wh.changes_since(wh.snapshot.number),
        "ask": lambda: wh.ask("from core.images", {}),
    }
    assert calls.keys() == REFUSED
    for call in calls.values():
        with pytest.raises(WarehouseError):
            show(call())


@pytest.mark.slow
def test_no_session_of_a_session_shows_more(wh: warehouse.Warehouse, lake: str) -> None:
    own = wh.cover
    assert own
    sessions: dict[str, Callable[[], warehouse.Warehouse]] = {
        "as_of": lambda: wh.as_of("2030-01-01"),
        "at_snapshot": lambda: wh.at_snapshot(wh.snapshot.number),
        "cursor": wh.cursor,
        "fork": wh.fork,
        "group": lambda: wh.group("training"),
        "narrow": lambda: wh.narrow(None, "training"),
        "sandboxed": wh.sandboxed,
        "under": lambda: wh.under(own),
        "with_history": wh.with_history,
        "without_limits": wh.without_limits,
    }
    assert sessions.keys() == SESSIONS
    for name, make in sessions.items():
        made = make()
        assert made.cover == own, name
        text = show(made)
        assert "PatA" in text, name
        assert not [other for other in OTHERS if other in text], name
    wider = Cover.of(find_agreement(read_log(lake), "2026-0010"))
    for attempt in (
        lambda: wh.group("all"),
        lambda: wh.narrow(None, "all"),
        lambda: wh.narrow(None, "validation"),
        lambda: wh.narrow(None, "training", wider),
        lambda: wh.under(wider),
    ):
        with pytest.raises(AccessRefusedError):
            attempt()


@pytest.mark.slow
def test_a_cohort_shows_what_is_covered(wh: warehouse.Warehouse, films: warehouse.Cohort, tmp_path: Path) -> None:
    halves = films.split(train=50, test=50, seed=1)
    with attach_as(warehouse.Warehouse, wh.location.name) as other:
        calls: dict[str, Callable[[], object]] = {
            "attrition": films.attrition,
            "demographics": films.demographics,
            "division": lambda: halves.division,
            "excluded": films.excluded,
            "export": lambda: films.export(tmp_path / "films"),
            "fetch": lambda: films.fetch("select patient_id from images"),
            "on": lambda: films.on(wh.as_of("2030-01-01")).rows,
            "relation": films.relation,
            "result": lambda: films.result,
            "rows": lambda: films.rows,
            "sides": halves.sides,
            "split": lambda: halves.rows,
            "steps": films.steps,
            "table1": lambda: films.table1(suppress=0),
            "unsplit_rows": lambda: films.unsplit_rows,
            "why": lambda: films.why("PatA"),
        }
        assert calls.keys() == OF_COHORT
        for name, call in calls.items():
            text = show(call())
            assert not [one for one in OTHERS if one in text], (name, text)
        assert films.rows.num_rows == 2
        assert films.on(other).rows.num_rows == 4
    with pytest.raises(NotFoundError):
        films.why("PatB")


@pytest.mark.slow
def test_a_patient_who_is_not_covered_is_not_there(wh: warehouse.Warehouse) -> None:
    for name in ("PatB", "PatC", "PatV"):
        with pytest.raises(NotFoundError):
            wh.patient(name)
        # One who knows the class, and asks past `patient`.
        found = warehouse.Patient(wh, name)
        for method in sorted(OF_PATIENT):
            answer = getattr(found, method)(*(["2030-01-01"] if method == "known_at" else []))
            assert answer is None or answer.fetchall() == [], (name, method)


def test_a_manifest_asks_before_it_takes_objects(films: warehouse.Cohort, lake: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    manifest = films.export(tmp_path / "films")
    manifest.about["agreement"] = ""
    with pytest.raises(AccessRefusedError, match="only under an agreement"):
        manifest.to_torch(stream=True, lake_address=lake, settings=Settings())
