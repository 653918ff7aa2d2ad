"""Cohorts: named questions in SQL whose rows name patients, studies, series or images.

    wh.cohort("covid_risk", as_of="2020-06-01", days_before=7).rows

A cohort is one file (docs/cohorts.md): `parsing` reads it, `binding` and `validation` check it against the declared
columns, `answer` runs it. `attrition` counts its steps, `table1` and `demographics` describe its patients, `compare`
explains what was added, changed and removed, `leakage` and `confounding` warn of what a model must not learn.
"""

from warehouse.cohorts.answer import CohortAnswer, check_definition
from warehouse.cohorts.definition import Definition
from warehouse.cohorts.header import DefinitionError, Problem
from warehouse.cohorts.parsing import list_shipped, load, parse

__all__ = [
    "CohortAnswer",
    "Definition",
    "DefinitionError",
    "Problem",
    "check_definition",
    "list_shipped",
    "load",
    "parse",
]
