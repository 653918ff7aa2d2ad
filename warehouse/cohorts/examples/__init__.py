"""Examples beside a cohort: a few drawn rows, and the answer that they must have (docs/cohorts.md).

`parsing` reads a file of examples, `drawing` puts their rows into an empty lake, `running` asks the cohort.
"""
