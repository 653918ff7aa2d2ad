-- How many patients, studies, series and images are in each combination of a cohort's steps, its region: a digit 1 for
-- each step that they are in, else 0. The statement continues after the steps; warehouse/cohorts/attrition.py fills it.
select
    what,
    cast(region as varchar) as region,
    count(*) as n
from (
    select
        case
            when grouping(patient_id) = 0 then 'patients'
            when grouping(StudyInstanceUID) = 0 then 'studies'
            when grouping(SeriesInstanceUID) = 0 then 'series'
            else 'images'
        end as what,
        coalesce(patient_id, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID) as id,
        bit_or(members.region) as region
    from ({{ members }}) as members
    where bit_count(members.region) > 0
    group by grouping sets ((patient_id), (StudyInstanceUID), (SeriesInstanceUID), (SOPInstanceUID))
) as things
where id is not null
group by what, region
