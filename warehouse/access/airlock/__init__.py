"""The airlock: files that wait for two reviewers before they leave under an agreement, with what was found in them.

Belongs here: holding the files, inspecting them, the steps of a request. Does not: the commands
(warehouse/cli/airlock.py), and whose patients a file counts (the caller gives them).
"""
