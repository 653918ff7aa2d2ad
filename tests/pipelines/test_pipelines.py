"""Dagster: the real definitions, run in an instance of their own on a small bucket."""

import ast
import contextlib
import re
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import pytest

import warehouse
from pipelines.assets import TABLES
from pipelines.definitions import chest_definitions
from pipelines.resources import ChestWarehouse
from warehouse import synthetic
from warehouse.disclosure_control import find_unit, round_count
from warehouse.errors import UsageError
from warehouse.lake import store as lake

ROOT = Path(__file__).parent.parent.parent

STEPS = {
    "objects": set(),
    "images": {"objects"},
    "clinical": {"objects"},
    "published": {"images", "clinical"},
}


class Loaded(NamedTuple):
    """A bucket, its truth, and the lake that a first run of the job made of it."""

    bucket: Path
    truth: dict[str, Any]
    lake: Path
    result: dg.ExecuteInProcessResult
    log: str


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    folder = tmp_path_factory.mktemp("pipelines")
    truth = synthetic.make_bucket(folder / "bucket", 6, "dated", 1)
    with dg.DagsterInstance.ephemeral() as instance, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHEST_SUPPRESS", "0")
        result = run(instance, folder / "bucket", folder / "lake")
        log = "\n".join(record.user_message for record in instance.all_logs(result.run_id))
        yield Loaded(folder / "bucket", truth, folder / "lake", result, log)


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHEST_SUPPRESS", "0")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def definitions(source: object, lake_folder: object) -> dg.Definitions:
    return chest_definitions(
        {},
        chest=ChestWarehouse(
            source=str(source), lake=str(lake_folder), manifests=f"{lake_folder}-manifests" if lake_folder else ""
        ),
    )


def run(
    instance: dg.DagsterInstance, source: object, lake_folder: object, **config: dict[str, object]
) -> dg.ExecuteInProcessResult:
    """Run the job `refresh`; `objects={"prefix": …}` configures an asset."""
    job = definitions(source, lake_folder).resolve_job_def("refresh")
    return job.execute_in_process(
        instance=instance,
        run_config={"ops": {name: {"config": values} for name, values in config.items()}},
        raise_on_error=False,
    )


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """What each step reported, by asset and name."""
    return {
        event.asset_key.to_user_string(): {name: value.value for name, value in event.materialization.metadata.items()}
        for event in result.get_asset_materialization_events()
        if event.asset_key and event.asset_key.to_user_string() in STEPS
    }


def failure(result: dg.ExecuteInProcessResult, step: str) -> Any:
    """The error of a failed step, as the run shows it."""
    assert not result.success
    return result.failure_data_for_node(step)


def test_the_steps_depend_on_each_other_and_the_job_has_no_cohort() -> None:
    defs = chest_definitions({})
    graph = defs.resolve_asset_graph()
    for name, parents in STEPS.items():
        assert {key.to_user_string() for key in graph.get(dg.AssetKey(name)).parent_keys} == parents
    job = defs.resolve_job_def("refresh")
    assert {key.to_user_string() for key in job.asset_layer.selected_asset_keys} == set(STEPS)


def test_each_asset_is_described_owned_and_grouped_and_tables_and_views_down_to_their_columns() -> None:
    graph = chest_definitions({}).resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.group_name in {"raw", "core", "published", "views", "cohorts", "manifests"}, key
        assert node.kinds, key
        assert node.owners, key
        if node.group_name != "manifests":
            schema = node.metadata["dagster/column_schema"]
            assert schema.columns, key
            assert all(column.description for column in schema.columns), key


def test_views_show_what_they_read_down_to_their_columns() -> None:
    graph = chest_definitions({}).resolve_asset_graph()
    patients = graph.get(dg.AssetKey(["views", "patients"]))
    assert not patients.is_executable
    assert {key.to_user_string() for key in patients.parent_keys} == {
        "published",
        "views/clinical",
        "views/clinical_history",
        "views/images",
    }
    made = patients.metadata["dagster/column_lineage"].deps_by_column
    assert {(dep.asset_key.path[-1], dep.column_name) for dep in made["covid_status"]} == {("clinical", "kind")}
    images = graph.get(dg.AssetKey(["views", "images"]))
    assert {key.to_user_string() for key in images.parent_keys} == {"published", "images"}


