"""Exports: the data of a session in a layout that other tools read, such as MEDS.

Belongs here: folders written for others. Does not: manifests, which name objects (warehouse/manifests).
"""
