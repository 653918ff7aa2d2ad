-- title: A study dated after its image became available
-- meaning: StudyDate is after the available date of the image. One of the two is wrong: an as-of date between
--   them shows images of a study in the future.
-- severity: error
-- table: images
select patient_id, key, StudyDate, available_date, StudyDate - available_date as days, Modality, StudyInstanceUID
from images
where StudyDate > available_date
order by all;
