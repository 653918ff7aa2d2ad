-- title: Metadata without a .dcm
-- meaning: The header is there, the image itself is not, or was not yet on the as-of date. Queries find the image, but
--   there is nothing to be fetched.
-- severity: warning
-- table: images
select patient_id, key, available_date, Modality, StudyDate
from images
where dcm_key is null
order by all;
