-- name: images
-- One row per patient and what differs among their images: study, modality, manufacturer, view, month, and the day on
-- which they became available. View is that of films (CR and DX): PA or AP where it is named, else the projection.
select
    patient_id,
    StudyInstanceUID,
    Modality as modality,
    vendor,
    case when Modality in ('CR', 'DX') then coalesce(view, projection) end as view,
    strftime(StudyDate, '%Y-%m') as month,
    available_date,
    count(*) as n_images
from image_regions
group by all;

-- name: patients
-- One row per patient: what is known of them as of the day.
select
    patient_id,
    hash(patient_id) as digest,
    covid_status as status,
    centre,
    sex,
    age
from patients
order by patient_id;
