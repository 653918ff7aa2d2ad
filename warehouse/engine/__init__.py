"""DuckDB itself: what has to be known of the database, whatever is stored in it.

Belongs here: connections, names and literals, SQL files, limits, spilling, DuckDB's messages in our words.
Does not: what a lake is (warehouse/lake/store), which tables and views there are (warehouse/catalog).
"""
