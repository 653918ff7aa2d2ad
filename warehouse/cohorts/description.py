"""Describes a cohort for JSON: what it asks, takes, labels and reads, and its steps."""

from __future__ import annotations

from typing import Any

from warehouse.cohorts.definition import Definition


def describe_definition(definition: Definition) -> dict[str, Any]:
    """The description as a JSON object, without the SQL."""
    return {
        "name": definition.name,
        "title": definition.title,
        "question": definition.question,
        "definition": definition.definition,
        "limits": definition.limits,
        "grain": definition.grain,
        "params": [
            {"name": p.name, "type": p.type, "default": p.default, "meaning": p.meaning} for p in definition.params
        ],
        "labels": definition.labels,
        "tables": definition.declared_tables,
        "steps": [{"name": s.name, "line": s.line, "meaning": s.meaning, "reads": s.reads} for s in definition.steps],
    }
