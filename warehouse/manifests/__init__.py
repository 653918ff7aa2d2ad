"""Manifests: a cohort's answer, object by object, with everything needed to verify and reproduce it."""
