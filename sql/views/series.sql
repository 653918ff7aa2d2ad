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
    arg_min(Modality, (key, source)) as Modality,
    arg_min(SeriesNumber, (key, source)) as SeriesNumber,
    arg_min(SeriesDescription, (key, source)) as SeriesDescription,
    arg_min(BodyPartExamined, (key, source)) as BodyPartExamined,
    arg_min(ViewPosition, (key, source)) as ViewPosition,
    arg_min(ProtocolName, (key, source)) as ProtocolName,
    arg_min(Manufacturer, (key, source)) as Manufacturer,
    arg_min(vendor, (key, source)) as vendor,
    arg_min(ManufacturerModelName, (key, source)) as ManufacturerModelName,
    arg_min(StationName, (key, source)) as StationName,
    arg_min(SliceThickness, (key, source)) as SliceThickness,
    count(*) as n_images,
    count(dcm_key) as n_dcm,
    coalesce(sum(dcm_size), 0) as dcm_size
from images
where StudyInstanceUID is not null and SeriesInstanceUID is not null
group by patient_id, StudyInstanceUID, SeriesInstanceUID;
