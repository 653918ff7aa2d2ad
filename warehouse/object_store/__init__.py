"""Buckets and their keys: a folder or S3, listed by itself or by an inventory.

Belongs here: listing, reading, checksums, the grammar of keys. Does not: what an object means (warehouse/ingest).
"""
