"""Writes the pages of docs/ that follow from the code: the data dictionary, and a page a cohort."""
