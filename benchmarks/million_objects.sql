-- title: A million objects
-- question: Every image of copies 1 to 4 in a large lake (benchmarks/large_lake.py), about 520,000, with the status of the patient.
-- grain: patient
-- label covid_status: positive or negative
with
chosen as (
    select patient_id, covid_status
    from patients
    where patient_id between 'Covid90001' and 'Covid90005'
)

select patient_id, covid_status
from chosen;
