-- name: facets
-- One row per patient and what differs among their images: study, modality, manufacturer, view and month. A patient
-- without an image has one row. View is that of films (CR and DX): PA or AP where it is named, else the projection.
with films as (
    select
        patient_id,
        StudyInstanceUID,
        Modality as modality,
        vendor,
        case when Modality in ('CR', 'DX') then coalesce(view, projection) end as view,
        strftime(StudyDate, '%Y-%m') as month,
        count(*) as n_images
    from lake.main.image_regions
    group by all
)

select
    patients.patient_id,
    hash(patients.patient_id) as digest,
    patients.covid_status as status,
    patients.centre,
    patients.sex,
    patients.age,
    films.StudyInstanceUID,
    films.modality,
    films.vendor,
    films.view,
    films.month,
    coalesce(films.n_images, 0) as n_images
from lake.main.patients as patients
left join films on patients.patient_id = films.patient_id
order by patients.patient_id;
