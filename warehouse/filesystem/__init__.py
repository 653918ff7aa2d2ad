"""Files that the tool writes: complete or absent, never through a link, for owner and group only.

Belongs here: writing, permissions, temporary files and what a killed process left behind. Does not: reading the
folders of a bucket (warehouse/object_store).
"""
