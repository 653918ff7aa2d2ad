"""Buckets and their keys: a folder or S3, listed directly or by an inventory.

Belongs here: listing, reading, checksums, the grammar of keys. Does not: the meaning of objects (warehouse/ingest).
"""
