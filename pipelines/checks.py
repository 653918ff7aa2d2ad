"""The rules of sql/checks as asset checks on the tables and views they name.

Blocking ones are run by the library before it publishes, and `published` reports them; the others are run after it, on
what readers see, and the report of the snapshot is written from what they found.
"""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

from pipelines import metadata, views
from pipelines.deployment import PUBLISHED, Deployment
from pipelines.resources import ChestWarehouse
from warehouse import quality_report
from warehouse.catalog import columns, dicom_dictionary
from warehouse.cleaning import tables
from warehouse.disclosure_control import format_rounded, round_count
from warehouse.filesystem import files
from warehouse.query import checks
from warehouse.query.checks import Check, Result, Severity
from warehouse.settings import load_suppress

#: The step of the checks that are asked after publishing, and that of those the library asks before.
QUALITY, STRUCTURE = "quality", "structure"
#: Rows of a check that its summary counts.
_MOST = 100_000
#: Columns whose words may be shown when they are declared ones: names of attributes, columns, tables, rules.
_SHOWN = (
    "source",
    "table_name",
    "fault",
    "kind",
    "attribute",
    "column_name",
    "field",
    "what",
    "looks_like",
    "Modality",
)
_MODALITIES = ("CR", "DX", "CT", "MR")


def find_asset(check: Check, deployment: Deployment) -> dg.AssetKey:
    """The asset of the table or view that a check names; for a table that several sources fill, `published`."""
    if check.table not in views.STEP_OF:
        return views.find_key(check.table)
    return PUBLISHED if deployment.sources else deployment.key(views.STEP_OF[check.table])


def build(deployment: Deployment) -> list[dg.AssetChecksDefinition]:
    """Build two steps: `quality` runs all checks but the blocking ones; `structure`, started by hand, runs those."""
    return [_build_step(name, deployment) for name in (QUALITY, STRUCTURE)]


def _list_checks(step: str) -> list[Check]:
    """List the checks of a step, most severe first."""
    is_blocking = step == STRUCTURE
    return [c for c in checks.load_definitions().values() if (c.severity is Severity.BLOCKING) == is_blocking]


def list_keys(deployment: Deployment, step: str) -> list[dg.AssetCheckKey]:
    """The checks of a step, as Dagster names them."""
    return [dg.AssetCheckKey(find_asset(check, deployment), check.name) for check in _list_checks(step)]


def build_spec(check: Check, deployment: Deployment) -> dg.AssetCheckSpec:
    """A check as Dagster's catalogue shows it."""
    asset = find_asset(check, deployment)
    return dg.AssetCheckSpec(
        check.name,
        asset=asset,
        description=f"{check.title}. {check.meaning}",
        additional_deps=[] if asset == PUBLISHED else [PUBLISHED],
        metadata={"severity": str(check.severity), "table": check.table, "SQL": _render_sql(check)},
    )


def _render_sql(check: Check) -> dg.MetadataValue:
    return metadata.render_code(check.sql)


def _build_step(name: str, deployment: Deployment) -> dg.AssetChecksDefinition:
    wanted = _list_checks(name)

    @dg.multi_asset_check(
        name=name,
        specs=[build_spec(check, deployment) for check in wanted],
        can_subset=True,
        description="Checks the data that readers see.",
    )
    def ask(context: dg.AssetCheckExecutionContext, chest: ChestWarehouse) -> Iterator[dg.AssetCheckResult]:
        chosen = {key.name for key in context.selected_asset_check_keys}
        with chest.reading(context, leaves=chest.shows_more) as reader:
            results = []
            for check in wanted:
                if check.name in chosen:
                    (result,) = checks.run_checks(reader, check.name, limit=_MOST)
                    results.append(result)
                    yield _to_result(result, deployment)
            if name == QUALITY and len(results) == len(wanted):
                path = find_report_path(chest.folder, reader.snapshot.number)
                files.make_folder(path.parent)
                quality_report.write_report(reader, path, load_suppress(), [*list_passed_results(), *results])
        found = sum(result.n_rows > 0 for result in results)
        context.log.info(f"{len(results)} checks, {found} with faults")

    return ask


