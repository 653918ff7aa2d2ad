-- The events of `chest export --format meds` (docs/meds.md). One statement under each name; warehouse/exports/meds.py
-- runs them. What depends on the table of codes (meds_codes.csv) is filled in: {{ clinical_events }}.

-- name: subjects
-- One row per patient. The id is the first 63 bits of the SHA-256 of the pseudonym, so it is the same in every export.
create or replace temp table meds_subjects as
select
    cast(cast('0x' || left(sha256(patient_id), 16) as ubigint) >> 1 as bigint) as subject_id,
    patient_id
from patients
order by subject_id;

-- name: collisions
select count(*) - count(distinct subject_id) from meds_subjects;

-- name: events
-- Each event with two clocks: `day` is that on which it happened, null where no day of its own is recorded; `known_day`
-- is that on which the warehouse had it. A day after known_day cannot be right, and counts as none.
-- Sorting places a fact of a day after the images of that day (docs/meds.md).
create or replace temp table meds_events as
with
static as (
    select
        patient_id,
        unnest([
            struct_pack(code := 'SEX//' || sex, numeric_value := cast(null as double), unit := cast(null as varchar)),
            struct_pack(code := 'ETHNICITY//' || ethnicity, numeric_value := null, unit := null),
            struct_pack(code := 'CENTRE//' || centre, numeric_value := null, unit := null),
            struct_pack(code := case when age is not null then 'AGE' end, numeric_value := age, unit := 'a')
        ]) as event,
        true as is_static,
        -- The record in effect may be younger than the patient's first object.
        greatest(available_date, clinical_date) as known_day
    from patients
),

recorded as (
    select
        patient_id,
        key as source_key,
        available_date as known_day,
        unnest([
            {{ clinical_events }}
        ]) as event
    from clinical
),

swabbed as (
    select
        patient_id,
        key as source_key,
        available_date as known_day,
        unnest([
            struct_pack(code := case when swab_date is not null then 'SWAB//TAKEN' end, day := swab_date),
            struct_pack(code := 'SWAB//' || result, day := result_date)
        ]) as event
    from swabs
),

stayed as (
    select
        patient_id,
        key as source_key,
        available_date as known_day,
        unnest([
            struct_pack(code := case when admission_date is not null then 'ADMISSION' end, day := admission_date),
            struct_pack(code := case when was_in_itu then 'ICU_ADMISSION' end, day := itu_date),
            struct_pack(code := case when was_intubated then 'INTUBATION' end, day := intubation_date),
            struct_pack(code := case when has_died then 'MEDS_DEATH' end, day := death_date)
        ]) as event
    from admissions
),

imaged as (
    select
        patient_id,
        available_date as known_day,
        StudyDate as day,
        'STUDY//' || unnest(ModalitiesInStudy) as code,
        cast(null as double) as numeric_value,
        StudyInstanceUID,
        cast(null as varchar) as SeriesInstanceUID,
        cast(null as varchar) as SOPInstanceUID,
        cast(null as varchar) as source_key,
        cast(null as varchar) as dcm_key
    from studies
    union all
    select
        patient_id,
        available_date as known_day,
        StudyDate as day,
        'SERIES//' || Modality as code,
        n_images as numeric_value,
        StudyInstanceUID,
        SeriesInstanceUID,
        null as SOPInstanceUID,
        null as source_key,
        null as dcm_key
    from series
    where Modality in ('CT', 'MR', 'PT')
    union all
    select
        images.patient_id,
        images.available_date as known_day,
        images.StudyDate as day,
        concat_ws('//', 'IMAGE', images.Modality, regions.view) as code,
        null as numeric_value,
        images.StudyInstanceUID,
        images.SeriesInstanceUID,
        images.SOPInstanceUID,
        images.key as source_key,
        images.dcm_key
    from images
    inner join image_regions as regions on images.source = regions.source and images.key = regions.key
    where coalesce(images.Modality, '') not in ('CT', 'MR', 'PT')
),

everything as (
    select * exclude (event), event.*
    from static
    union all by name
    select * exclude (event), event.*
    from recorded
    union all by name
    select * exclude (event), event.*
    from swabbed
    union all by name
    select * exclude (event), event.*
    from stayed
    union all by name
    select *
    from imaged
)

select
    subjects.subject_id,
    -- A day later than that of the object cannot be right.
    case
        when everything.is_static then null
        when everything.day <= everything.known_day then everything.day
        else everything.known_day
    end
    + case when everything.StudyInstanceUID is null then time '23:59:59.999999' else time '23:59:59' end as time,
    replace(upper(trim(everything.code)), ' ', '_') as code,
    cast(everything.numeric_value as float) as numeric_value,
    cast(null as varchar) as text_value,
    everything.unit,
    case
        when everything.is_static then 'static'
        when everything.day <= everything.known_day then 'event'
        else 'known'
    end as clock,
    everything.known_day + time '23:59:59.999999' as known_time,
    everything.StudyInstanceUID,
    everything.SeriesInstanceUID,
    everything.SOPInstanceUID,
    everything.source_key,
    everything.dcm_key
from everything
inner join meds_subjects as subjects on everything.patient_id = subjects.patient_id
where everything.code is not null;

-- name: data
-- Sorted as MEDS asks; a shard has whole subjects.
select
    events.*,
    (shards.place - 1) // $subjects as shard
from meds_events as events
inner join (
    select subject_id, row_number() over (order by subject_id) as place
    from meds_subjects
) as shards on events.subject_id = shards.subject_id
order by events.subject_id, events.time nulls first, events.code, events.source_key, events.SOPInstanceUID;

-- name: codes
-- One row per code that the data have: it is described by the longest code of the table that it begins with.
select
    found.code,
    arg_max(known.description, length(known.code)) as description,
    case when found.code = any_value(known.code) then [] else [arg_max(known.code, length(known.code))] end
        as parent_codes,
    arg_max(known.unit, length(known.code)) as unit
from (select distinct code from meds_events) as found
left join meds_codes as known on found.code = known.code or starts_with(found.code, known.code || '//')
group by found.code
order by found.code;

-- name: all subjects
from meds_subjects;

-- name: answers
-- The rows of a cohort, each with its subject and its image's day.
create or replace temp table meds_answers as
select answer.*, subjects.subject_id as "the subject", found.day as "the day"
from answer
left join (
    select
        {{ grain }} as id,
        -- An image of two patients belongs to neither, unless the answer names one.
        case when min(patient_id) = max(patient_id) then min(patient_id) end as patient_id,
        min(StudyDate) as day
    from images
    group by {{ grain }}
) as found on answer.{{ grain }} = found.id
left join meds_subjects as subjects on {{ patient }} = subjects.patient_id;

-- name: labels
-- The known values of a label; a prediction may use all that is dated up to and including its time.
select
    "the subject" as subject_id,
    {{ time }} as prediction_time,
    cast({{ label }} as {{ type }}) as {{ value }}
from meds_answers
where {{ label }} is not null and {{ time }} is not null and "the subject" is not null
order by all;

-- name: splits
select distinct
    "the subject" as subject_id,
    case lower(cast({{ split }} as varchar))
        when 'train' then 'train'
        when 'training' then 'train'
        when 'tune' then 'tuning'
        when 'tuning' then 'tuning'
        when 'validation' then 'tuning'
        when 'test' then 'held_out'
        when 'held_out' then 'held_out'
        else cast({{ split }} as varchar)
    end as split
from meds_answers
where {{ split }} is not null and "the subject" is not null
order by all;
