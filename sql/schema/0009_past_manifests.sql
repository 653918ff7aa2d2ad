-- 0009: who is in a registered manifest, by keyed digest, and which models were trained from it. Commits of these publish
-- nothing.
create table access.manifest_patients ({{ define_access_manifest_patients }});
create table access.models ({{ define_access_models }});
