-- name: records
select history.available_date, history.kind, history.key, records.record
from clinical_history as history
inner join lake.raw.records as records on history.source = records.source and history.key = records.key
where history.patient_id = $patient
order by history.available_date, history.last_modified, history.key;

-- name: timeline
-- What happened to the patient and what was sent, in the order of its day.
select
    StudyDate as day,
    'study' as event,
    array_to_string(ModalitiesInStudy, ', ') as what,
    StudyDescription as detail,
    n_images,
    available_date,
    StudyInstanceUID as id
from studies
where patient_id = $patient
union all by name
select
    available_date as day,
    'record' as event,
    kind as what,
    submitting_centre as detail,
    available_date,
    key as id
from clinical_history
where patient_id = $patient
order by day nulls last, event, id;
