-- How many patients of a cohort's answer have each level of each characteristic, by group and COVID-19 status; and the
-- exact statistics of their ages. warehouse/cohorts/table1.py registers the answer as `cohort_answer` (id, patient_id, by_value) and names
-- in $by a characteristic to group by, if it is not a column of the answer.
-- A patient counts once. Age, sex, centre and outcomes are those of the record in effect; modality and maker are those
-- of the patient's images in the answer: all modalities together, and $several for more than one maker or group.
with
first_images as (
    select
        {{ grain }} as id,
        arg_min(patient_id, key) as patient_id
    from images
    where {{ grain }} in (select id from cohort_answer)
    group by {{ grain }}
),

asked as materialized (
    select
        answer.id,
        answer.by_value,
        coalesce(answer.patient_id, first_images.patient_id) as patient_id
    from cohort_answer as answer
    left join first_images on answer.id = first_images.id
),

chosen as (
    select
        patient_id,
        case when count(distinct by_value) > 1 then $several else any_value(by_value) end as by_value
    from asked
    where patient_id is not null
    group by patient_id
),

pictures as materialized (
    select
        images.patient_id,
        images.Modality as modality,
        images.vendor,
        images.Manufacturer as maker
    from asked
    inner join images on asked.id = images.{{ grain }} and asked.patient_id = images.patient_id
),

-- One name for each maker and centre: the most frequent spelling.
makers as (
    select
        vendor,
        arg_min(maker, (-n, maker)) as name
    from (select vendor, maker, count(*) as n from pictures group by vendor, maker) as spellings
    group by vendor
),

equipment as (
    select
        pictures.patient_id,
        array_to_string(list_sort(list(distinct pictures.modality)), ' + ') as modality,
        case
            when count(distinct pictures.vendor) > 1 then $several
            else any_value(makers.name)
        end as manufacturer
    from pictures
    left join makers on pictures.vendor = makers.vendor
    group by pictures.patient_id
),

recorded as materialized (
    select
        chosen.patient_id,
        chosen.by_value,
        patients.* exclude (patient_id),
        cast(floor(patients.age / 10) * 10 as integer) as decade
    from chosen
    left join patients on chosen.patient_id = patients.patient_id
),

centres as (
    select
        centre,
        arg_min(submitting_centre, (-n, submitting_centre)) as name
    from (
        select centre, submitting_centre, count(*) as n from recorded group by centre, submitting_centre
    ) as spellings
    group by centre
),

traits as (
    select
        recorded.patient_id,
        recorded.by_value,
        recorded.age,
        recorded.covid_status,
        unnest([
            {
                'variable': 'age_group',
                'level': printf('%d to %d', recorded.decade, recorded.decade + 9)
            },
            {
                'variable': 'sex',
                'level': case recorded.sex when 'F' then 'female' when 'M' then 'male' when 'O' then 'other' end
            },
            { 'variable': 'ethnicity', 'level': recorded.ethnicity },
            { 'variable': 'centre', 'level': centres.name },
            { 'variable': 'modality', 'level': nullif(equipment.modality, '') },
            { 'variable': 'manufacturer', 'level': equipment.manufacturer },
            { 'variable': 'covid_status', 'level': recorded.covid_status },
            {
                'variable': 'cxr_severity',
                'level': case records.cxr_severity when 1 then 'mild' when 2 then 'moderate' when 3 then 'severe' end
            },
            {
                'variable': 'news2',
                'level': case
                    when records.news2_score_on_arrival < 5 then '0 to 4 (low)'
                    when records.news2_score_on_arrival < 7 then '5 to 6 (medium)'
                    when records.news2_score_on_arrival >= 7 then '7 or more (high)'
                end
            },
            {
                'variable': 'admission',
                'level': case admissions.is_admission_dated when true then 'yes' when false then 'no' end
            },
            {
                'variable': 'itu',
                'level': case admissions.was_in_itu when true then 'yes' when false then 'no' end
            },
            {
                'variable': 'intubation',
                'level': case admissions.was_intubated when true then 'yes' when false then 'no' end
            },
            {
                'variable': 'death',
                'level': case admissions.has_died when true then 'yes' when false then 'no' end
            }
        ]) as trait
    from recorded
    left join equipment on recorded.patient_id = equipment.patient_id
    left join centres on recorded.centre = centres.centre
    left join clinical as records on recorded.patient_id = records.patient_id
    left join admissions on recorded.patient_id = admissions.patient_id
),

placed as materialized (
    select
        traits.age,
        traits.trait.variable as variable,
        traits.trait.level as level,
        traits.covid_status,
        case when $by = '' then traits.by_value else groups.trait.level end as by_value
    from traits
    left join traits as groups on traits.patient_id = groups.patient_id and groups.trait.variable = $by
)

select
    variable,
    level,
    by_value,
    covid_status,
    count(*) as n,
    null as mean,
    null as sd,
    null as q1,
    null as median,
    null as q3
from placed
group by variable, level, by_value, covid_status
union all
select
    'age' as variable,
    case when grouping(by_value) = 0 then 'group' else 'overall' end as level,
    by_value,
    null as covid_status,
    count(age) as n,
    avg(age) as mean,
    stddev_samp(age) as sd,
    quantile_cont(age, 0.25) as q1,
    quantile_cont(age, 0.5) as median,
    quantile_cont(age, 0.75) as q3
from placed
where variable = 'age_group'
group by grouping sets ((by_value), ())
