"""Tiny buckets written as tables in a test, loaded by a real refresh: the rows in the test are all there is."""

import json
from datetime import date
from pathlib import Path

from conftest import start_lake, write_objects

import warehouse

_TAGS = {
    "image": "00080018",
    "study": "0020000D",
    "series": "0020000E",
    "day": "00080020",
    "modality": "00080060",
    "view": "00185101",
    "description": "0008103E",
    "protocol": "00181030",
    "type": "00080008",
    "runs": "00200020",
    "header_age": "00101010",
    "body": "00180015",
    "words": "00081030",
    "maker": "00080070",
    "model": "00081090",
    "sex": "00100040",
}
#: Columns of a table of records and their keys in the clinical file; days are written as the centres do.
_FIELDS = {
    "centre": "SubmittingCentre",
    "swab": "SwabDate",
    "swab_status": "SwabStatus",
    "swabs": "SwabDates",
    "positive_swab": "Date of Positive Covid Swab",
    "pcr": "1st RT-PCR result",
    "pcr_day": "Date of acquisition of 1st RT-PCR",
    "pcr_2": "2nd RT-PCR result",
    "pcr_2_day": "Date of acquisition of 2nd RT-PCR",
    "final": "Final COVID Status",
    "admitted": "Date of admission",
    "itu": "ITU admission",
    "itu_on": "Date of ITU admission",
    "intubated": "Intubation",
    "intubated_on": "Date of intubation",
    "death": "Death",
    "died_on": "Date of death",
    "alive_on": "Date last known alive",
    "age": "Age",
    "sex": "Sex",
    "cxr_1": "Date of 1st CXR",
    "code_1": "COVID CODE",
    "cxr_2": "Date of 2nd CXR",
    "code_2": "COVID CODE 2",
}
_DAYS = {name for name in _FIELDS if _FIELDS[name].startswith("Date")}


def parse_rows(table: str) -> list[dict[str, str]]:
    """Parse the rows of a table whose cells `|` separates; a blank cell is left out."""
    lines = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]
    return [{name: cell for name, cell in zip(lines[0], line, strict=True) if cell} for line in lines[1:]]


def build_objects(films: str, records: str) -> dict[str, bytes | str]:
    """Build the objects, in the dated layout, of tables of films and clinical records.

    A film is of a study and series of its own unless the table names them, is a CR of the chest, from AP, and was
    uploaded on its day; its SOPInstanceUID is its name unless the table has `sop`. A record with a column swab or swabs
    (`2020-04-05 0, 2020-04-06 2`) is that of a negative patient.
    """
    found: dict[str, bytes | str] = {}
    for row in parse_rows(films):
        name = row["image"]
        row["image"] = row.pop("sop", name)
        given = {"study": f"s{name}", "series": f"e{name}", "modality": "CR", "view": "AP", "body": "CHEST", **row}
        uploaded = given.pop("uploaded", given.get("day", ""))
        tags = {
            _TAGS[key]: {"Value": _split_values(key, value)}
            for key, value in given.items()
            if key in _TAGS and value not in ("", "none")
        }
        found[f"training/{row['patient']}/images_metadata/{uploaded}/{name}.json"] = json.dumps(tags)
    for row in parse_rows(records):
        given = dict(row)
        patient, uploaded = given.pop("patient"), given.pop("uploaded")
        if "swab" in given:
            given = {"swab_status": "0", **given}
        fields = {_FIELDS[name]: _build_value(name, value) for name, value in given.items()}
        found[f"training/{patient}/data/{uploaded}/data.json"] = json.dumps(fields)
    return found


def _split_values(key: str, value: str) -> list[str]:
    if key in ("type", "runs"):
        return value.split("/")
    return [value.replace("-", "") if key == "day" else value]


def _build_value(name: str, value: str) -> str | list[dict[str, object]]:
    if name == "swab":
        return date.fromisoformat(value).strftime("%d/%m/%Y")
    if name == "swabs":
        swabs = (item.split(maxsplit=1) for item in value.split(","))
        return [{"SwabDate": _build_value("swab", day), "SwabStatus": status} for day, status in swabs]
    return date.fromisoformat(value).strftime("%m/%d/%y") if name in _DAYS else value


def build_lake(folder: Path, films: str, records: str = "patient | uploaded") -> warehouse.Warehouse:
    """Build a lake of films and records, and open it for cohorts."""
    write_objects(folder / "bucket", build_objects(films, records))
    warehouse.refresh(str(folder / "bucket"), str(start_lake(folder / "lake")), allow_removals=True)
    return warehouse.open(str(folder / "lake"), trusted=False)


def fetch_answer(wh: warehouse.Warehouse, cohort: str, *columns: str, **parameters: object) -> list[tuple[object, ...]]:
    """Fetch the named columns of a cohort's answer, sorted, with days as text."""
    found = wh.cohort(cohort, **parameters).rows.to_pylist()
    cells = (tuple(str(v) if isinstance(v, date) else v for v in (row[c] for c in columns)) for row in found)
    return sorted(cells, key=str)
