-- Which patients are in each combination of a cohort's steps, its region, as in attrition.sql, by their pseudonyms:
-- what leaves under an agreement is compared by them. warehouse/cohorts/counted.py runs it.
select
    patient_id,
    cast(bit_or(members.region) as varchar) as region
from ({{ members }}) as members
where bit_count(members.region) > 0 and patient_id is not null
group by patient_id
