-- title: All images
-- question: Every image of every patient, with the status of the patient.
-- grain: patient
-- label covid_status: positive or negative
with
everybody as (
    select patient_id, covid_status
    from patients
)

select patient_id, covid_status
from everybody;
