"""Searches an index, and writes the results as DICOM JSON."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from warehouse.engine import limits, sql_files
from warehouse.service.dicomweb import dicom_json, headers
from warehouse.service.dicomweb.attributes import LEVELS, Attribute, Level
from warehouse.service.dicomweb.index import Index, find_patient
from warehouse.service.dicomweb.matching import Conditions, build_conditions, quote_column
from warehouse.service.dicomweb.search_query import SearchQuery
from warehouse.service.dicomweb.studies import write_path

if TYPE_CHECKING:
    from warehouse.api import Warehouse

#: The UIDs of a path, by the level of what lies below them.
Path = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """The results of a search as JSON, how many, and whether there are more than the page that was asked for."""

    body: bytes = b"[]"
    n_results: int = 0
    has_more: bool = False

    @property
    def n_bytes(self) -> int:
        """What it takes in memory."""
        return len(self.body)


def search(warehouse: Warehouse, index: Index, query: SearchQuery, path: Path, most: int, base: str) -> Found:
    """Search for at most `most` results; `base` is the address that the results are retrieved below."""
    rows = _find_series(index, query, path, most)
    if rows is None:
        rows = _select(warehouse, index, query, path, most)
    kept = rows[:most]
    more = _read_more(warehouse, query, kept)
    body = json.dumps(_write_results(query, kept, base, more), ensure_ascii=False).encode()
    return Found(body, len(kept), has_more=len(rows) > most)


def _select(warehouse: Warehouse, index: Index, query: SearchQuery, path: Path, most: int) -> list[dict[str, Any]]:
    """The rows of a page of results, and one more if there are more."""
    conditions = build_conditions(query.matches, query.level)
    of_path = conditions if query.level != "instance" else Conditions(values=conditions.values)
    for keyword, uid in path.items():
        of_path.add("one", sql_files.identifier(keyword), uid)
    if path and query.level == "instance":  # files are sorted by patients
        patient = find_patient(warehouse, index, path["StudyInstanceUID"])
        if patient is None:
            return []
        of_path.add("one", sql_files.identifier("patient_id"), patient)
    skipped, is_of_study = query.offset, bool(path) and query.level == "series"
    if query.level == "instance" and not path and not query.matches:  # all of them: files are sorted by patients
        page = _find_page(warehouse, index, skipped, most + 1)
        if page is None:
            return []
        first, last, n_before = page
        of_path.add("from", sql_files.identifier("patient_id"), first)
        of_path.add("until", sql_files.identifier("patient_id"), last)
        skipped -= n_before
    text = sql_files.fill(
        sql_files.read_statements("dicomweb/search.sql")["series within" if is_of_study else _STATEMENTS[query.level]],
        studies=index.studies,
        series=index.series,
        **dict.fromkeys(_COLUMNS, _list_columns(query.returned, query.level)),
        conditions_of_path=of_path.to_sql(),
        is_member=index.is_member,
        conditions=conditions.to_sql(),
    )
    is_large = query.level == "instance" and not path
    with _limit(warehouse) if is_large else contextlib.nullcontext():
        page_of = {} if is_of_study else {"most": most + 1, "skipped": skipped}
        asked = warehouse.con.execute(text, {**conditions.values, **page_of})
        names = [column[0] for column in asked.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in asked.fetchall()]
    if is_of_study:
        rows = sorted(rows, key=_order_series)[skipped : skipped + most + 1]
    return rows


def _find_series(index: Index, query: SearchQuery, path: Path, most: int) -> list[dict[str, Any]] | None:
    """The same of the series of a study, if they and what is asked of them are in memory; None otherwise."""
    is_plain = index.rows and query.level == "series" and path and not query.from_headers
    if not is_plain or build_conditions(query.matches, query.level).texts:
        return None
    assert index.rows is not None
    names = [attribute.column for attribute in query.returned]
    if not all(name in index.rows.columns for name in names):
        return None
    return index.rows.find(path["StudyInstanceUID"], names)[query.offset : query.offset + most + 1]


def _limit(warehouse: Warehouse) -> AbstractContextManager[None]:
    return limits.limit_resources(replace(warehouse.settings, sql_seconds=_SECONDS), warehouse.con)


def _order_series(row: Mapping[str, Any]) -> tuple[bool, int, str]:
    """The key that sorts the series of a study as a search for all series does."""
    return row["SeriesNumber"] is None, row["SeriesNumber"] or 0, row["SeriesInstanceUID"]


def _find_page(warehouse: Warehouse, index: Index, skipped: int, most: int) -> tuple[str, str, int] | None:
    """The first and the last patient of a page of all instances, and how many instances stand before theirs."""
    text = sql_files.fill(sql_files.read_statements("dicomweb/search.sql")["page"], studies=index.studies)
    row = warehouse.con.execute(text, {"skipped": skipped, "most": most}).fetchone()
    return None if row is None or row[0] is None else (str(row[0]), str(row[1]), int(row[2]))


#: What a search for instances of all studies by an attribute may take: it reads every image.
_SECONDS = 60.0
_COLUMNS = ("columns_of_studies", "columns_of_series", "columns_of_images")
_STATEMENTS = {"study": "studies", "series": "series", "instance": "instances"}


@lru_cache
def _list_columns(returned: tuple[Attribute, ...], level: Level) -> str:
    """The columns of what is returned, after those that every search has."""
    columns = (quote_column(attribute, level) for attribute in returned if attribute.column != "patient_id")
    return "".join(f", {column}" for column in columns)


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
    writers = _choose_writers(query.returned)
    columns = _UIDS[: 1 + LEVELS.index(query.level)]
    results = []
    for row, added in zip(rows, more, strict=True):
        row[_ADDRESS] = f"{base}{write_path(row[column] for column in columns)}"
        found = {tag: write(row[column]) for tag, column, write in writers}
        results.append(dict(sorted({**added, **found}.items())) if added else found)
    return results


@lru_cache
def _choose_writers(returned: tuple[Attribute, ...]) -> list[tuple[str, str, Callable[[Any], dict[str, Any]]]]:
    """What writes each attribute, in order: its tag, its column, and the function."""
    writers = [(each.tag, each.column, dicom_json.choose_writer(each)) for each in returned]
    writers.append((_RETRIEVE_URL, _ADDRESS, lambda address: {"vr": "UR", "Value": [address]}))
    return sorted(writers, key=lambda writer: writer[0])


_RETRIEVE_URL, _ADDRESS = "00081190", "RetrieveURL"
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