def test_a_refresh_reports_what_it_did(loaded: Loaded) -> None:
    assert loaded.result.success
    truth, first = loaded.truth, metadata(loaded.result)
    assert set(first) == set(STEPS)
    assert first["objects"]["listed"] == first["objects"]["added"] == truth["objects"]
    assert first["objects"]["dagster/row_count"] == truth["objects"]
    assert first["images"]["loaded"] == first["images"]["dagster/row_count"] == truth["image_json"]
    assert first["clinical"]["loaded"] == first["clinical"]["dagster/row_count"] == truth["clinical_json"]
    assert first["published"]["is_new"] is True
    assert first["published"]["images"] == truth["image_json"]
    for values in first.values():
        assert values["source"] == str(loaded.bucket)
        assert values["seconds"] >= 0

    with warehouse.open(str(loaded.lake), snapshot=first["published"]["snapshot"]) as reader:
        assert reader.patients().aggregate("count(*)").fetchone() == (truth["patients"],)
        refreshes = reader.con.execute(f"select refresh_id from {lake.ALIAS}.ops.refreshes").fetchall()
    assert refreshes == [(loaded.result.run_id,)]


@pytest.mark.slow
def test_counts_of_a_refresh_of_few_patients_are_hidden(
    tmp_path: Path, new_lake: Path, instance: dg.DagsterInstance
) -> None:
    """All numbers are rounded so that five patients of the same size, or one, could be behind them."""
    folder = tmp_path / "bucket"
    truth = synthetic.make_bucket(folder, 12, "dated", 4)
    kept = sorted((folder / "training").iterdir())[-1]
    kept.rename(tmp_path / "later")
    assert run(instance, folder, new_lake).success
    (tmp_path / "later").rename(kept)
    second = run(instance, folder, new_lake)
    with warehouse.open(str(new_lake)) as wh:
        most = {
            step: wh.con.execute(
                f"select max(n) from (select patient_id, count(*) as n from lake.{table} group by patient_id) "
                "where patient_id is not null"
            ).fetchone()[0]  # type: ignore[index]
            for step, table in TABLES.items()
        }
    exact = {"objects": truth["objects"], "images": truth["image_json"], "clinical": truth["clinical_json"]}
    for step, values in metadata(second).items():
        if step == "published":
            continue
        unit = find_unit(most[step], 5)
        assert unit >= 5 * most[step]
        assert values["dagster/row_count"] == round_count(exact[step], unit) != exact[step]
        for name in {"listed", "added", "loaded"} & {*values}:
            assert values[name] == f"under {unit}" or values[name] % unit == 0
    assert metadata(second)["objects"]["added"] == f"under {find_unit(most['objects'], 5)}"
    logged = "\n".join(record.user_message for record in instance.all_logs(second.run_id))
    assert f"{metadata(second)['objects']['added']} added" in logged
    for n in {sum(path.is_file() for path in kept.rglob("*")), *exact.values()}:
        assert not re.search(rf"(?<![\d.,-]){n} (added|listed|loaded|images|clinical)", logged)
    views = {
        event.asset_key.path[-1]: event.materialization.metadata["dagster/row_count"].value
        for event in second.get_asset_materialization_events()
        if event.asset_key and event.asset_key.path[0] == "views"
    }
    assert views["patients"] == 10
    assert views["images"] < truth["image_json"]


@pytest.mark.slow
@pytest.mark.usefixtures("exact")
def test_a_second_refresh_does_nothing(loaded: Loaded, instance: dg.DagsterInstance) -> None:
    with warehouse.open(str(loaded.lake)) as reader:
        before, newest = reader.snapshot.number, lake.list_snapshots(reader.con)[-1].number
    second = metadata(run(instance, loaded.bucket, loaded.lake))
    assert set(second) == set(STEPS)
    assert second["objects"]["added"] == second["images"]["loaded"] == second["clinical"]["loaded"] == 0
    assert second["published"]["is_new"] is False
    assert {values["snapshot"] for values in second.values()} == {before, newest}
    with warehouse.open(str(loaded.lake)) as reader:
        assert lake.list_snapshots(reader.con)[-1].number == newest


