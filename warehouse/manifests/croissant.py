"""Describes a manifest in Croissant 1.0 (https://docs.mlcommons.org/croissant/docs/croissant-spec.html)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from warehouse.cohorts.split import COLUMN, Split
from warehouse.manifests.rows import COLUMNS

if TYPE_CHECKING:
    import duckdb

#: The context that the specification requires.
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}

_TYPES = {
    "BOOLEAN": "sc:Boolean",
    "DATE": "sc:Date",
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMP WITH TIME ZONE"), "sc:Date"),
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"), "sc:Integer"),
    **dict.fromkeys(("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"), "sc:Integer"),
    **dict.fromkeys(("FLOAT", "DOUBLE"), "sc:Float"),
}


def describe(manifest: dict[str, Any], con: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Describe a manifest, whose rows are in table manifest_rows, in Croissant."""
    rows = con.sql("from manifest_rows limit 0")
    types = dict(zip(rows.columns, map(str, rows.types), strict=True))
    meanings = {name: meaning for name, _, meaning in COLUMNS} | manifest["cohort"]["labels"]
    cohort, files = manifest["cohort"], manifest["files"]
    day = f", as of {manifest['as_of']}" if manifest["as_of"] else ""
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": cohort["name"],
        "description": (
            f"{cohort['title']}. {cohort['question']} "
            f"(Group {manifest['group']}{day}, snapshot {manifest['snapshot']}; content {manifest['digest']}.)"
        ).strip(),
        "url": "manifest.json",
        "license": "Access under the data access agreement of the database; not for redistribution.",
        "citeAs": f"chest data warehouse, cohort {cohort['name']}, {manifest['digest']}",
        "version": "1.0.0",
        "datePublished": manifest["created_at"][:10],
        "distribution": [
            _describe_file("manifest.csv", "text/csv", "The objects of the manifest, one per row.", files),
            _describe_file("manifest.parquet", "application/x-parquet", "The same rows with their types.", files),
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "objects",
                "name": "objects",
                "description": "The objects behind the cohort's answer, sorted by key.",
                "key": {"@id": "objects/uri"},
                "field": [
                    {
                        **_describe_field(name, kind, meanings.get(name, "")),
                        **(
                            {"references": {"field": {"@id": "splits/name"}}}
                            if "split" in manifest and name == COLUMN
                            else {}
                        ),
                    }
                    for name, kind in types.items()
                ],
            },
            *([_describe_splits(manifest["split"])] if "split" in manifest else []),
        ],
    }


def _describe_splits(rule: dict[str, Any]) -> dict[str, Any]:
    """The sides of the rule by which the rows were split, as the section "Splits" of the specification asks."""
    kinds = {"train": "cr:TrainingSplit", "tune": "cr:ValidationSplit"}
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "The sides of the split, and what each is for. A row without a side is on none of them.",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [
            {"@type": "cr:Field", "@id": "splits/name", "name": "name", "dataType": "sc:Text"},
            {"@type": "cr:Field", "@id": "splits/url", "name": "url", "dataType": ["sc:URL", "cr:Split"]},
        ],
        "data": [
            {"splits/name": side, "splits/url": kinds.get(side, "cr:TestSplit")} for side in Split.from_json(rule).sides
        ],
    }


def _describe_file(name: str, form: str, meaning: str, files: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "description": meaning,
        "contentUrl": name,
        "contentSize": f"{files[name]['bytes']} B",
        "encodingFormat": form,
        "sha256": files[name]["sha256"],
    }


def _describe_field(name: str, kind: str, meaning: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"objects/{name}",
        "name": name,
        "description": meaning or name,
        "dataType": "sc:Float" if kind.startswith("DECIMAL") else _TYPES.get(kind, "sc:Text"),
        "source": {"fileObject": {"@id": "manifest.csv"}, "extract": {"column": name}},
    }
