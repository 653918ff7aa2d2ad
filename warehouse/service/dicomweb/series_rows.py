"""The series of each study as rows in memory: what viewers ask for most is found without a query.

DuckDB takes a millisecond for it, twice what all the rest of such a request takes. An index of very many series goes
without these rows, since they are not compressed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warehouse.engine import sql_files
from warehouse.service.dicomweb.attributes import map_attributes

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

#: The most series that rows are kept of; they take some 200 bytes each.
_MOST = 100_000
#: What is kept of the attributes that are known of a study, which would be the same for each of its series.
_OF_STUDY = ("StudyInstanceUID", "TimezoneOffsetFromUTC", "InstanceAvailability")


@dataclass(frozen=True, slots=True)
class SeriesRows:
    """Columns of series, sorted by study as a search sorts them; the studies in order, and where each begins."""

    columns: Mapping[str, pa.Array]
    studies: Sequence[str]
    starts: Sequence[int]

    def find(self, study: str, names: Sequence[str]) -> list[dict[str, Any]]:
        """These columns of the series of a study, a dictionary for each."""
        place = bisect_left(self.studies, study)
        if place == len(self.studies) or self.studies[place] != study:
            return []
        start, end = self.starts[place], self.starts[place + 1]
        values = [self.columns[name].slice(start, end - start).to_pylist() for name in names]
        return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def read_series_rows(con: duckdb.DuckDBPyConnection, series: str) -> SeriesRows | None:
    """Read the rows of a table of series, whose name is quoted; None if there are very many."""
    texts = sql_files.read_statements("dicomweb/search.sql")
    names = [name for name, each in map_attributes().items() if each.level == "series" or name in _OF_STUDY]
    columns = ", ".join(map(sql_files.identifier, names))
    text = sql_files.fill(texts["rows"], series=series, columns_of_rows=columns)
    table = con.execute(text, {"most": _MOST + 1}).to_arrow_table()
    if table.num_rows > _MOST:
        return None
    of_studies = table.column("StudyInstanceUID").to_pylist()
    starts = [number for number, study in enumerate(of_studies) if not number or study != of_studies[number - 1]]
    arrays = {name: table.column(name).combine_chunks() for name in names}
    return SeriesRows(arrays, [of_studies[start] for start in starts], [*starts, table.num_rows])