def find_report_path(folder: Path, snapshot: int) -> Path:
    """The path of the quality report of a snapshot."""
    return (folder / "reports" / f"{snapshot}.html").absolute()


def list_passed_results() -> tuple[Result, ...]:
    """The results of the blocking checks of a published snapshot: no rows, or it would not be published."""
    import pyarrow as pa

    return tuple(Result(check, 0, pa.table({})) for check in _list_checks(STRUCTURE))


def build_evaluation(instance: dg.DagsterInstance, deployment: Deployment, result: Result) -> dg.AssetCheckEvaluation:
    """The result of a blocking check, as an event that any step may log on the newest state of its asset."""
    found = _to_result(result, deployment)
    assert found.asset_key is not None
    assert found.check_name is not None
    event = instance.get_latest_materialization_event(found.asset_key)
    records = instance.fetch_materializations(found.asset_key, limit=1).records if event else []
    target = (
        AssetCheckEvaluationTargetMaterializationData(
            storage_id=records[0].storage_id, run_id=records[0].run_id, timestamp=records[0].timestamp
        )
        if records
        else None
    )
    return dg.AssetCheckEvaluation(
        asset_key=found.asset_key,
        check_name=found.check_name,
        passed=found.passed,
        metadata=found.metadata,
        severity=found.severity,
        description=found.description,
        target_materialization_data=target,
        blocking=False,
    )


def _to_result(result: Result, deployment: Deployment) -> dg.AssetCheckResult:
    """The result as Dagster shows it: with rounded counts, of how many patients the rows are, and no summary."""
    check, base = result.check, load_suppress()
    n = result.n_patients
    counted: dict[str, int] = {}
    if not base:
        counted = {"rows": result.n_rows}
        found = f"{result.n_rows:,} rows"
    elif n is None:
        found = "rows"
    else:
        counted = {"patients": round_count(n, base)}
        found = f"rows of {format_rounded(round_count(n, base), base)} patients"
    is_warning = check.severity is Severity.WARNING
    return dg.AssetCheckResult(
        passed=result.n_rows == 0,
        asset_key=find_asset(check, deployment),
        check_name=check.name,
        severity=dg.AssetCheckSeverity.WARN if is_warning else dg.AssetCheckSeverity.ERROR,
        description=found if result.n_rows else "no rows",
        metadata={**counted, "SQL": _render_sql(check), **({} if base else _summarize_rows(result))},
    )


def _summarize_rows(result: Result) -> dict[str, dg.MetadataValue]:
    """Count the rows by what is wrong, in declared words only: anything else is `other`."""
    shown = [name for name in _SHOWN if name in result.rows.column_names]
    if not shown or not result.n_rows:
        return {}
    known = _list_declared_words() | set(re.findall(r"'([^']*)'", result.check.sql))
    rows = zip(*(result.rows.column(name).to_pylist() for name in shown), strict=True)
    counts = Counter(
        tuple(_mask_value(name, word, known) for name, word in zip(shown, row, strict=True)) for row in rows
    )
    listed = [(*words, count) for words, count in counts.most_common(50)]
    return {"summary": metadata.render_table((*shown, "rows"), listed)}


def _mask_value(column: str, word: object, known: set[str]) -> str:
    if word is None:
        return "–"
    if column == "source":
        return str(word)
    return str(word) if str(word) in known else "other"


@cache
def _list_declared_words() -> set[str]:
    relations = columns.load_relations().values()
    words = {relation.name for relation in relations} | {c.name for r in relations for c in r.columns}
    words |= {key for c in columns.list_record_columns() for key in (c.source, *c.other_keys)}
    words |= {row["rule"] for row in tables.read_rows("rules")} | {row[0] for row in dicom_dictionary.list_attributes()}
    return words | {*_MODALITIES, "header", "dcm", "clinical", "other"}
