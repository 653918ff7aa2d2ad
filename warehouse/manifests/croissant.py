"""Describes a manifest in Croissant 1.1 (https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from warehouse.cohorts.split import COLUMN, Split
from warehouse.manifests.data_use import describe_condition
from warehouse.manifests.rows import COLUMNS
from warehouse.query.citation import cite_manifest

if TYPE_CHECKING:
    import duckdb

#: The terms that the specification's context abbreviates, as in appendix 1.
_TERMS = (
    *("annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "excludes", "extract"),
    *("field", "fileProperty", "fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath"),
    *("key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated", "replace", "readLines"),
    *("samplingRate", "sdVersion", "separator", "source", "subField", "transform", "unArchive", "value"),
)
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "duo": "http://purl.obolibrary.org/obo/DUO_",
    **{term: f"cr:{term}" for term in _TERMS},
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
}

_TYPES = {
    "BOOLEAN": "sc:Boolean",
    "DATE": "sc:Date",
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMP WITH TIME ZONE"), "sc:Date"),
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"), "sc:Integer"),
    **dict.fromkeys(("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"), "sc:Integer"),
    **dict.fromkeys(("FLOAT", "DOUBLE"), "sc:Float"),
}


def describe(
    manifest: dict[str, Any], con: duckdb.DuckDBPyConnection, conditions: Sequence[str] = ()
) -> dict[str, Any]:
    """Describe a manifest, whose rows are in table manifest_rows, in Croissant.

    `conditions` are codes of the Data Use Ontology and of diseases (data_use.parse_conditions).
    """
    rows = con.sql("from manifest_rows limit 0")
    types = dict(zip(rows.columns, map(str, rows.types), strict=True))
    meanings = {name: meaning for name, _, meaning in COLUMNS} | manifest["cohort"]["labels"]
    cohort, files = manifest["cohort"], manifest["files"]
    day = f", as of {manifest['as_of']}" if manifest["as_of"] else ""
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": cohort["name"],
        "description": (
            f"{cohort['title']}. {cohort['question']} "
            f"(Group {manifest['group']}{day}, snapshot {manifest['snapshot']}; content {manifest['digest']}.)"
        ).strip(),
        "url": "manifest.json",
        "license": "Access under the data access agreement of the database; not for redistribution.",
        "usageInfo": [describe_condition(code) for code in conditions],
        "creator": {"@type": "sc:Person", "name": manifest["created_by"]},
        "citeAs": cite_manifest(manifest).bibtex,
        "version": f"1.0.0+snapshot.{manifest['snapshot']}",
        "dateCreated": manifest["created_at"],
        "datePublished": manifest["created_at"][:10],
        "isLiveDataset": False,
        **_describe_provenance(manifest),
        "distribution": [
            _describe_file("manifest.csv", "text/csv", "The objects of the manifest, one per row.", files),
            _describe_file("manifest.parquet", "application/x-parquet", "The same rows with their types.", files),
            *([_IMAGES] if "dcm" in manifest["objects"] else []),
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "objects",
                "name": "objects",
                "description": "The objects behind the cohort's answer, sorted by key.",
                "key": {"@id": "objects/uri"},
                "field": [
                    _describe_field(name, kind, meanings.get(name, ""), is_label=name in cohort["labels"])
                    | (_TO_SPLITS if "split" in manifest and name == COLUMN else {})
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


#: The field of the sides refers to their record set.
_TO_SPLITS = {"references": {"field": {"@id": "splits/name"}}}
#: The images after `chest manifest download` into this folder. application/dicom is the registered type (RFC 3240).
_IMAGES = {
    "@type": "cr:FileSet",
    "@id": "images",
    "name": "images",
    "description": "The images, once downloaded beside this file.",
    "encodingFormat": ["application/dicom", "image/dicom"],
    "includes": "**/*.dcm",
}


def _describe_provenance(manifest: dict[str, Any]) -> dict[str, Any]:
    """Derived from a snapshot, generated by a cohort, as W3C PROV-O has these."""
    cohort, tool = manifest["cohort"], manifest["tool"]
    day = f", as of {manifest['as_of']}" if manifest["as_of"] else ""
    return {
        "prov:wasDerivedFrom": {
            "@type": "prov:Entity",
            "@id": f"urn:chest-data-warehouse:snapshot:{manifest['snapshot']}",
            "prov:label": f"Snapshot {manifest['snapshot']} of the lake, group {manifest['group']}{day}",
            "prov:generatedAtTime": manifest["snapshot_time"],
        },
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "prov:label": f"Cohort {cohort['name']}, SQL of SHA-256 {cohort['sql_sha256']}",
            "prov:endedAtTime": manifest["created_at"],
            "prov:wasAssociatedWith": {
                "@type": "prov:SoftwareAgent",
                "prov:label": f"{tool['name']} {tool['version']}, DuckDB {tool['duckdb']}",
            },
        },
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


def _describe_field(name: str, kind: str, meaning: str, *, is_label: bool) -> dict[str, Any]:
    of_values = "sc:Float" if kind.startswith("DECIMAL") else _TYPES.get(kind, "sc:Text")
    return {
        "@type": "cr:Field",
        "@id": f"objects/{name}",
        "name": name,
        "description": meaning or name,
        "dataType": [of_values, "cr:Label"] if is_label else of_values,
        "source": {"fileObject": {"@id": "manifest.csv"}, "extract": {"column": name}},
    }
