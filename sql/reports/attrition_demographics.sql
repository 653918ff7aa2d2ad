-- How many patients of each age, sex, ethnicity and centre are in each combination of a cohort's steps, its region: a
-- digit 1 for each step that they are in, else 0. The steps come first; warehouse/cohorts/demographics.py
-- fills it.
select
    cast(people.region as varchar) as region,
    cast(floor(patients.age / 10) * 10 as integer) as decade,
    patients.sex,
    patients.ethnicity,
    patients.centre,
    patients.submitting_centre as centre_name,
    count(*) as n,
    sum(patients.age) as age_sum,
    sum(patients.age * patients.age) as age_squares
from (
    select
        members.patient_id,
        bit_or(members.region) as region
    from ({{ members }}) as members
    where members.patient_id is not null and bit_count(members.region) > 0
    group by members.patient_id
) as people
left join patients on people.patient_id = patients.patient_id
group by people.region, decade, patients.sex, patients.ethnicity, patients.centre, centre_name
