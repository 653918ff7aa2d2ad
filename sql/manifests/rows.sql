-- The objects behind a cohort's answer. One statement under each name; warehouse/manifests/rows.py runs them. SQL
-- built from a cohort's names is a separate SELECT (`make …`), checked as untrusted SQL before `make` creates a table.

-- name: answer
-- The answer, its labels named as in the manifest.
create or replace temp table answer as from given;

-- name: make
create or replace temp table {{ table }} as
{{ query }};

-- name: make picked
-- The images that the answer identifies, as of its day.
select
    images.source,
    images.key,
    images.size,
    images.etag,
    images.available_date,
    images.dcm_key,
    images.dcm_size,
    images.dcm_etag,
    images.dcm_available_date,
    images.group_name,
    images.patient_id,
    images.StudyInstanceUID,
    images.SeriesInstanceUID,
    images.SOPInstanceUID,
    images.Modality{{ labels_of_the_answer }}{{ columns_of_images }}
from images
inner join answer on {{ named }};

-- name: make picked_patients
-- The patients that the answer identifies; a label belongs to a patient only if the answer has one row per patient, and
-- is null otherwise.
select named.patient_id{{ labels_of_the_answer }}
from {{ patients }} as named
left join answer on {{ labels_come }};

-- name: make manifest_rows
-- One row per object, sorted by key.
with
objects as (
    select
        source, dcm_key as key, 'dcm' as object, dcm_size as size, dcm_etag as etag,
        dcm_available_date as available_date, group_name, patient_id, StudyInstanceUID, SeriesInstanceUID,
        SOPInstanceUID, Modality{{ labels }}
    from picked
    where dcm_key is not null and list_contains($objects, 'dcm')
    union all
    select
        source, key, 'json' as object, size, etag,
        available_date, group_name, patient_id, StudyInstanceUID, SeriesInstanceUID,
        SOPInstanceUID, Modality{{ labels }}
    from picked
    -- A header that was read from the .dcm is no object of its own.
    where list_contains($objects, 'json') and key is distinct from dcm_key
    union all
    select
        history.source, history.key, 'clinical' as object, history.size, history.etag,
        history.available_date, history.group_name, history.patient_id, null as StudyInstanceUID,
        null as SeriesInstanceUID, null as SOPInstanceUID, null as Modality{{ labels_of_patients }}
    from clinical_history as history
    inner join picked_patients on history.patient_id = picked_patients.patient_id
    where list_contains($objects, 'clinical')
)

select
    key,
    source || '/' || key as uri,
    object,
    size,
    etag,
    cast(null as varchar) as version_id,
    available_date,
    group_name,
    patient_id,
    StudyInstanceUID,
    SeriesInstanceUID,
    SOPInstanceUID,
    Modality{{ labels }}
from objects
order by key, source{{ labels }};

-- name: make manifest_records
-- The available clinical files of the answer's patients; one per patient is in effect.
select
    history.patient_id,
    history.group_name,
    history.key,
    history.source,
    history.size,
    history.etag,
    history.kind,
    history.available_date,
    history.last_modified,
    coalesce(history.key = clinical.key and history.source = clinical.source, false) as counts
from clinical_history as history
inner join picked_patients on history.patient_id = picked_patients.patient_id
left join (select patient_id, key, source from clinical) as clinical on history.patient_id = clinical.patient_id
order by history.key, history.source;

-- name: doubles
-- An object shared by several headers of one image is one object: its first row is kept.
delete from manifest_rows
where rowid not in (select min(rowid) from manifest_rows group by uri);

-- name: counts
select
    count(*) as objects,
    cast(coalesce(sum(size), 0) as bigint) as bytes,
    count(*) filter (object = 'dcm') as dcm,
    count(*) filter (object = 'json') as json,
    count(*) filter (object = 'clinical') as clinical,
    count(distinct uri) as distinct_objects
from manifest_rows;

-- name: picked
select
    count(distinct patient_id) as patients,
    count(distinct StudyInstanceUID) as studies,
    count(distinct SeriesInstanceUID) as series,
    count(*) as images,
    count(*) filter (dcm_key is null) as images_without_dcm,
    count(*) filter (dcm_key = key) as headers_in_dcm
from picked;

-- name: unmatched
-- The ids in the answer that have no image.
select {{ grain }} from answer where {{ grain }} not in (select {{ grain }} from picked where {{ grain }} is not null);

-- name: sides
-- What each object is and the side that it is on. Only the bytes of images are compared.
select
    cast({{ split }} as varchar) as split,
    patient_id,
    SOPInstanceUID,
    case when object = 'dcm' then etag end as etag,
    size,
    key
from {{ rows }};

-- name: lines
-- The input of the content digest: one line of JSON per row.
select
    json_array(
        key, size, patient_id, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, Modality{{ labels_as_text }}
    )
    || chr(10) as line
from {{ rows }};

-- name: s5cmd
-- One command per row; a comment for a key that must not become a path.
select
    case
        when not starts_with(uri, 's3://') or regexp_matches(key, $unsafe) then '# left out: ' || json_array(uri)
        else 'cp --raw ''' || replace(uri, '''', '''"''"''') || ''' ''' || replace(key, '''', '''"''"''') || ''''
    end || chr(10) as line
from {{ rows }};

-- name: retype
alter table manifest_rows alter column {{ column }} type {{ type }};
