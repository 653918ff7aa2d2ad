-- title: A SOPInstanceUID that several images share
-- meaning: The identifier is unique in the world (DICOM PS3.3, SOP Common). Images that share it are one image sent
--   twice, perhaps under two patients, or two images that a query cannot distinguish. One row per image.
-- severity: error
-- table: images
select patient_id, key, SOPInstanceUID, count(*) over (partition by SOPInstanceUID) as n_images, StudyDate, source
from images
where SOPInstanceUID is not null
qualify count(*) over (partition by SOPInstanceUID) > 1
order by SOPInstanceUID, patient_id, key, source;
