-- title: A patient with images and no clinical record
-- meaning: Whether the patient had COVID-19 is not known: covid_status is null, and a cohort by status leaves the images
--   out. The record may be still to come.
-- severity: warning
-- table: patients
select patient_id, group_name, available_date, n_images, n_studies
from patients
where n_images > 0 and not has_clinical
order by all;
