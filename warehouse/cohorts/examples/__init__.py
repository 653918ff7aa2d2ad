"""Examples beside a cohort: a few made-up rows, and the answer expected for them (docs/cohorts.md).

`parsing` reads a file of examples, `drawing` puts their rows into an empty lake, `running` asks the cohort.
"""
