-- title: Death before admission
-- meaning: The record that counts says that the patient died before being admitted. One of the two dates is wrong, or the
--   months and days of one were taken for each other; clinical_issues tells whether a date was repaired.
-- severity: error
-- table: clinical
select patient_id, key, date_of_death, date_of_admission, date_of_death - date_of_admission as days, submitting_centre
from clinical
where date_of_death < date_of_admission
order by all;
