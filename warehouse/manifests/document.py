"""Reads manifest.json as untrusted input: its text, JSON and schema are checked before it is used."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

from warehouse.cohorts.split import COLUMN
from warehouse.engine.names import check_names
from warehouse.errors import ManifestError

#: The format number of manifest.json; later formats are refused.
FORMAT = 4
#: That of a manifest of a lake without a log of access: nothing in it needs a later version.
FORMAT_WITHOUT_ACCESS = 3
#: The last format without a seal.
UNSEALED_FORMAT = 1
SCHEMA = "manifest.schema.json"

#: More than any manifest.json has, because it does not list objects.
MOST_BYTES = 64 << 20
#: The most values in it: each takes many times the memory of its text.
_MOST_VALUES = 2_000_000
#: The most characters of the file that a message repeats.
_SHOWN = 160


@cache
def read_schema() -> str:
    """Read the JSON Schema of manifest.json."""
    return resources.files("warehouse.manifests").joinpath(SCHEMA).read_text(encoding="utf-8")


def parse_document(content: bytes, path: Path) -> dict[str, Any]:
    """Parse manifest.json from its bytes; ManifestError has the path of the invalid value."""
    about = _parse_json(content, path)
    number = about.get("format") if isinstance(about, dict) else None
    if type(number) is not int:
        raise ManifestError(f"{path} is not that of a manifest: it has no format number. Choose another folder.")
    if number > FORMAT:
        raise ManifestError(
            f"{path} is of format {number}; this version reads formats up to {FORMAT}. Install a later version."
        )
    if problem := _find_problem(about):
        raise ManifestError(f"{path} is not valid: {problem}. Get the manifest again from its sender.")
    found: dict[str, Any] = about
    return found


def _parse_json(content: bytes, path: Path) -> Any:
    if len(content) > MOST_BYTES:
        raise ManifestError(f"{path} is larger than {MOST_BYTES >> 20} MiB, the limit for a manifest.")
    if sum(map(content.count, (b",", b"[", b"{"))) > _MOST_VALUES:  # few commas are in texts
        raise ManifestError(f"{path} has more than {_MOST_VALUES:,} values, the limit for a manifest.")
    try:
        text = content.decode("utf-8")
        about = json.loads(
            text, object_pairs_hook=_refuse_duplicates, parse_constant=_refuse_constant, parse_float=_parse_finite
        )
        json.dumps(about, ensure_ascii=False).encode()  # refuses half a surrogate pair
    except RecursionError:
        problem = "it is nested too deeply"
    except UnicodeError:
        problem = "it is not valid UTF-8"
    except ValueError as error:
        problem = escape_for_message(str(error))
    else:
        return about
    raise ManifestError(f"{path} cannot be read: {problem}. Get the manifest again from its sender.")


def _refuse_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has the same name twice")
    return found


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")


def _parse_finite(word: str) -> float:
    number = float(word)
    return number if math.isfinite(number) else _refuse_constant(word)


def _find_problem(about: dict[str, Any]) -> str:
    """Return the first violation of the schema, or of rules that it cannot express, else ""."""
    if error := next(_create_validator().iter_errors(about), None):
        return f"{escape_for_message(error.json_path)}: {escape_for_message(error.message)}"
    cohort = about["cohort"]
    if wrong := check_names(cohort["labels"], "label") or check_names(cohort["parameters"], "parameter"):
        return wrong[0].rstrip(".")
    if problem := _find_wrong_tables(about):
        return problem
    if hashlib.sha256(cohort["sql"].encode()).hexdigest() != cohort["sql_sha256"]:
        return "$.cohort.sql_sha256 does not match $.cohort.sql"
    if "split" in about and COLUMN not in cohort["labels"]:
        return "$.split has the rule of a label that $.cohort.labels lacks"
    if len(about["without_images"]) != about["counts"]["rows_without_images"]:
        return "$.counts.rows_without_images is not the length of $.without_images"
    return ""


def _find_wrong_tables(about: dict[str, Any]) -> str:
    """Return what is wrong with the names of tables and their columns, or with a copy of no table, else ""."""
    tables = about.get("tables", [])
    wrong = check_names((table["name"] for table in tables), "table")
    for table in tables:
        wrong += check_names(table["columns"], "column")
    if wrong:
        return wrong[0].rstrip(".")
    known = {f"table_{table['name']}.parquet" for table in tables}
    stray = [name for name in about["files"] if name.startswith("table_") and name not in known]
    return f"$.files has {stray[0]}, a copy of no table in $.tables" if stray else ""


@cache
def _create_validator() -> Any:
    """Create the validator; floats are not accepted as integers, and dates and times are parsed."""
    import jsonschema

    def is_integer(_: object, value: object) -> bool:
        return type(value) is int

    draft = jsonschema.Draft202012Validator
    strict = jsonschema.validators.extend(draft, type_checker=draft.TYPE_CHECKER.redefine("integer", is_integer))
    formats = jsonschema.FormatChecker(())
    formats.checks("date", ValueError)(lambda text: not isinstance(text, str) or bool(date.fromisoformat(text)))
    formats.checks("date-time", ValueError)(
        lambda text: not isinstance(text, str) or bool(datetime.fromisoformat(text))
    )
    return strict(json.loads(read_schema()), format_checker=formats)


def escape_for_message(text: str, most: int = _SHOWN) -> str:
    """Prepare untrusted text for a message: on one line, control characters escaped, truncated."""
    cut = text if len(text) <= most else f"{text[:most]}…"
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in cut)


def to_utc(time: datetime) -> str:
    """Format a time as in manifest.json."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
