-- series: one row per patient, study and series, from the images available on the as-of date.
-- An image whose header names no study or no series is in images alone. Attributes that belong to the series are those
-- of its first image, by key, that has them. Columns of the section composition (sql/columns/series.csv) are null where
-- the images differ, or where some lack them; varies names these. orientation_class is the plane of the patient within 30 degrees of the
-- image, the most that the gantry of a CT scanner tilts.
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
    {{ values_of_composition }},
    min(Exposure) as exposure_min,
    max(Exposure) as exposure_max,
    min(XRayTubeCurrent) as tube_current_min,
    max(XRayTubeCurrent) as tube_current_max,
    list_filter(
        [
            {{ differences_of_composition }}
        ],
        lambda name: name is not null
    ) as varies,
    count(*) as n_images,
    count(dcm_key) as n_dcm,
    coalesce(sum(dcm_size), 0) as dcm_size
from (
    select
        *,
        -- The normal of the image: rows times columns. Its greatest component gives the plane.
        abs(
            ImageOrientationPatient[2] * ImageOrientationPatient[6]
            - ImageOrientationPatient[3] * ImageOrientationPatient[5]
        ) as to_side,
        abs(
            ImageOrientationPatient[3] * ImageOrientationPatient[4]
            - ImageOrientationPatient[1] * ImageOrientationPatient[6]
        ) as to_front,
        abs(
            ImageOrientationPatient[1] * ImageOrientationPatient[5]
            - ImageOrientationPatient[2] * ImageOrientationPatient[4]
        ) as to_head,
        case
            -- The cosine of 30 degrees.
            when to_head > 0.866 then 'axial'
            when to_front > 0.866 then 'coronal'
            when to_side > 0.866 then 'sagittal'
            when to_head is not null and to_front is not null and to_side is not null then 'oblique'
        end as orientation_class
    from images
)
where StudyInstanceUID is not null and SeriesInstanceUID is not null
group by patient_id, StudyInstanceUID, SeriesInstanceUID;
