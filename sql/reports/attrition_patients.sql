-- Which patients are in each combination of a cohort's steps, its region, as in attrition.sql: a digest of each patient,
-- who is not named. warehouse/service/counted_patients.py compares two answers by them.
select
    hash(patient_id) as patient,
    cast(bit_or(members.region) as varchar) as region
from ({{ members }}) as members
where bit_count(members.region) > 0 and patient_id is not null
group by patient_id
