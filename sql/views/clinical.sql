-- clinical: one row per patient, the record in effect on the as-of date.
-- This is the newest data file, or without one, the newest status file; on the same day, the file written later, then
-- the one with the greater key. A file supersedes another completely: no value is taken from an older one.
create or replace view clinical as
select {{ names_core_clinical }}
from clinical_history
qualify row_number() over (
    partition by patient_id
    order by kind = 'data' desc, available_date desc, last_modified desc, key desc, source desc
) = 1;
