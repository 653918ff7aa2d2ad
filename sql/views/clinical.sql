-- clinical: one row per patient, the clinical file that counts on the as-of date.
-- The newest data file counts; only without one, the newest status file. On the same day the file written
-- later, then the greater key. Files replace each other whole: no value leaks from an older one.
create or replace view clinical as
select {{ names_core_clinical }}
from clinical_history
qualify row_number() over (
    partition by patient_id
    order by kind = 'data' desc, available_date desc, last_modified desc, key desc, source desc
) = 1;
