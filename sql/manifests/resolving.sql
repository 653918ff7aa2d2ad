-- Finds what an identifier names, in the views of a session; warehouse/manifests/resolving.py runs it.

-- name: kinds
select 'patient' as kind from patients where patient_id = $id
union
select 'study' as kind from images where StudyInstanceUID = $id
union
select 'series' as kind from images where SeriesInstanceUID = $id
order by kind;
