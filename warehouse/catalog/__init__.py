"""What is declared: columns, public views, rules of checks, spellings; and which view reads what.

Belongs here: whatever can be known without a lake, out of sql/. Does not: anything that opens a connection to a lake.
"""
