"""Searches an index, and writes the results as DICOM JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warehouse.engine import sql_files
from warehouse.service.dicomweb import dicom_json, headers
from warehouse.service.dicomweb.attributes import LEVELS, Attribute
from warehouse.service.dicomweb.index import Index, find_patient, load
from warehouse.service.dicomweb.matching import Conditions, build_conditions
from warehouse.service.dicomweb.search_query import SearchQuery

if TYPE_CHECKING:
    from warehouse.api import Warehouse

#: The UIDs of a path, by the level of what lies below them.
Path = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """The results of a search, and whether there are more than the page that was asked for."""

    results: list[dict[str, Any]]
    has_more: bool = False


def search(warehouse: Warehouse, index: Index, query: SearchQuery, path: Path, most: int, base: str) -> Found:
    """Search for at most `most` results; `base` is the address that the results are retrieved below."""
    conditions = build_conditions(query.matches)
    patient = find_patient(warehouse, index, path["StudyInstanceUID"]) if "StudyInstanceUID" in path else None
    if patient is None and path:
        return Found([])
    if query.level == "instance":
        text = _ask_for_instances(index, query.returned, conditions, path, patient)
    else:
        for keyword, uid in path.items():
            conditions.add("one of", f"{_TABLES[query.level]}.{sql_files.identifier(keyword)}", [uid])
        template = load("search")["studies" if query.level == "study" else "series"]
        text = sql_files.fill(template, studies=index.studies, series=index.series, conditions=conditions.to_sql())
    values = {**conditions.values, "most": most + 1, "skipped": query.offset}
    asked = warehouse.con.execute(text, values)
    names = [column[0] for column in asked.description or ()]
    rows = [dict(zip(names, row, strict=True)) for row in asked.fetchall()]
    kept = rows[:most]
    more = _read_more(warehouse, query, kept)
    return Found(_write_results(query, kept, base, more), has_more=len(rows) > most)


_TABLES = {"study": "studies", "series": "series"}


def _ask_for_instances(
    index: Index, returned: Iterable[Attribute], conditions: Conditions, path: Path, patient: str | None
) -> str:
    """The search for instances: those of a study are found by its patient too, since files are sorted by patients."""
    of_path = Conditions(values=conditions.values)
    for keyword, uid in path.items():
        of_path.add("one of", sql_files.identifier(keyword), [uid])
    if patient:
        of_path.add("one", sql_files.identifier("patient_id"), patient)
    names = {"study": "studies", "series": "series", "instance": "images"}
    columns = "".join(
        f", {names[attribute.level]}.{sql_files.identifier(attribute.column)}"
        for attribute in returned
        if attribute.column not in ("patient_id", "InstanceAvailability")
    )
    return sql_files.fill(
        load("search")["instances"],
        studies=index.studies,
        series=index.series,
        columns=columns,
        conditions_of_path=of_path.to_sql(),
        is_member=index.is_member,
        conditions=conditions.to_sql(),
    )


def _read_more(warehouse: Warehouse, query: SearchQuery, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Attributes that only headers have: of the image, or the first image of the study or series."""
    if not query.from_headers or not rows:
        return [{} for _ in rows]
    places = [(row["patient_id"], row["source"], row["key"]) for row in rows]
    found = headers.read_headers(warehouse, places)
    wanted = query.from_headers
    return [
        headers.rewrite_items({tag: header[tag] for tag in wanted if tag in header}, "")
        for header in (json.loads(found.get(place[1:], "{}")) for place in places)
    ]


def _write_results(query: SearchQuery, rows: list[dict[str, Any]], base: str, more: list[dict[str, Any]]) -> list[Any]:
    """The results: the attributes of each by tag, in order."""
    writers = [(each.tag, each.column, dicom_json.choose_writer(each)) for each in query.returned]
    columns = dict(zip(("studies", "series", "instances"), _UIDS[: 1 + LEVELS.index(query.level)], strict=False))
    results = []
    for row, added in zip(rows, more, strict=True):
        found = {tag: write(row[column]) for tag, column, write in writers}
        segments = "".join(f"/{name}/{row[column]}" for name, column in columns.items())
        found["00081190"] = {"vr": "UR", "Value": [f"{base}{segments}"]}
        results.append(dict(sorted({**added, **found}.items())))
    return results


_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
