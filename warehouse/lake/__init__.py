"""A lake as storage: where it is, how it is attached, its snapshots, migrations, backups and maintenance.

Belongs here: transactions, locks, the catalogue and its data files. Does not: loading
(warehouse/ingest), and reading (warehouse/query).
"""
