-- series: one row per patient, study and series, from the images available on the as-of date.
-- An image whose header names no study or no series is in images alone. Attributes that belong to the series are those
-- of its first image, by key, that has them.
create or replace view series as
select
    patient_id,
    min(group_name) as group_name,
    StudyInstanceUID,
    SeriesInstanceUID,
    min(available_date) as available_date,
    min(StudyDate) as StudyDate,
    arg_min(Modality, key) as Modality,
    arg_min(SeriesNumber, key) as SeriesNumber,
    arg_min(SeriesDescription, key) as SeriesDescription,
    arg_min(BodyPartExamined, key) as BodyPartExamined,
    arg_min(ViewPosition, key) as ViewPosition,
    arg_min(ProtocolName, key) as ProtocolName,
    arg_min(Manufacturer, key) as Manufacturer,
    arg_min(vendor, key) as vendor,
    arg_min(ManufacturerModelName, key) as ManufacturerModelName,
    arg_min(StationName, key) as StationName,
    arg_min(SliceThickness, key) as SliceThickness,
    count(*) as n_images,
    count(dcm_key) as n_dcm,
    coalesce(sum(dcm_size), 0) as dcm_size
from images
where StudyInstanceUID is not null and SeriesInstanceUID is not null
group by patient_id, StudyInstanceUID, SeriesInstanceUID;
