"""Dagster's graph at work: cohorts that follow their views, checks that block, several sources, and metadata."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from conftest import start_lake, write_objects

import warehouse
from pipelines import checks
from pipelines.definitions import chest_definitions
from pipelines.deployment import Deployment
from pipelines.resources import ChestWarehouse
from pipelines.sources import parse_sources
from warehouse import synthetic
from warehouse.cohorts.digest import compute_digest
from warehouse.disclosure_control import round_count
from warehouse.errors import UsageError
from warehouse.lake import location, store
from warehouse.manifests import register
from warehouse.quality_report import png as pictures
from warehouse.query import checks as rules
from warehouse.settings import Settings

ROOT = Path(__file__).parent.parent.parent
#: Not external_validation and prior_data, which must be given something.
ANSWERED = {"covid_risk", "longitudinal_ct", "teaching_set", "ventilation"}
#: Those that read a view of the clinical files: all, by the swab that they are anchored to.
READ_CLINICAL = ANSWERED


class House:
    """A deployment in a folder: buckets, lake, manifests, and a Dagster instance that remembers."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance, sources: str = "") -> None:
        self.folder, self.instance = folder, instance
        self.lake, self.shelf = folder / "lake", folder / "manifests"
        environ = {"CHEST_SOURCES": sources} if sources else {}
        named = parse_sources(Settings(sources=sources))
        one = "" if sources else str(folder / "bucket")
        chest = ChestWarehouse(source=one, lake=str(self.lake), manifests=str(self.shelf), sources=named)
        self.defs = chest_definitions(environ, chest=chest)
        self.cursor = None
        self.runs: list[str] = []

    def run(self, job: str = "refresh", **config: dict[str, object]) -> dg.ExecuteInProcessResult:
        ops = {name: {"config": values} for name, values in config.items()}
        return self._ran(self.defs.resolve_job_def(job), {"ops": ops})

    def make(self, keys: set[dg.AssetKey]) -> dg.ExecuteInProcessResult:
        return self._ran(self.defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection=keys), {})

    def _ran(self, job: dg.JobDefinition, config: dict[str, object]) -> dg.ExecuteInProcessResult:
        result = job.execute_in_process(instance=self.instance, run_config=config, raise_on_error=False)
        self.runs.append(result.run_id)
        return result

    def tick(self) -> set[dg.AssetKey]:
        """The assets that the automation conditions request now."""
        result = dg.evaluate_automation_conditions(self.defs, instance=self.instance, cursor=self.cursor)
        self.cursor = result.cursor
        graph = self.defs.resolve_asset_graph()
        return {key for key in graph.executable_asset_keys if result.get_num_requested(key)}

    def settle(self) -> tuple[set[str], set[str]]:
        """Do what the conditions ask for until they ask for nothing: the cohorts and the manifests made."""
        made: list[dg.AssetKey] = []
        for _ in range(6):
            if not (asked := self.tick()):
                break
            assert self.make(asked).success
            made += asked
        assert len(made) == len(set(made)), "something was made twice"
        kinds = [{key.path[1] for key in made if key.path[0] == kind} for kind in ("cohorts", "manifests")]
        return kinds[0], kinds[1]

    def version(self, *path: str) -> str:
        event = self.instance.get_latest_materialization_event(dg.AssetKey(path))
        assert event is not None
        assert event.asset_materialization is not None
        return (event.asset_materialization.tags or {})["dagster/data_version"]

    def check(self, asset: str, name: str) -> dg.AssetCheckEvaluation:
        key = dg.AssetCheckKey(dg.AssetKey(asset.split("/")), name)
        record = self.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
        assert record.event is not None
        assert record.event.dagster_event is not None
        evaluation = record.event.dagster_event.event_specific_data
        assert isinstance(evaluation, dg.AssetCheckEvaluation)
        return evaluation


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, instance: dg.DagsterInstance) -> House:
    """Refreshed once, its cohorts answered; the tests below go on from each other's state, in their order."""
    folder = tmp_path_factory.mktemp("house")
    synthetic.make_bucket(folder / "bucket", 8, "dated", 3)
    house = House(folder, instance)
    assert house.tick() == set()  # nothing is published: nothing can be asked
    start_lake(house.lake)
    assert house.run().success
    assert house.settle() == (ANSWERED, ANSWERED)
    return house


