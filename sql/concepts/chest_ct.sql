-- chest_ct: one row per CT study that shows the chest, by its StudyInstanceUID.
-- A study counts if one of its images shows the chest (image_regions); series of other parts, localizers and images
-- sent twice are not counted. CT of the thoracic spine does not count. A study sent for two patients belongs to the
-- first by name.
-- Limits: a study of unknown body part is excluded. Also those of image_regions.
create or replace view chest_ct as
-- Lists of digests of 128 bits: count(distinct …) keeps every UID with those of its study and patient, which for 80
-- million images is more than DuckDB may put on disk.
select
    patient_id,
    min(group_name) as group_name,
    StudyInstanceUID,
    min(available_date) as available_date,
    min(StudyDate) as StudyDate,
    min(vendor) as vendor,
    max(header_age) as header_age,
    cast(list_unique(list(md5_number(SeriesInstanceUID))) as bigint) as n_series,
    cast(list_unique(list(md5_number(SOPInstanceUID))) as bigint) as n_slices
from image_regions
where Modality = 'CT' and region = 'chest' and not is_localizer and StudyInstanceUID is not null
group by patient_id, StudyInstanceUID
qualify row_number() over (partition by StudyInstanceUID order by patient_id) = 1;
