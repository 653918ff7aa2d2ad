-- The patients that a lake knows by pseudonym. One statement under each name; warehouse/access/airlock/steps.py runs them.

-- name: patients
select distinct patient_id from lake.raw.objects where patient_id is not null;

-- name: named
-- Which of these words are pseudonyms.
select distinct patient_id from lake.raw.objects where patient_id in (select unnest($words));
