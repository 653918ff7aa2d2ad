"""Compares two manifests: what was asked, and which objects were added, changed or removed."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warehouse.engine import sql_files
from warehouse.engine.faults import explain_faults
from warehouse.manifests.contents import connect
from warehouse.manifests.manifest import Manifest
from warehouse.settings import Settings, load_settings

if TYPE_CHECKING:
    import pyarrow as pa

#: What was asked: the words for it, and its path in manifest.json.
_ASKED = {
    "cohort": ("cohort", "name"),
    "SQL": ("cohort", "sql_sha256"),
    "parameters": ("cohort", "parameters"),
    "split": ("split",),
    "as of": ("as_of",),
    "group": ("group",),
    "snapshot": ("snapshot",),
    "objects": ("objects",),
    "sources": ("sources",),
}


@dataclass(frozen=True, slots=True)
class Difference:
    """How two manifests differ. `objects` has the change, key, object, patient_id and detail of each."""

    is_same: bool  # the content digests
    asked: dict[str, tuple[Any, Any]]
    counts: dict[str, int]
    objects: pa.Table

    @property
    def is_unchanged(self) -> bool:
        """Whether no object was added, changed or removed, etags included, which the digest does not cover."""
        return self.is_same and not self.objects.num_rows


@explain_faults()
def compare_manifests(old: Manifest, new: Manifest, settings: Settings | None = None) -> Difference:
    """Compare two manifests by their keys, in whatever buckets; ManifestError if one was altered."""
    sql = sql_files.read_statements("manifests/compare.sql")
    with contextlib.closing(connect(settings or load_settings(), old.contents, new.contents)) as con:
        both = [label for label in old.labels if label in new.labels]
        changes = ", ".join(
            sql_files.fill(sql["label"], name=sql_files.literal(label), label=sql_files.identifier(label))
            for label in both
        )
        con.execute(
            sql_files.fill(
                sql["compared"],
                old=_render_rows_query(old, both),
                new=_render_rows_query(new, both),
                changes=changes or "null",
            )
        )
        counts = dict(con.execute(sql["counts"]).fetchall())
        objects = con.execute(sql["differences"]).to_arrow_table()
    return Difference(
        is_same=old.digest == new.digest,
        asked={
            words: (before, after)
            for words, before, after in [
                *(
                    (words, _find_value(old.about, path), _find_value(new.about, path))
                    for words, path in _ASKED.items()
                ),
                ("tables", _list_digests(old), _list_digests(new)),
            ]
            if before != after
        },
        counts={name: counts.get(name, 0) for name in ("same", "added", "changed", "removed")},
        objects=objects,
    )


def _render_rows_query(manifest: Manifest, labels: list[str]) -> str:
    """Render the query for the rows; labels as text, because their types may differ between the manifests."""
    named = [sql_files.identifier(label) for label in labels]
    texts = "".join(f", cast({label} as varchar) as {label}" for label in named)
    return sql_files.fill(
        sql_files.read_statements("manifests/compare.sql")["rows"], rows=manifest.contents.rows, labels=texts
    )


def _list_digests(manifest: Manifest) -> dict[str, str]:
    """The digests of the tables that the cohort read, by name."""
    return {table["name"]: table["digest"] for table in manifest.about.get("tables", ())}


def _find_value(about: dict[str, Any], path: tuple[str, ...]) -> Any:
    found: Any = about
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found
