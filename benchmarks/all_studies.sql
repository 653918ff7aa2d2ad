-- title: All studies
-- question: Every study of every patient, with the status of the patient.
-- grain: study
-- label covid_status: positive or negative
select distinct StudyInstanceUID, covid_status
from studies left join patients on studies.patient_id = patients.patient_id;