def clinical_file(house: House) -> Path:
    return sorted((house.folder / "bucket/training").glob("*/data/*/data.json"))[-1]


def failed(result: dg.ExecuteInProcessResult, step: str) -> str:
    assert not result.success
    data = result.failure_data_for_node(step)
    assert data is not None
    return data.user_failure_data.description if data.user_failure_data else str(data.error)


@pytest.mark.slow
def test_nothing_new_moves_no_view_and_no_cohort(house: House) -> None:
    before = house.version("views", "patients")
    assert house.run().success
    assert house.version("views", "patients") == before
    assert house.settle() == (set(), set())


@pytest.mark.slow
def test_a_changed_clinical_file_moves_exactly_the_cohorts_that_read_it(house: House) -> None:
    images, clinical = house.version("views", "images"), house.version("views", "clinical")
    folders = {path.name: len(list(path.iterdir())) for path in house.shelf.iterdir()}
    path = clinical_file(house)
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "ChestWarehouseTest": "of no meaning to any cohort"}))
    assert house.run().success
    assert house.version("views", "images") == images
    assert house.version("views", "clinical") != clinical
    cohorts, manifests = house.settle()
    assert cohorts == READ_CLINICAL
    assert manifests == set(), "answers are the same, so nothing is exported"
    assert {name: len(list((house.shelf / name).iterdir())) for name in ANSWERED} == {n: folders[n] for n in ANSWERED}


@pytest.mark.slow
def test_a_new_image_moves_every_cohort_and_each_manifest_is_kept_once(house: House) -> None:
    for header in (house.folder / "bucket/training").glob("*/images_metadata/*/*.json"):
        header.write_text(header.read_text() + " ")
    assert house.run().success
    assert house.tick() == {dg.AssetKey(["cohorts", name]) for name in ANSWERED}
    assert house.tick() == {dg.AssetKey(["manifests", name]) for name in ANSWERED}
    before = house.version("manifests", "covid_risk")
    for is_new in (True, False):
        again = house.make({dg.AssetKey(["manifests", "covid_risk"])})
        assert again.success
        (event,) = again.get_asset_materialization_events()
        assert event.materialization.metadata["is_new"].value is is_new
    assert house.version("manifests", "covid_risk") != before
    recorded = [entry["cohort"] for entry in register.list_entries(str(house.lake))]
    kept = [path.parts[-3] for path in house.shelf.glob("*/*/manifest.json")]
    assert sorted(recorded) == sorted(kept)
    assert recorded.count("covid_risk") == 2


@pytest.mark.slow
def test_a_manifest_that_was_not_recorded_is_recorded_by_the_next_run(house: House) -> None:
    with store.open_writer(location.parse_address(str(house.lake)), Settings()) as con:
        store.transact(con, "forgotten", lambda: con.execute("delete from ops.manifests where cohort = 'ventilation'"))
    assert house.make({dg.AssetKey(["manifests", "ventilation"])}).success
    assert "ventilation" in {entry["cohort"] for entry in register.list_entries(str(house.lake))}


@pytest.mark.slow
def test_changed_views_that_a_killed_run_did_not_report_are_reported_by_the_next(house: House) -> None:
    path = clinical_file(house)
    path.write_text(json.dumps({**json.loads(path.read_text()), "Another": "1"}))
    before = house.version("views", "clinical")
    warehouse.refresh(str(house.folder / "bucket"), str(house.lake))
    result = house.run()
    assert result.success
    assert house.version("views", "clinical") != before
    assert house.tick() == {dg.AssetKey(["cohorts", name]) for name in READ_CLINICAL}


