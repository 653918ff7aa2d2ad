-- title: A date in the future of its file, or before 1900
-- meaning: The record has a date more than a day after the file was sent, or before 1900. The cell is
--   null; the raw value is in clinical_issues, rule date_outside_window.
-- severity: warning
-- table: clinical_issues
select patient_id, key, field, raw_value, available_date, submitting_centre
from clinical_issues
where rule = 'date_outside_window'
order by all;
