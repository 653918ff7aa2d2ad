"""Every name that Dagster knows of us: whoever links to an asset, alerts on a check or starts a job relies on it.

When a name is meant to change, write tests/data/pipelines_names.txt anew:

    python tests/pipelines/test_pipelines_names.py > tests/data/pipelines_names.txt
"""

from collections.abc import Iterator
from pathlib import Path

from pipelines.definitions import chest_definitions

EXPECTED = Path(__file__).parent.parent / "data" / "pipelines_names.txt"
DEPLOYMENTS = {
    "one source": {},
    "several sources": {"CHEST_SOURCES": "training=s3://a validation=s3://b"},
}


def names(environ: dict[str, str]) -> Iterator[str]:
    defs = chest_definitions(environ)
    graph = defs.resolve_asset_graph()
    for key in sorted(graph.get_all_asset_keys()):
        yield f"asset     {key.to_user_string()}"
    for check in sorted(graph.asset_check_keys, key=str):
        yield f"check     {check.asset_key.to_user_string()}: {check.name}"
    repository = defs.get_repository_def()
    for job in sorted(repository.job_names):
        if not job.startswith("__"):
            yield f"job       {job}"
    for schedule in sorted(s.name for s in repository.schedule_defs):
        yield f"schedule  {schedule}"
    for sensor in sorted(s.name for s in repository.sensor_defs):
        yield f"sensor    {sensor}"


def listing() -> str:
    return "\n".join(line for title, environ in DEPLOYMENTS.items() for line in (f"# {title}", *names(environ), ""))


def test_no_name_changes_unnoticed() -> None:
    assert listing().rstrip("\n").split("\n") == EXPECTED.read_text().rstrip("\n").split("\n")


if __name__ == "__main__":
    print(listing(), end="")