@pytest.mark.slow
def test_checks_belong_to_the_asset_they_name_with_sql_and_summary(house: House) -> None:
    found = house.check("views/images", "metadata_without_dcm")
    assert found.severity is dg.AssetCheckSeverity.WARN
    with warehouse.open(str(house.lake)) as wh:
        (result,) = wh.check("metadata_without_dcm")
    assert found.metadata["patients"].value == round_count(result.n_patients or 0, 5)
    assert found.passed is (result.n_rows == 0)
    assert "rows" not in found.metadata
    assert "select" in str(found.metadata["SQL"].value)
    assert house.check("objects", "books").passed
    specs = {spec.name: spec for definition in checks.build(Deployment()) for spec in definition.check_specs}
    assert set(specs) == set(rules.load_definitions())
    for name, check in rules.load_definitions().items():
        assert check.meaning in (specs[name].description or "")
        assert specs[name].metadata["severity"] == str(check.severity)


@pytest.mark.slow
def test_the_report_of_the_snapshot_is_written_and_the_pictures_are_small_pngs(house: House) -> None:
    event = house.instance.get_latest_materialization_event(dg.AssetKey("published"))
    assert event is not None
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    page = Path(str(metadata["report"].value))
    assert page.name == f"{metadata['snapshot'].value}.html"
    assert "<svg" in page.read_text()
    # No centre of so small a bucket has records enough for shares.
    for name in {"studies per month", *({"completeness"} & {*metadata})}:
        text = str(metadata[name].value)
        match = re.fullmatch(rf"!\[{name}\]\(data:image/png;base64,(.*)\)", text)
        assert match, name
        png = base64.b64decode(match[1])
        assert png.startswith(b"\x89PNG")
        assert len(png) <= pictures.MOST_BYTES
    assert {"bytes", "rejects by reason", "seconds by step", "added", "changed", "removed"} <= set(metadata)
    assert "clinical" in str(metadata["seconds by step"].value)


@pytest.mark.slow
def test_no_patient_and_no_value_in_anything_that_dagster_keeps(house: House) -> None:
    assert len(house.runs) > 5
    kept = "".join(str(entry) for run in house.runs for entry in house.instance.all_logs(run))
    kept = re.sub(r"base64,[A-Za-z0-9+/=]+", "", kept)
    assert "views/patients" in kept
    assert "attrition" in kept
    bucket = house.folder / "bucket/training"
    # Nor a digest that whoever guesses the rows can compute again.
    with warehouse.open(str(house.lake)) as wh:
        digests = {compute_digest(wh.cohort(name)) for name in ANSWERED}
    digests |= {entry["digest"] for entry in register.list_entries(str(house.lake))}
    assert len(digests) > len(ANSWERED)
    assert "hmac-sha256:" in kept
    assert not any(digest.removeprefix("sha256:")[:8] in kept for digest in digests)
    for patient in bucket.iterdir():
        assert not re.search(rf"\b{patient.name}\b", kept)
    for header in bucket.glob("*/images_metadata/*/*.json"):
        assert header.stem not in kept
    with warehouse.open(str(house.lake)) as wh:
        values = wh.sql("select raw_value from clinical_issues where length(raw_value) > 6").fetchall()
    assert values
    assert not any(str(value) in kept for (value,) in values if not str(value).isalpha())


@pytest.mark.slow
def test_a_failing_blocking_check_fails_the_run_with_one_line_and_readers_keep_what_they_have(house: House) -> None:
    with warehouse.open(str(house.lake)) as wh:
        before = wh.snapshot.number
    twice = "insert into core.images from core.images limit 1"
    with store.open_writer(location.parse_address(str(house.lake)), Settings()) as con:
        store.transact(con, "by hand", lambda: con.execute(twice))
    result = house.run()
    message = failed(result, "published")
    assert "\n" not in message
    assert "books" in message or "rows_twice" in message
    assert not house.check("objects", "rows_twice").passed
    assert house.check("objects", "rows_twice").description != "no rows"
    assert house.check("images", "rows_unpaired").passed
    with warehouse.open(str(house.lake)) as wh:
        assert wh.snapshot.number == before
    assert house.tick() == set()
    full = house.run(objects={"full": True})
    assert full.success, "a full refresh heals it"
    assert house.check("objects", "rows_twice").passed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"objects": {"prefix": "/training"}}, "Run config of objects: Prefix 1"),
        ({"clinical": {"patients": ["Covid1", "Covid2/"]}}, "Run config of clinical: Patient 2"),
        ({"images": {"prefix": "s3://bucket/training"}}, "Run config of images: Prefix 1"),
    ],
)
def test_a_wrong_part_of_a_bucket_is_reported_before_anything_runs(
    house: House, config: dict[str, dict[str, object]], words: str
) -> None:
    result = house.run(**config)
    message = failed(result, "objects")
    assert words in message
    assert "Covid" not in message.replace("such as Covid12", "").replace("training/Covid12/", "")
    assert not result.get_asset_materialization_events()


