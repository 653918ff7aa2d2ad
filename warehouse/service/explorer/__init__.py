"""The explorer: a page on which people choose patients by facets, see one patient's history, and make a cohort.

Pages are rendered here and state is in their addresses, so that they can be shared, need no session on the server, and
work without scripts; a small script only replaces the page in place. Facets are counted in memory (`table.py`), rounded
as everywhere (`rounding.py`), and become the steps of a cohort (`builder.py`).
"""
