"""DuckDB itself: everything about the database that does not depend on what is stored in it.

Belongs here: connections, names and literals, SQL files, limits, spilling, explanations of DuckDB's errors.
Does not: what a lake is (warehouse/lake/store), which tables and views there are (warehouse/catalog).
"""
