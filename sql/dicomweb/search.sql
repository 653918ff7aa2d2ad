-- Searches of DICOMweb (PS3.18 10.6) in an index (index.sql); the conditions are those of expressions/dicomweb_matching.sql.

-- name: studies
select
    source,
    key,
    patient_id{{ columns_of_studies }}
from dicomweb.main.{{ studies }} as studies
where {{ conditions }}
order by StudyDate desc nulls last, StudyTime desc nulls last, StudyInstanceUID
limit $most offset $skipped;

-- name: series
select
    source,
    key,
    patient_id{{ columns_of_series }}
from dicomweb.main.{{ series }} as series
where {{ conditions }}
order by StudyDate desc nulls last, StudyInstanceUID, SeriesNumber nulls last, SeriesInstanceUID
limit $most offset $skipped;

-- name: series within
-- Sorted by who asks: here that takes as long as finding them.
select
    source,
    key,
    patient_id{{ columns_of_series }}
from dicomweb.main.{{ series }} as series
where {{ conditions }};

-- name: rows
select {{ columns_of_rows }}
from dicomweb.main.{{ series }}
order by StudyInstanceUID, SeriesNumber nulls last, SeriesInstanceUID
limit $most;

-- name: page
-- The patients of a page of all instances, and how many instances those before them have.
with
counted as (
    select
        patient_id,
        sum(NumberOfStudyRelatedInstances) as n_instances
    from dicomweb.main.{{ studies }}
    group by patient_id
),

running as (
    select
        patient_id,
        n_instances,
        sum(n_instances) over (order by patient_id) as upto
    from counted
)

select
    min(patient_id) as first_patient,
    max(patient_id) as last_patient,
    cast(min(upto - n_instances) as bigint) as n_before
from running
where upto > $skipped and upto - n_instances < $skipped + $most;

-- name: instances
-- Of an image that was sent twice the one that was there first, then that with the smaller key, as in chest_films.
with
shown as (
    select
        *,
        case when dcm_key is not null then 'ONLINE' else 'UNAVAILABLE' end as InstanceAvailability
    from images
    where SOPInstanceUID is not null and {{ conditions_of_path }} and {{ is_member }}
    qualify row_number() over (
        partition by patient_id, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID
        order by available_date, key, source
    ) = 1
)

select
    images.source,
    images.key,
    images.patient_id{{ columns_of_images }}
from shown as images
inner join dicomweb.main.{{ series }} as series
    on
        images.patient_id = series.patient_id
        and images.StudyInstanceUID = series.StudyInstanceUID
        and images.SeriesInstanceUID = series.SeriesInstanceUID
where {{ conditions }}
order by
    images.patient_id, images.StudyInstanceUID, images.SeriesInstanceUID, images.InstanceNumber nulls last,
    images.SOPInstanceUID
limit $most offset $skipped;

-- name: headers
select
    source,
    key,
    header
from headers
where
    patient_id between $first_patient and $last_patient
    and key between $first_key and $last_key
    and key in (select unnest(cast($keys as varchar[])));

-- name: headers between
-- What can be read before it is known which images a study has: those of its patient between its first and last key.
select
    source,
    key,
    header
from headers
where patient_id = $patient and key between $first_key and $last_key
limit $most;

-- name: study span
select
    patient_id,
    key as first_key,
    last_key,
    NumberOfStudyRelatedInstances as n_images
from dicomweb.main.{{ studies }}
where StudyInstanceUID = $study;

-- name: series span
select
    patient_id,
    key as first_key,
    last_key,
    NumberOfSeriesRelatedInstances as n_images
from dicomweb.main.{{ series }}
where StudyInstanceUID = $study and SeriesInstanceUID = $series;

-- name: owner
select patient_id from dicomweb.main.{{ studies }} where StudyInstanceUID = $study;

-- name: study
-- The images of a study, with where their pixels are; to sort them here would take a tenth of the time.
select
    SeriesInstanceUID,
    SOPInstanceUID,
    source,
    key,
    patient_id,
    dcm_key,
    dcm_size,
    dcm_etag,
    InstanceNumber,
    available_date
from images
where
    patient_id = $patient
    and StudyInstanceUID = $study
    and SeriesInstanceUID is not null
    and SOPInstanceUID is not null
    and {{ is_member }};
