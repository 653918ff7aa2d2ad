-- name: days
-- The days on which something about the patient became available.
select distinct available_date as day
from images
where patient_id = $patient
union
select available_date
from clinical_history
where patient_id = $patient
order by day;

-- name: events
-- What happened and what was sent, with both dates: the day of the event and the day on which it became available.
select
    'study' as event,
    StudyDate as day,
    available_date,
    array_to_string(ModalitiesInStudy, ', ') as what,
    StudyDescription as detail,
    n_images,
    StudyInstanceUID as id
from studies
where patient_id = $patient
union all by name
select
    'record' as event,
    available_date as day,
    available_date,
    kind as what,
    submitting_centre as detail,
    key as id
from clinical_history
where patient_id = $patient
order by available_date, day nulls last, event, id;

-- name: series
-- The image in the middle of each series, to be shown as a small picture.
select
    StudyInstanceUID,
    SeriesInstanceUID,
    Modality,
    SeriesDescription,
    count(*) as n_images,
    quantile_disc(SOPInstanceUID, 0.5 order by InstanceNumber, SOPInstanceUID) as SOPInstanceUID
from images
where patient_id = $patient and SOPInstanceUID is not null and StudyInstanceUID is not null
group by all
order by StudyInstanceUID, min(SeriesNumber), SeriesInstanceUID;

-- name: patients
-- The patients of a list, for a page of it.
select patient_id, covid_status, centre, age, sex, n_studies, n_images, first_study_date, last_study_date
from patients
where patient_id in (select unnest($patients))
order by patient_id;
