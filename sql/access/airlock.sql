-- The patients that a lake knows by pseudonym. One statement under each name; warehouse/access/airlock/steps.py runs them.

-- name: patients
select distinct patient_id from lake.raw.objects where patient_id is not null;

-- name: named
-- Which of these words are pseudonyms.
select distinct patient_id from lake.raw.objects where patient_id in (select unnest($words));

-- name: listed
-- The digests of all who are or were on the standing list, in a snapshot of the lake.
select distinct digest from lake.access.withdrawals at (version => {{ version }}); -- noqa: PRS, AL01, AL05
