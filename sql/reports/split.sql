-- The facts that a split needs, and what is on two sides of one. One statement under each name;
-- warehouse/cohorts/division.py, held_out.py and leaks.py run them. `split_answer` has place, id and patient_id of its rows
-- (and split, for leaks), `split_patients` the patient_id of all of them.

-- name: members
-- The patients of each row of the answer, and the last day on which an image of theirs in that row became available.
-- An inner join first: an outer one with that condition is a nested loop.
with matched as (
    select answer.place, images.patient_id, max(images.available_date) as last_day
    from split_answer as answer
    inner join images on answer.id = images.{{ grain }}
    where answer.patient_id is null or answer.patient_id = images.patient_id
    group by all
)

select answer.place, coalesce(matched.patient_id, answer.patient_id) as patient_id, matched.last_day
from split_answer as answer
left join matched on answer.place = matched.place
order by all;

-- name: records
-- The centres of each patient's clinical files, whichever is in effect, and the day from which each is known.
select patient_id, centre, min(available_date) as first_day
from clinical_history
where centre is not null and patient_id in (select patient_id from split_patients)
group by all
order by all;

-- name: arrivals
-- The day on which something of each patient first became available: an image or a clinical file.
select patient_id, min(available_date) as first_day
from (
    select patient_id, available_date from images
    union all
    select patient_id, available_date from clinical_history
) as things
where patient_id in (select patient_id from split_patients)
group by patient_id;

-- name: centres
select distinct centre from clinical_history where centre is not null order by centre;

-- name: spelt
select given, fold_centre(given) as centre from (select unnest($names) as given) as names; -- noqa: RF02

-- name: attributes
select patient_id{{ attributes }} from patients where patient_id in (select patient_id from split_patients);

-- name: images of
-- The images behind an answer with a column split.
select
    answer.split,
    images.patient_id,
    images.SOPInstanceUID,
    images.dcm_etag as etag,
    images.dcm_size as size,
    images.dcm_key as key
from split_answer as answer
inner join images
    on
        answer.id = images.{{ grain }}
        and (answer.patient_id is null or answer.patient_id = images.patient_id);

-- name: leaks
-- Patients, images and equal bytes that stand on two sides. An etag that is an MD5 shows the bytes.
with members as (
    select given.* from ({{ members }}) as given where given.split is not null
)

select 'patient' as what, patient_id as name, min(split) as one, max(split) as other
from members
where patient_id is not null
group by patient_id
having count(distinct split) > 1
union all
select 'image' as what, SOPInstanceUID as name, min(split) as one, max(split) as other
from members
where SOPInstanceUID is not null
group by SOPInstanceUID
having count(distinct split) > 1
union all
select
    'bytes' as what,
    arg_min(key, (split, key)) || ' = ' || arg_max(key, (split, key)) as name,
    min(split) as one,
    max(split) as other
from members
where regexp_full_match(etag, '[0-9a-f]{32}')
group by etag, size
having count(distinct split) > 1
order by all;
