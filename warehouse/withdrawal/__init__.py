"""Withdrawal: the standing list of patients who have withdrawn or opted out, what hides them, and what purges them.

Belongs here: the list, which rows of a lake are theirs, hiding these from readers, removing them from the newest state
and from every snapshot, and proving it. Does not: what a refresh does with their objects (warehouse/ingest), and
manifests that name them (warehouse/manifests).
"""
