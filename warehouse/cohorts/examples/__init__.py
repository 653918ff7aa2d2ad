"""Examples beside a cohort: a few made-up rows, and the answer expected for them (docs/cohorts.md).

`parsing` reads a file of examples, `lake` puts their rows into an empty lake, `running` runs the cohort
on it.
"""
