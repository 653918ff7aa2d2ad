-- name: from images
{{ step }} as (
    select * from image_regions
)

-- name: from patients
{{ step }} as (
    select * from patients
)

-- name: from both
{{ step }} as (
    select image_regions.* exclude (patient_id), patients.patient_id
    from patients
    left join image_regions on patients.patient_id = image_regions.patient_id
)

-- name: image column
{{ step }} as (
    select *
    from {{ before }}
    where {{ condition }}
)

-- name: patient column
{{ step }} as (
    select {{ before }}.*
    from {{ before }}
    inner join patients on {{ before }}.patient_id = patients.patient_id
    where {{ condition }}
)

-- name: identified study
{{ step }} as (
    select *
    from {{ before }}
    where StudyInstanceUID is not null
    qualify row_number() over (partition by StudyInstanceUID order by patient_id, available_date, key, source) = 1
)

-- name: identified image
{{ step }} as (
    select *
    from {{ before }}
    where SOPInstanceUID is not null
    qualify row_number() over (partition by SOPInstanceUID order by available_date, key, source) = 1
)

-- name: answer patient
select distinct patient_id
from {{ before }}

-- name: answer study
select StudyInstanceUID, patient_id, StudyDate
from {{ before }}

-- name: answer image
select SOPInstanceUID, patient_id, StudyInstanceUID, SeriesInstanceUID, StudyDate, Modality
from {{ before }}

-- name: view among
(Modality in ('CR', 'DX') and coalesce(view, projection) in ({{ values }}))

-- name: view missing
coalesce(Modality not in ('CR', 'DX'), true)

-- name: among
{{ column }} in ({{ values }})

-- name: missing
{{ column }} is null

-- name: from age
patients.age >= {{ least }}

-- name: below age
patients.age < {{ most }}

-- name: from month
StudyDate >= date {{ first }}

-- name: until month
StudyDate <= last_day(date {{ last }})
