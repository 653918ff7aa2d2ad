-- Makes a lake large: adds copy after copy of the rows that a refresh of the sample has loaded, as if the bucket had so
-- many more patients. One statement under each name; benchmarks/large_lake.py runs them.
-- A copy's patients have numbers of their own (Covid12 of copy 3 is Covid9000312), its UIDs one more component
-- (2.25.7 is 2.25.7.3), its keys both; all else, faults too, is as in the sample. `base` is the sample's snapshot.

-- name: size
select count(*) as n_images from core.images;

-- name: newest snapshot
select max(snapshot_id) as snapshot_id from ducklake_snapshots('lake');

-- name: renaming
create or replace temp macro patient_of_copy(patient) as 'Covid' || getvariable('first_number') || substr(patient, 6);

create or replace temp macro uid_of_copy(uid) as
    case when starts_with(uid, '2.25.') then uid || '.' || getvariable('copy') else uid end;

create or replace temp macro key_of_copy(key) as
    regexp_replace(replace(key, '/Covid', '/Covid' || getvariable('first_number')), '(/2\.25\.[0-9.]*[0-9])', '\1.' || getvariable('copy'));

-- A pseudonym begins a text of the JSON; in a field's name (Date of Positive Covid Swab) the word stands further in.
create or replace temp macro json_of_copy(document) as cast(
    regexp_replace(
        replace(cast(document as varchar), '"Covid', '"Covid' || getvariable('first_number')),
        '"(2\.25\.[0-9.]+)"',
        '"\1.' || getvariable('copy') || '"',
        'g'
    ) as json
);

-- name: raw objects
insert into raw.objects by name
select
    * replace (
        key_of_copy(key) as key,
        patient_of_copy(patient_id) as patient_id,
        uid_of_copy(image_id) as image_id
    )
from raw.objects at (version => {{ base }});

-- name: raw headers
insert into raw.headers by name
select
    * replace (
        key_of_copy(key) as key,
        patient_of_copy(patient_id) as patient_id,
        if(getvariable('is_bare'), cast('{}' as json), json_of_copy(header)) as header,
        if(getvariable('is_bare'), null, json_of_copy(reading)) as reading
    )
from raw.headers at (version => {{ base }});

-- name: raw records
insert into raw.records by name
select
    * replace (
        key_of_copy(key) as key,
        patient_of_copy(patient_id) as patient_id,
        json_of_copy(record) as record
    )
from raw.records at (version => {{ base }});

-- name: core images
insert into core.images by name
select
    * replace (
        key_of_copy(key) as key,
        patient_of_copy(patient_id) as patient_id,
        uid_of_copy(image_id) as image_id,
        key_of_copy(dcm_key) as dcm_key,
        uid_of_copy(SOPInstanceUID) as SOPInstanceUID,
        uid_of_copy(StudyInstanceUID) as StudyInstanceUID,
        uid_of_copy(SeriesInstanceUID) as SeriesInstanceUID,
        uid_of_copy(FrameOfReferenceUID) as FrameOfReferenceUID,
        case when starts_with(PatientID, 'Covid') then patient_of_copy(PatientID) else PatientID end as PatientID,
        case when starts_with(PatientName, 'Covid') then patient_of_copy(PatientName) else PatientName end as PatientName
    )
from core.images at (version => {{ base }});

-- name: core clinical
insert into core.clinical by name
select
    * replace (
        key_of_copy(key) as key,
        patient_of_copy(patient_id) as patient_id,
        case when starts_with(pseudonym, 'Covid') then patient_of_copy(pseudonym) else pseudonym end as pseudonym
    )
from core.clinical at (version => {{ base }});

-- name: core clinical_issues
insert into core.clinical_issues by name
select * replace (key_of_copy(key) as key, patient_of_copy(patient_id) as patient_id)
from core.clinical_issues at (version => {{ base }});

-- name: ops rejects
insert into ops.rejects by name
select * replace (key_of_copy(key) as key, patient_of_copy(patient_id) as patient_id)
from ops.rejects at (version => {{ base }});
