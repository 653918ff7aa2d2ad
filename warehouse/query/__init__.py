"""Reading a lake: as of a day, for a group of patients, at a published snapshot; own queries and untrusted ones.

Belongs here: sessions, the views by name, the sandbox of untrusted SQL. Does not: cohorts and whatever else is made
of answers; nor writing (warehouse/ingest).
"""