@pytest.mark.slow
def test_patients_named_at_objects_limit_the_whole_run(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHEST_SUPPRESS", "0")
    names = sorted(path.name for path in (house.folder / "bucket/training").iterdir())[:2]
    result = house.run(objects={"patients": names, "full": True})
    assert result.success
    metadata = {
        str(e.asset_key.path[0]): e.materialization.metadata
        for e in result.get_asset_materialization_events()
        if e.asset_key
    }
    inside = sum(path.is_file() for name in names for path in (house.folder / "bucket/training" / name).rglob("*"))
    assert metadata["objects"]["listed"].value == metadata["objects"]["changed"].value == inside


@pytest.mark.slow
def test_several_sources_share_a_lake_and_a_bad_one_stops_none_of_the_others_steps(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    for name in ("north", "south"):
        write_objects(tmp_path / name, {f"training/{name}1/data/2020-04-01/data.json": "{}"})
    house = House(tmp_path, instance, f"north={tmp_path}/north south={tmp_path}/south")
    start_lake(house.lake)
    assert house.run().success
    with warehouse.open(str(house.lake)) as wh:
        assert wh.patients().aggregate("count(*)").fetchall() == [(2,)]
    assert house.check("published", "books").passed

    (tmp_path / "north").rename(tmp_path / "gone")
    write_objects(tmp_path / "south", {"training/south2/data/2020-04-01/data.json": "{}"})
    result = house.run()
    assert "north" in failed(result, "north__objects")
    done = {e.asset_key.to_user_string() for e in result.get_asset_materialization_events() if e.asset_key}
    assert done == {"south/objects", "south/images", "south/clinical"}
    assert house.run("refresh_south").success
    with warehouse.open(str(house.lake)) as wh:
        assert wh.patients().aggregate("count(*)").fetchall() == [(3,)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("training", "not NAME=BUCKET"),
        ("training=", "not NAME=BUCKET"),
        ("Training=s3://a", "is not a valid name"),
        ("views=s3://a", "is taken"),
        ("a=s3://x a=s3://y", "given twice"),
        ("a=s3://x b=s3://x/", "given twice"),
    ],
)
def test_sources_that_cannot_be_are_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(UsageError, match="CHEST_SOURCES") as error:
        parse_sources(Settings(sources=text))
    assert words in str(error.value)


def test_sources_keep_their_order_and_names() -> None:
    found = parse_sources(Settings(sources="training=s3://a/b=c  validation=/data/v"))
    assert list(found.items()) == [("training", "s3://a/b=c"), ("validation", "/data/v")]
    assert parse_sources(Settings(source="s3://a")) == {}


@pytest.mark.slow
def test_a_new_file_is_a_new_asset_and_a_broken_one_stops_nobody(tmp_path: Path) -> None:
    for name in ("warehouse", "pipelines", "sql"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "sql/cohorts/everybody.sql").write_text(
        "-- title: Everybody\n-- question: Who is there?\n-- grain: patient\nselect patient_id from patients\n"
    )
    (tmp_path / "sql/cohorts/broken.sql").write_text("-- title: Broken\nselect")
    script = (
        "import json; from pipelines.definitions import defs; graph = defs.resolve_asset_graph();"
        "print(json.dumps({k.to_user_string(): [sorted(p.to_user_string() for p in graph.get(k).parent_keys),"
        " graph.get(k).is_executable] for k in graph.get_all_asset_keys()}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["cohorts/everybody"] == [["views/patients"], True]
    assert found["manifests/everybody"] == [["cohorts/everybody", "views/images"], True]
    assert found["cohorts/broken"] == [[], False]
    assert "cohorts/prior_data" not in found  # it requires a parameter
