"""Tables of the user's own, such as readers' scores or a model's output, that a cohort reads beside the views.

    wh.cohort("mine.sql", tables={"reads": "reads.csv"})

`declaration` checks names and the header's declarations, `source` opens what was given, `reading` gives it types and a
digest. `Table.attach` puts it on the sandboxed connection, where it is one more relation (warehouse/query/sandbox).
"""

from warehouse.cohorts.tables.declaration import Declaration, explain_table_name, parse_declaration
from warehouse.cohorts.tables.reading import read_tables
from warehouse.cohorts.tables.table import Given, Table

__all__ = ["Declaration", "Given", "Table", "explain_table_name", "parse_declaration", "read_tables"]
