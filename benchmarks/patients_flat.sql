-- The view `patients` as somebody would type it at two flat Parquet files, as of a day.
with
images as (
    from images_flat where available_date <= $day and group_name = 'training'
),

history as (
    from clinical_flat where available_date <= $day and group_name = 'training'
),

records as (
    from history
    qualify row_number() over (
        partition by patient_id order by kind = 'data' desc, available_date desc, last_modified desc, key desc
    ) = 1
),

firsts as (
    select patient_id, min(available_date) as available_date from history
    group by patient_id
),

counts as (
    select
        patient_id,
        min(available_date) as available_date,
        arg_max(PatientAge, (available_date, StudyDate, key)) as age,
        arg_max(PatientSex, (available_date, StudyDate, key)) as sex,
        min(StudyDate) as first_study_date,
        max(StudyDate) as last_study_date,
        count(distinct StudyInstanceUID) as n_studies,
        count(distinct SeriesInstanceUID) as n_series,
        count(*) as n_images,
        count(*) filter (Modality = 'CR') as n_cr,
        count(*) filter (Modality = 'DX') as n_dx,
        count(*) filter (Modality = 'CT') as n_ct,
        count(*) filter (Modality = 'MR') as n_mr
    from images
    group by patient_id
)

select
    coalesce(counts.patient_id, records.patient_id) as patient_id,
    least(counts.available_date, firsts.available_date) as available_date,
    records.kind,
    records.submitting_centre,
    counts.* exclude (patient_id, available_date)
from counts
full join records on counts.patient_id = records.patient_id
left join firsts on records.patient_id = firsts.patient_id
