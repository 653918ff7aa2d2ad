-- The counts of `chest report`: numbers of things, no patient and no value of one. A centre is known by its one spelling;
-- `spellings` has the names as they were sent. One statement under each name.

-- name: covid_status
select covid_status, count(*) as n_patients
from patients
group by all;

-- name: studies
-- A study of two modalities is counted under each.
select
    month,
    modality,
    count(distinct StudyInstanceUID) as n_studies
from (
    select
        cast(date_trunc('month', StudyDate) as date) as month,
        unnest(case when len(ModalitiesInStudy) > 0 then ModalitiesInStudy else ['none'] end) as modality,
        StudyInstanceUID
    from studies
)
group by all
order by all;

-- name: imaged
-- A patient counts once in a month, by all modalities of the studies in it, as in table 1.
select month, modalities, count(*) as n_patients
from (
    select
        cast(date_trunc('month', StudyDate) as date) as month,
        patient_id,
        list_sort(list_distinct(flatten(list(
            case when len(ModalitiesInStudy) > 0 then ModalitiesInStudy else ['none'] end
        )))) as modalities
    from studies
    group by all
)
group by all
order by all;

-- name: most_objects
-- How many objects the patient with most has, of all groups and days as the inventory.
select coalesce(max(n_objects), 0) as n_objects
from (
    select count(*) as n_objects
    from lake.raw.objects
    where patient_id is not null
    group by patient_id
);

-- name: dated_studies
select count(distinct StudyInstanceUID) filter (StudyDate is not null) as n_dated
from studies;

-- name: spellings
select coalesce(centre, '') as centre, coalesce(submitting_centre, '') as spelling, count(*) as n_files
from clinical_history
group by all
order by all;

-- name: centres
select case when has_clinical then coalesce(centre, '') end as centre, covid_status, count(*) as n_patients
from patients
group by all
order by all;

-- name: completeness
select
    column_name,
    coalesce(centre, '') as centre,
    cast(sum(n_records) as bigint) as n_records,
    cast(sum(n_filled) as bigint) as n_filled
from completeness
group by all
order by all;

-- name: issues
select coalesce(centre, '') as centre, rule, count(*) as n_values, count(distinct patient_id) as n_patients
from clinical_issues
group by all
order by all;

-- name: rules
select
    rule,
    effect,
    count(*) as n_values,
    count(distinct patient_id) as n_patients,
    count(distinct coalesce(centre, '')) as n_centres
from clinical_issues
group by all
order by n_values desc, rule;

-- name: rejects
select kind, reason, count(*) as n_objects
from ({{ rejects }})
group by all
order by n_objects desc, kind, reason;
