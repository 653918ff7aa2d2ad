-- The index of a worklist: a row for each study and series that a session shows, in memory, so that a search takes
-- milliseconds. Made once for each day, group and cohort of a snapshot (warehouse/service/dicomweb/index.py).
-- Attributes are those of the first image, by key, that has them, as in the views studies and series. DICOM gives a
-- study to one patient: one that is filed under several belongs to that of its first image, by the day it was there;
-- a viewer must not mix two patients. An image that was sent twice counts once, by its SOPInstanceUID.

-- name: details
-- What only the headers have, of the first image of each series: read once a snapshot.
create table if not exists dicomweb.main.details (
    source varchar,
    key varchar,
    AccessionNumber varchar,
    ReferringPhysicianName varchar,
    PatientBirthDate date,
    PerformedProcedureStepStartDate date,
    PerformedProcedureStepStartTime time,
    ScheduledProcedureStepID varchar,
    RequestedProcedureID varchar,
    RequestAttributesSequence varchar
);

-- name: members
create or replace table dicomweb.main.{{ members }} as select unnest(cast($members as varchar[])) as member;

-- name: repeated
-- UIDs of images that were sent twice, as digests: all UIDs together are gigabytes.
create or replace temp table repeated_images as
select hash(SOPInstanceUID) as digest
from images
where SOPInstanceUID is not null and StudyInstanceUID is not null and SeriesInstanceUID is not null
group by digest
having count(*) > 1;

-- name: shared
-- The studies that are filed under several patients, and the patient that each belongs to.
create or replace temp table shared_studies as
with
shown as (
    select
        StudyInstanceUID,
        patient_id,
        available_date,
        key,
        source
    from images
    where SOPInstanceUID is not null and StudyInstanceUID is not null and SeriesInstanceUID is not null
),

several as (
    select hash(StudyInstanceUID) as digest
    from shown
    group by digest
    having min(hash(patient_id)) <> max(hash(patient_id))
)

select
    StudyInstanceUID,
    arg_min(patient_id, (available_date, key, source)) as owner
from shown
where hash(StudyInstanceUID) in (select digest from several)
group by StudyInstanceUID;

-- name: parts
-- Ranges of patients of about so many images each: the memory of a part does not grow with the lake.
with
counted as (
    select
        patient_id,
        count(*) as n_images
    from images
    group by patient_id
),

running as (
    select
        patient_id,
        sum(n_images) over (order by patient_id) as upto
    from counted
)

select
    min(patient_id) as first_patient,
    max(patient_id) as last_patient
from running
group by cast(upto as bigint) // {{ most }}
order by first_patient;

-- name: found
create or replace temp table found_series as
with
shown as (
    select
        images.*,
        hash(images.SOPInstanceUID) in (select digest from repeated_images) as is_repeated
    from images
    left join shared_studies on images.StudyInstanceUID = shared_studies.StudyInstanceUID
    where
        images.SOPInstanceUID is not null
        and images.StudyInstanceUID is not null
        and images.SeriesInstanceUID is not null
        and coalesce(shared_studies.owner, images.patient_id) = images.patient_id
        and images.patient_id between $first_patient and $last_patient
)

select
    patient_id,
    StudyInstanceUID,
    SeriesInstanceUID,
    min(struct_pack(key := key, source := source)) as first_image,
    max(key) as last_key,
    arg_min(PatientName, (key, source)) as PatientName,
    arg_min(PatientSex, (key, source)) as PatientSex,
    arg_min(PatientAge, (key, source)) as PatientAge,
    min(StudyDate) as StudyDate,
    min(StudyTime) as StudyTime,
    arg_min(StudyID, (key, source)) as StudyID,
    arg_min(StudyDescription, (key, source)) as StudyDescription,
    arg_min(TimezoneOffsetFromUTC, (key, source)) as TimezoneOffsetFromUTC,
    arg_min(Modality, (key, source)) as Modality,
    arg_min(SeriesNumber, (key, source)) as SeriesNumber,
    arg_min(SeriesDate, (key, source)) as SeriesDate,
    arg_min(SeriesTime, (key, source)) as SeriesTime,
    arg_min(SeriesDescription, (key, source)) as SeriesDescription,
    arg_min(ProtocolName, (key, source)) as ProtocolName,
    arg_min(BodyPartExamined, (key, source)) as BodyPartExamined,
    arg_min(Laterality, (key, source)) as Laterality,
    arg_min(Manufacturer, (key, source)) as Manufacturer,
    arg_min(ManufacturerModelName, (key, source)) as ManufacturerModelName,
    arg_min(StationName, (key, source)) as StationName,
    list(distinct Modality) filter (Modality is not null) as modalities,
    list(distinct SOPClassUID) filter (SOPClassUID is not null) as classes,
    count(*) filter (not is_repeated) + count(distinct SOPInstanceUID) filter (is_repeated) as n_instances,
    count(*) filter (not is_repeated and dcm_key is not null)
    + count(distinct SOPInstanceUID) filter (is_repeated and dcm_key is not null) as n_available
from shown
where {{ is_member }}
group by patient_id, StudyInstanceUID, SeriesInstanceUID;

-- name: more details
insert into dicomweb.main.details
with
wanted as (
    select first_image.source as source, first_image.key as key from found_series
    where patient_id between $first_patient and $last_patient
    except
    select source, key from dicomweb.main.details
),

