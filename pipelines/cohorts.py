"""Every cohort of sql/cohorts whose parameters all have defaults, as an asset, and its manifest after it.

A new file is a new asset. A cohort is answered again only when a view that it reads has changed, or its own file; its
manifest is written again only when the answer is another one, or the images behind it are.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import dagster as dg

from pipelines import metadata, views
from pipelines.deployment import OWNERS, POOL, Deployment
from pipelines.manifest_store import store_manifest
from pipelines.resources import ChestWarehouse
from pipelines.retries import retry_when_healing
from warehouse.api import Cohort, Warehouse
from warehouse.catalog import view_lineage
from warehouse.cohorts import Definition, DefinitionError, list_shipped, load
from warehouse.cohorts.digest import compute_digest
from warehouse.disclosure_control import round_count
from warehouse.lake.secret import compute_keyed_digest
from warehouse.settings import load_suppress

_When = dg.AutomationCondition[Any]


def build(deployment: Deployment) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Build two assets per cohort; a file that cannot be read is shown with its error, and does not stop the others."""
    made: list[dg.AssetsDefinition | dg.AssetSpec] = []
    for name in list_shipped():
        try:
            definition = load(name)
        except DefinitionError as error:
            made.append(_build_unreadable(name, error))
            continue
        if all(parameter.default is not None for parameter in definition.params):
            made += [_build_cohort(definition), _build_manifest(definition, deployment)]
    return made


def _build_unreadable(name: str, error: DefinitionError) -> dg.AssetSpec:
    return dg.AssetSpec(
        ["cohorts", name],
        group_name="cohorts",
        owners=OWNERS,
        tags={"unreadable": ""},
        description=f"The file of this cohort cannot be read:  chest cohort lint {name}\n\n"
        f"{metadata.escape_markup(str(error))}",
    )


def _rerun_when(changed: _When) -> _When:
    """Request a run when an input has changed or no answer exists, once all inputs exist and none is being updated."""
    when = dg.AutomationCondition
    changes: Any = when.missing().newly_true() | changed
    at_rest = ~when.any_deps_missing() & ~when.any_deps_in_progress() & ~when.in_progress()
    again: _When = changes.since_last_handled() & at_rest & ~when.any_deps_match(when.will_be_requested())
    return again


def _build_cohort(definition: Definition) -> dg.AssetsDefinition:
    read = [name for name in view_lineage.find_relations_in(definition.tree) if "." not in name]
    labels = [dg.TableColumn(definition.grain_column, "VARCHAR", f"Names a {definition.grain}.")]
    labels += [dg.TableColumn(label, "VARCHAR", meaning) for label, meaning in definition.labels.items()]

    @dg.asset(
        key=["cohorts", definition.name],
        deps=[views.find_key(name) for name in read],
        group_name="cohorts",
        kinds={"duckdb", "sql"},
        owners=OWNERS,
        tags={"grain": definition.grain},
        description=_describe(definition),
        code_version=hashlib.sha256(definition.sql.encode()).hexdigest()[:12],
        metadata={
            "dagster/column_schema": dg.TableSchema(columns=labels),
            "SQL": metadata.render_code(definition.sql),
        },
        automation_condition=_rerun_when(
            dg.AutomationCondition.any_deps_updated() | dg.AutomationCondition.code_version_changed()
        ),
    )
    def answer(context: dg.AssetExecutionContext, chest: ChestWarehouse) -> dg.MaterializeResult[None]:
        with chest.reading(context, leaves=chest.shows_more) as reader, retry_when_healing(context):
            cohort = reader.cohort(definition.name)
            version = _find_version(reader, compute_digest(cohort))
            counts = {**_count_patients(cohort), "snapshot": reader.snapshot.number, "group": reader.group_name}
        context.log.info(f"answered at snapshot {counts['snapshot']}")
        return dg.MaterializeResult(metadata={**counts, "version": version}, data_version=dg.DataVersion(version))

    return answer


def _describe(definition: Definition) -> str:
    parts = [f"{definition.title}. {definition.question}", definition.definition]
    parts += [f"Limits: {definition.limits}"] if definition.limits else []
    parts += [f"`{p.name}` = {p.default}: {p.meaning}" for p in definition.params]
    return "\n\n".join(part for part in parts if part)


def _find_version(reader: Warehouse, digest: str) -> str:
    """What Dagster shows of a digest: it stays as long as the digest does, and confirms no guess of the rows.

    Without the lake's secret it is the snapshot, so that whatever follows is made again with each.
    """
    return compute_keyed_digest(reader.con, reader.location, digest) or f"snapshot {reader.snapshot.number}"


def _count_patients(cohort: Cohort) -> metadata.Metadata:
    """How many patients are left after each step; with exact counts also how many studies and images."""
    base = load_suppress()
    steps = cohort.steps(suppress=base)
    names = ("patients",) if base else ("patients", "studies", "images")
    table = metadata.render_table(
        ("step", "meaning", *names), [(s.step, s.meaning, *(s.counts[name] for name in names)) for s in steps]
    )
    return {**{name: n for name in names if (n := steps[-1].counts[name]) is not None}, "attrition": table}


def _build_manifest(definition: Definition, deployment: Deployment) -> dg.AssetsDefinition:  # noqa: ARG001
    # A manifest has the images of those whom the answer names: it changes with them though the answer be the same.
    deps: Sequence[dg.AssetKey] = [dg.AssetKey(["cohorts", definition.name]), views.find_key("images")]

    @dg.asset(
        key=["manifests", definition.name],
        deps=deps,
        group_name="manifests",
        kinds={"file", "parquet"},
        owners=OWNERS,
        description=f"The objects behind {definition.name}, ready to verify and reproduce: a folder under "
        "CHEST_MANIFESTS, named by the snapshot. The same digest as the newest there: nothing is written.",
        automation_condition=_rerun_when(
            dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed())
        ),
        pool=POOL,
    )
    def manifest(context: dg.AssetExecutionContext, chest: ChestWarehouse) -> dg.MaterializeResult[None]:
        with chest.reading(context, leaves=True) as reader, retry_when_healing(context):
            shelved = store_manifest(reader, definition.name, chest.folder, chest.settings)
            version = _find_version(reader, shelved.manifest.digest)
        context.log.info(f"{'written' if shelved.is_new else 'unchanged'}: {shelved.manifest.folder.name}")
        base, counts = load_suppress(), shelved.manifest.about["counts"]
        return dg.MaterializeResult(
            metadata={
                "version": version,
                "patients": round_count(counts["patients"], base),
                **({} if base else {"images": counts["images"]}),
                "path": dg.MetadataValue.path(shelved.manifest.folder.absolute()),
                "is_new": shelved.is_new,
                "snapshot": shelved.manifest.about["snapshot"],
            },
            data_version=dg.DataVersion(version),
        )

    return manifest