@pytest.mark.slow
@pytest.mark.usefixtures("exact")
def test_reextract_types_every_stored_header_again(loaded: Loaded, instance: dg.DagsterInstance) -> None:
    again = metadata(run(instance, loaded.bucket, loaded.lake, images={"reextract": True}))
    assert again["images"]["reextracted"] == again["images"]["dagster/row_count"] == loaded.truth["image_json"]
    assert again["published"]["is_new"] is True


@pytest.mark.slow
@pytest.mark.usefixtures("exact")
def test_run_config_limits_to_a_prefix_and_allows_removals(
    tmp_path: Path, new_lake: Path, instance: dg.DagsterInstance
) -> None:
    folder = tmp_path / "bucket"
    synthetic.make_bucket(folder, 4, "dated", 2)
    patients = sorted((folder / "training").iterdir())
    prefix = {"prefix": f"training/{patients[0].name}/"}
    part = metadata(run(instance, folder, new_lake, objects=prefix, images=prefix, clinical=prefix))
    inside = sum(path.is_file() for path in patients[0].rglob("*"))
    assert part["objects"]["listed"] == part["objects"]["dagster/row_count"] == inside

    assert run(instance, folder, new_lake).success
    for path in patients[1:]:
        path.rename(tmp_path / path.name)
    refused = run(instance, folder, new_lake)
    assert "more than 10 %" in failure(refused, "objects").user_failure_data.description
    allowed = metadata(run(instance, folder, new_lake, objects={"allow_removals": True}))
    assert allowed["objects"]["removed"] > 0
    assert allowed["objects"]["dagster/row_count"] == inside

    # Unreadable content is not published, unless the step that publishes allows removals.
    records = sorted(patients[0].rglob("data.json"))
    for path in records:
        path.write_text("{")
    held = run(instance, folder, new_lake)
    assert "cannot be read" in failure(held, "published").user_failure_data.description
    shown = metadata(run(instance, folder, new_lake, published={"allow_removals": True}))
    assert shown["published"]["is_new"] is True