taken as (
    select
        headers.source,
        headers.key,
        json_extract_string(
            headers.header,
            [
                '$."00080050".Value[0]',
                '$."00080090".Value[0].Alphabetic',
                '$."00100030".Value[0]',
                '$."00400244".Value[0]',
                '$."00400245".Value[0]'
            ]
        ) as single,
        array_to_string(json_extract_string(headers.header, '$."00400275".Value[*]."00400009".Value[0]'), '\') as steps,
        array_to_string(
            json_extract_string(headers.header, '$."00400275".Value[*]."00401001".Value[0]'), '\'
        ) as procedures,
        cast(json_extract(headers.header, '$."00400275"') as varchar) as requests
    from headers
    semi join wanted using (source, key)
    where headers.patient_id between $first_patient and $last_patient
)

select
    source,
    key,
    nullif(single[1], '') as AccessionNumber,
    nullif(single[2], '') as ReferringPhysicianName,
    cast(try_strptime(single[3], '%Y%m%d') as date) as PatientBirthDate,
    cast(try_strptime(single[4], '%Y%m%d') as date) as PerformedProcedureStepStartDate,
    try_cast(
        left(single[5], 2)
        || ':' || coalesce(nullif(substr(single[5], 3, 2), ''), '00')
        || ':' || coalesce(nullif(substr(single[5], 5), ''), '00') as time
    ) as PerformedProcedureStepStartTime,
    nullif(steps, '') as ScheduledProcedureStepID,
    nullif(procedures, '') as RequestedProcedureID,
    requests as RequestAttributesSequence
from taken;

-- name: detailed
create or replace temp table detailed_series as
select
    found_series.* exclude (first_image),
    details.* exclude (source, key),
    found_series.first_image.source as source,
    found_series.first_image.key as key
from found_series
left join dicomweb.main.details
    on found_series.first_image.source = details.source and found_series.first_image.key = details.key;

-- name: first part
create or replace table dicomweb.main.{{ table }} as {{ rows_of_part }};

-- name: next part
insert into dicomweb.main.{{ table }} {{ rows_of_part }};

-- name: studies
select
    patient_id,
    StudyInstanceUID,
    arg_min(source, (key, source)) as source,
    min(key) as key,
    max(last_key) as last_key,
    arg_min(PatientName, (key, source)) as PatientName,
    arg_min(PatientSex, (key, source)) as PatientSex,
    arg_min(PatientAge, (key, source)) as PatientAge,
    arg_min(PatientBirthDate, (key, source)) as PatientBirthDate,
    min(StudyDate) as StudyDate,
    min(StudyTime) as StudyTime,
    arg_min(StudyID, (key, source)) as StudyID,
    arg_min(StudyDescription, (key, source)) as StudyDescription,
    arg_min(AccessionNumber, (key, source)) as AccessionNumber,
    arg_min(ReferringPhysicianName, (key, source)) as ReferringPhysicianName,
    arg_min(TimezoneOffsetFromUTC, (key, source)) as TimezoneOffsetFromUTC,
    list_sort(list_distinct(flatten(list(modalities)))) as ModalitiesInStudy,
    list_sort(list_distinct(flatten(list(classes)))) as SOPClassesInStudy,
    count(*) as NumberOfStudyRelatedSeries,
    cast(sum(n_instances) as bigint) as NumberOfStudyRelatedInstances,
    case when sum(n_available) = sum(n_instances) then 'ONLINE' else 'UNAVAILABLE' end as InstanceAvailability
from detailed_series
group by patient_id, StudyInstanceUID
order by StudyInstanceUID;

-- name: series
-- With what is known of their studies, so that no search has to join.
select
    studies.* exclude (source, key, last_key, InstanceAvailability),
    detailed_series.source,
    detailed_series.key,
    detailed_series.last_key,
    SeriesInstanceUID,
    Modality,
    SeriesNumber,
    SeriesDate,
    SeriesTime,
    SeriesDescription,
    ProtocolName,
    BodyPartExamined,
    Laterality,
    Manufacturer,
    ManufacturerModelName,
    StationName,
    PerformedProcedureStepStartDate,
    PerformedProcedureStepStartTime,
    ScheduledProcedureStepID,
    RequestedProcedureID,
    RequestAttributesSequence,
    n_instances as NumberOfSeriesRelatedInstances,
    case when n_available = n_instances then 'ONLINE' else 'UNAVAILABLE' end as InstanceAvailability
from detailed_series
inner join dicomweb.main.{{ studies }} as studies on detailed_series.StudyInstanceUID = studies.StudyInstanceUID
order by StudyInstanceUID;

-- name: by study
-- A study is found at once, among a million series too. Takes some 65 bytes a row.
create index {{ name }} on dicomweb.main.{{ table }} (StudyInstanceUID);

-- name: forget
drop table if exists temp.found_series;

-- name: forget repeated
drop table if exists temp.repeated_images;

-- name: forget shared
drop table if exists temp.shared_studies;

-- name: forget details
drop table if exists temp.detailed_series;

-- name: compress
-- Tables in memory are compressed by a checkpoint: to an eighth.
checkpoint dicomweb;

-- name: tables
select table_name from duckdb_tables() where database_name = 'dicomweb';

-- name: drop
drop table if exists dicomweb.main.{{ table }};
