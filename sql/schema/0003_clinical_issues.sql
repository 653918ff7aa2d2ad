-- 0003: what the cleaning of clinical files did to values. The typed columns of core.clinical are added by their
-- column table; the next refresh fills them, and this table, from raw.records.
create table core.clinical_issues ({{ define_core_clinical_issues }});
