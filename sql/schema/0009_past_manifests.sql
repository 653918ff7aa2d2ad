-- 0009: who is in a registered manifest, by keyed digest, and which models were trained from it. Commits of these publish
-- nothing.
create table if not exists access.manifest_patients ({{ define_access_manifest_patients }});
create table if not exists access.models ({{ define_access_models }});
