-- title: An image of a study that was made after it was available
-- meaning: StudyDate lies after the day the image was there to be known. One of the two is wrong: as of a day between
--   them, the images of a study of the future are shown.
-- severity: error
-- table: images
select patient_id, key, StudyDate, available_date, StudyDate - available_date as days, Modality, StudyInstanceUID
from images
where StudyDate > available_date
order by all;
