-- title: One patient
-- question: Which images are there of one patient?
-- grain: patient
-- param id VARCHAR: the pseudonym
select patient_id
from patients
where patient_id = $id
