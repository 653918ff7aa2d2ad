-- Which patients a lake names, and which rows are theirs. One statement under each name; warehouse/withdrawal/matching.py
-- and files.py run them.

-- name: names
-- Every text of the newest state that may be the pseudonym of a patient: where a key names them, in other keys each
-- segment, and whom the contents name.
select patient_id as name from lake.raw.objects where patient_id is not null
union
select unnest(string_split(key, '/')) as name from lake.raw.objects where patient_id is null
union
select patient_id as name from lake.ops.rejects where patient_id is not null
union
select unnest(string_split(key, '/')) as name from lake.ops.rejects where patient_id is null
union
select trim(PatientID) as name from lake.core.images where trim(PatientID) <> patient_id
union
select trim(pseudonym) as name from lake.core.clinical where trim(pseudonym) <> patient_id;
