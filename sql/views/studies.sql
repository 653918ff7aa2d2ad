-- studies: one row per patient and study, from the images available on the as-of date.
-- An image whose header has no study is only in view images.
create or replace view studies as
select
    patient_id,
    min(group_name) as group_name,
    StudyInstanceUID,
    min(available_date) as available_date,
    min(StudyDate) as StudyDate,
    min(StudyTime) as StudyTime,
    arg_min(StudyDescription, (key, source)) as StudyDescription,
    coalesce(list_sort(list(distinct Modality) filter (Modality is not null)), []) as ModalitiesInStudy,
    count(distinct SeriesInstanceUID) as n_series,
    count(*) as n_images,
    count(dcm_key) as n_dcm,
    coalesce(sum(dcm_size), 0) as dcm_size
from images
where StudyInstanceUID is not null
group by patient_id, StudyInstanceUID;
