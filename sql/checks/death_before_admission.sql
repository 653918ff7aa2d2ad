-- title: Death before admission
-- meaning: According to the record in effect, the patient died before admission. One of the two dates is wrong, or day and
--   month were swapped in one of them; clinical_issues shows whether a date was repaired.
-- severity: error
-- table: clinical
select patient_id, key, date_of_death, date_of_admission, date_of_death - date_of_admission as days, submitting_centre
from clinical
where date_of_death < date_of_admission
order by all;
