-- title: All prior data of a list of patients
-- question: Which images of these patients exist, up to a day?
-- definition: One row per image, of any modality, of the patients in the list, of studies made on or before the day.
--   With --as-of, also limited to what was available on a day.
-- limits: With a day, an image without a StudyDate is excluded, because it may be later. Patients without data have no
--   row: count them in the attrition table (step listed against images_of_listed). Clinical records are not images; see
--   chest patient and chest export. On the sample bucket (chest sample --patients 40 --seed 1): 16 images of Covid20.
-- grain: image
-- param patients VARCHAR[]: the pseudonyms; --param patients=@FILE reads one per line
-- param until DATE = null: only studies on or before this day; all when null
with
-- The distinct patients of the list.
listed as (
    select distinct unnest($patients) as patient_id
),

-- Every image of these patients; an image sent twice counts once.
images_of_listed as (
    select images.*
    from listed
    inner join images on listed.patient_id = images.patient_id
    where images.SOPInstanceUID is not null
    qualify
        row_number() over (
            partition by images.SOPInstanceUID order by images.available_date, images.key, images.source
        ) = 1
),

-- Images up to the day.
prior_images as (
    select *
    from images_of_listed
    where $until is null or StudyDate <= $until
)

select SOPInstanceUID, patient_id, StudyInstanceUID, SeriesInstanceUID, StudyDate, Modality
from prior_images
