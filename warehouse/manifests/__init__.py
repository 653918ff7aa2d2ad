"""Manifests: what a cohort answered, object by object, with everything needed to prove and repeat it."""
