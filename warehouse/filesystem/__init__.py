"""Files that the tool writes: whole or not there at all, through no link, for owner and group alone.

Belongs here: writing, permissions, temporary files and what a dead process left of them. Does not: reading the
folders of a bucket (warehouse/object_store).
"""
