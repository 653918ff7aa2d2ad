-- title: An image whose header names another patient than its key
-- meaning: The header's PatientID names another patient than the key under which the image was filed. The image is
--   loaded under the key's patient; only the sender can determine whose it is. A PatientID that is not a pseudonym is
--   shown masked.
-- severity: error
-- table: images
select
    images.patient_id,
    images.key,
    case
        when pseudonyms.patient_id is not null or regexp_full_match(trim(images.PatientID), 'Covid[0-9]+')
            then trim(images.PatientID)
        else masked(images.PatientID)
    end as PatientID,
    images.StudyDate,
    images.Modality
from images
left join (select distinct patient_id from raw.objects) as pseudonyms on trim(images.PatientID) = pseudonyms.patient_id
where trim(images.PatientID) <> images.patient_id
order by all;
