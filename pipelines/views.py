"""The views as assets that nothing runs: what users query, what it is made of, and when it last changed."""

import dagster as dg

from pipelines import metadata
from pipelines.deployment import OWNERS, PUBLISHED, Deployment
from warehouse.catalog import columns, public_views, view_lineage
from warehouse.engine import sql_files

#: The step whose asset stands for a table that views read.
STEP_OF = {
    "core.images": "images",
    "raw.headers": "images",
    "core.clinical": "clinical",
    "core.clinical_issues": "clinical",
    "raw.records": "clinical",
    "raw.objects": "objects",
    "ops.rejects": "objects",
}


def find_key(view: str) -> dg.AssetKey:
    """The asset of a view."""
    return dg.AssetKey(["views", view])


def build(deployment: Deployment) -> list[dg.AssetSpec]:
    """A spec for each view: published, it is what readers see, so it depends on `published` besides what it reads."""
    return [_build_spec(view, deployment) for view in public_views.VIEW_ORDER]


def _build_spec(view: str, deployment: Deployment) -> dg.AssetSpec:
    deps = [
        PUBLISHED,
        *(find_key(name) for name in view_lineage.find_relations_read(view) if name in public_views.VIEW_ORDER),
    ]
    for name in view_lineage.find_relations_read(view):
        if name in STEP_OF:
            deps += [deployment.key(STEP_OF[name], source) for source in deployment.names]
    return dg.AssetSpec(
        find_key(view),
        deps=deps,
        group_name="views",
        kinds={"duckdb", "view"},
        owners=OWNERS,
        description=columns.load_relations()[view].meaning,
        metadata={
            **metadata.describe_relation(view),
            **metadata.find_column_lineage(view),
            "SQL": metadata.render_code(sql_files.read(public_views.find_view_file(view))),
        },
    )


def build_change_event(view: str, snapshot: int, number: int) -> dg.AssetMaterialization:
    """That a view may answer otherwise since the snapshot published with this number; the number is its version."""
    return dg.AssetMaterialization(
        find_key(view),
        metadata={"snapshot": snapshot, "dagster/row_count": number, **metadata.find_column_lineage(view)},
        tags={"dagster/data_version": str(snapshot)},
    )
