-- title: Intubation without ITU admission
-- meaning: The record in effect has an intubation, or its date, but neither an ITU admission nor the date of one. Patients
--   are intubated in intensive care or on the way there, so the admission is missing or the intubation is wrong.
-- severity: warning
-- table: clinical
select
    patient_id, key, intubation, date_of_intubation, itu_admission, date_of_itu_admission, submitting_centre
from clinical
where
    (intubation or (intubation is null and date_of_intubation is not null))
    and itu_admission is distinct from true
    and date_of_itu_admission is null
order by all;