def test_a_wrong_bucket_fails_with_one_clear_line_and_no_lake(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    result = run(instance, tmp_path / "nowhere", tmp_path / "lake")
    message = failure(result, "objects").user_failure_data.description
    assert "nowhere" in message
    assert "\n" not in message
    assert not metadata(result)
    assert not (tmp_path / "lake").exists()


def test_without_a_bucket_the_variable_to_set_is_named(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    result = run(instance, "", tmp_path / "lake")
    assert "CHEST_SOURCE" in failure(result, "objects").user_failure_data.description


@pytest.mark.slow
@pytest.mark.usefixtures("exact")
def test_bucket_and_lake_are_read_from_the_environment_at_run_time(
    loaded: Loaded, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CHEST_MANIFESTS", str(tmp_path / "manifests"))
    monkeypatch.setenv("CHEST_SOURCE", str(loaded.bucket))
    monkeypatch.setenv("CHEST_LAKE", str(loaded.lake))
    assert metadata(run(instance, "", ""))["objects"]["listed"] == loaded.truth["objects"]


@pytest.mark.parametrize(
    "fields",
    [
        {"lake": "postgres://me:s3cr3t-word@db/chest?data_path=s3://lake"},
        {"source": "s3://key:s3cr3t-word@bucket"},
        {"sources": {"a": "s3://key:s3cr3t-word@bucket"}},
        {"engine": "sc://host:15002/;token=s3cr3t-word"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_resource_with_a_login_is_refused_as_dagster_would_keep_it(fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="has a login, which Dagster would keep and show") as caught:
        chest_definitions({}, chest=ChestWarehouse(**fields))
    assert "s3cr3t" not in str(caught.value)


def test_a_login_from_the_environment_is_nowhere_in_dagster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_LAKE", "postgres://me:s3cr3t-word@127.0.0.1:9/chest?data_path=/nowhere")
    synthetic.make_bucket(tmp_path / "bucket", 1)
    chest = ChestWarehouse(source=str(tmp_path / "bucket"), lake=dg.EnvVar("THE_LAKE"), first_wait=0.01)
    (tmp_path / "home").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "home")) as instance:
        job = chest_definitions({}, chest=chest).resolve_job_def("refresh")
        assert not job.execute_in_process(instance=instance, raise_on_error=False).success
    kept = [path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file()]
    with contextlib.closing(sqlite3.connect(tmp_path / "home/history/runs.db")) as con:
        kept += [zlib.decompress(body) for (body,) in con.execute("select snapshot_body from snapshots")]
    assert len(kept) > 4
    assert not [content for content in kept if b"s3cr3t" in content]


def test_materialize_all_in_the_ui_runs_one_step_at_a_time() -> None:
    job = chest_definitions({}).resolve_implicit_global_asset_job_def()
    assert job.executor_def.name == "in_process"


def test_no_patient_in_the_log(loaded: Loaded) -> None:
    assert "loaded" in loaded.log
    for patient in (loaded.bucket / "training").iterdir():
        assert patient.name not in loaded.log


def test_the_repository_root_is_a_dagster_home_that_keeps_itself_in_one_ignored_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.get_runs_count() == 0
        assert not instance.telemetry_enabled
    assert {path.name for path in tmp_path.iterdir()} == {"dagster.yaml", ".dagster"}
    assert ".dagster/" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_library_never_imports_dagster() -> None:
    for path in (ROOT / "warehouse").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Import(names=names):
                    found = {name.name for name in names}
                case ast.ImportFrom(module=module):
                    found = {module or ""}
                case _:
                    continue
            assert not {name.split(".")[0] for name in found} & {"dagster", "pipelines"}, path


@pytest.mark.slow
def test_a_lake_that_enforces_agreements_is_refreshed_and_checked_and_only_rows_need_one(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every refresh failed at its last step from the switch on: rounded counts need no agreement, manifests do."""
    from agreed_lakes import make_lake, read_log

    from warehouse.access import vocabulary

    place = make_lake(tmp_path)
    definitions_of_lake = definitions(tmp_path / "bucket", place)
    everything = dg.AssetSelection.assets(["cohorts", "covid_risk"]) | dg.AssetSelection.checks_for_assets(
        *(key for key in definitions_of_lake.resolve_asset_graph().get_all_asset_keys())
    )
    assert run(instance, tmp_path / "bucket", place).success
    assert _materialize(definitions_of_lake, instance, everything).success
    assert not [event for event in read_log(place) if event.event == vocabulary.REFUSED]

    manifest = dg.AssetSelection.assets(["manifests", "covid_risk"])
    refused = _materialize(definitions_of_lake, instance, manifest)
    assert not refused.success
    assert "only under an agreement" in str(refused.failure_data_for_node("manifests__covid_risk"))
    monkeypatch.setenv("CHEST_SUPPRESS", "0")
    assert not _materialize(definitions_of_lake, instance, dg.AssetSelection.assets(["cohorts", "covid_risk"])).success
    monkeypatch.setenv("CHEST_AGREEMENT", "2026-0001")
    assert _materialize(definitions_of_lake, instance, manifest).success
    assert {event.about for event in read_log(place) if event.event == vocabulary.RELEASED} == {"2026-0001"}


def _materialize(
    defs: dg.Definitions, instance: dg.DagsterInstance, selection: dg.AssetSelection
) -> dg.ExecuteInProcessResult:
    job = dg.define_asset_job("chosen", selection)
    made = dg.Definitions.merge(defs, dg.Definitions(jobs=[job])).resolve_job_def("chosen")
    return made.execute_in_process(instance=instance, raise_on_error=False)
