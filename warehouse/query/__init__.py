"""Reads a lake as of a day, for a group of patients, at a published snapshot; by trusted and untrusted queries.

Belongs here: sessions, the views by name, the sandbox of untrusted SQL. Does not: cohorts and other uses of answers;
writing (warehouse/ingest).
"""
