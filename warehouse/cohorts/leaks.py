"""Finds what is on two sides of a split: the same patient, the same image, or the same bytes under two names.

It reads the column `split` of an answer or a manifest, whoever made it. Rows without a side are on none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse.cohorts.division import register_rows
from warehouse.cohorts.header import Problem
from warehouse.cohorts.split import COLUMN
from warehouse.engine import sql_files
from warehouse.engine.names import fold_name
from warehouse.errors import SplitLeakError
from warehouse.text import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb

    from warehouse.cohorts.answer import CohortAnswer

#: The most examples in a message.
_SHOWN = 3
_WORDS = {"patient": "patient {}", "image": "SOPInstanceUID {}", "bytes": "equal bytes {}"}


@dataclass(frozen=True, slots=True)
class Leak:
    """A patient, an image (SOPInstanceUID) or two keys of equal bytes, and two of the sides that it is on."""

    what: str
    name: str
    one: str
    other: str

    def __str__(self) -> str:
        """The leak in words."""
        name = escape_controls(self.name, keep_lines=False)
        return f"{_WORDS[self.what].format(name)} on {self.one} and {self.other}"


def find_split(names: Iterable[str]) -> str | None:
    """The column of these that has the sides of a split, if there is one."""
    return next((name for name in names if fold_name(name) == COLUMN), None)


def find_leaks(cohort: CohortAnswer) -> list[Leak]:
    """What is on two sides of an answer's column `split`: in the images of its rows. None without that column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = find_split(cohort.rows.column_names)
    if not column:
        return []
    split = cohort.rows[column]
    text = pc.cast(split, pa.string()) if not pa.types.is_nested(split.type) else pa.array(map(str, split.to_pylist()))
    grain = sql_files.identifier(cohort.definition.grain_column)
    images = sql_files.fill(sql_files.read_statements("reports/split.sql")["images of"], grain=grain)
    with register_rows(cohort, cohort.rows, text) as con:
        return list_leaks(con, images)


def list_leaks(con: duckdb.DuckDBPyConnection, members: str) -> list[Leak]:
    """What is on two sides of a query with split, patient_id, SOPInstanceUID, etag, size and key."""
    query = sql_files.fill(sql_files.read_statements("reports/split.sql")["leaks"], members=members)
    return [Leak(*row) for row in con.execute(query).fetchall()]


def describe_leaks(leaks: Sequence[Leak], suppress: int = 0) -> str:
    """The first few leaks, in one line; with `suppress`, neither names of patients nor how many there are."""
    if suppress:
        kinds = {"patient": "a patient", "image": "a SOPInstanceUID", "bytes": "an image of equal bytes"}
        found = [word for what, word in kinds.items() if any(leak.what == what for leak in leaks)]
        return f"{' and '.join(found)} on two sides (--suppress 0 names them)"
    more = len(leaks) - _SHOWN
    return "; ".join(map(str, leaks[:_SHOWN])) + (f"; and {more:,} more" if more > 0 else "")


def find_problems(cohort: CohortAnswer, suppress: int = 0) -> list[Problem]:
    """The leaks of an answer's column `split`, as an error on the line of the final SELECT."""
    found = find_leaks(cohort)
    message = f"Its column split leaks: {describe_leaks(found, suppress)}. Put both on one side, or leave out one."
    return [Problem(cohort.definition.answer.line, message)] if found else []


def require_no_leaks(name: str, leaks: Sequence[Leak], suppress: int = 0) -> None:
    """SplitLeakError if there are any; it names them unless counts are rounded."""
    if leaks:
        raise SplitLeakError(
            f"The split of {name} leaks: {describe_leaks(leaks, suppress)}. "
            "Leave out one of them in the cohort, or put both on one side."
        )
