-- title: A patient with images and no clinical record
-- meaning: It is unknown whether the patient had COVID-19: covid_status is null, and cohorts by status leave the images
--   out. The record may still arrive.
-- severity: warning
-- table: patients
select patient_id, group_name, available_date, n_images, n_studies
from patients
where n_images > 0 and not has_clinical
order by all;
