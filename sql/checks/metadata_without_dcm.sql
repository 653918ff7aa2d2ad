-- title: Metadata without a .dcm
-- meaning: The header exists, but the image itself does not, or did not on the as-of date. Queries find the image, but
--   it cannot be fetched.
-- severity: warning
-- table: images
select patient_id, key, available_date, Modality, StudyDate
from images
where dcm_key is null
order by all;
