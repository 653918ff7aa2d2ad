"""Dagster's view of the warehouse: assets and jobs over the library, which knows nothing of Dagster."""
