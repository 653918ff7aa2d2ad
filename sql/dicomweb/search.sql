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
        partition by StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID
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
order by images.StudyInstanceUID, images.SeriesInstanceUID, images.InstanceNumber nulls last, images.SOPInstanceUID
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

-- name: owner
select patient_id from dicomweb.main.{{ studies }} where StudyInstanceUID = $study;

-- name: study
-- The images of a study, each once, with where their pixels are.
select
    SeriesInstanceUID,
    SOPInstanceUID,
    source,
    key,
    patient_id,
    dcm_key,
    dcm_size,
    dcm_etag
from images
where
    patient_id = $patient
    and StudyInstanceUID = $study
    and SeriesInstanceUID is not null
    and SOPInstanceUID is not null
    and {{ is_member }}
qualify row_number() over (partition by SeriesInstanceUID, SOPInstanceUID order by available_date, key, source) = 1
order by SeriesInstanceUID, InstanceNumber nulls last, SOPInstanceUID;
