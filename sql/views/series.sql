-- series: one row per patient, study and series, from the images available on the as-of date.
-- An image whose header names no study or no series is in images alone. Attributes that belong to the series are those
-- of its first image, by key, that has them. What the images are made of (from Rows on) is null where they differ, or
-- where some lack it; varies names those columns. orientation_class is the plane of the patient within 30 degrees of the
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
    case when count(Rows) = count(*) and min(Rows) = max(Rows) then min(Rows) end as Rows,
    case when count(Columns) = count(*) and min(Columns) = max(Columns) then min(Columns) end as Columns,
    case
        when count(PixelSpacing) = count(*) and min(PixelSpacing) = max(PixelSpacing) then min(PixelSpacing)
    end as PixelSpacing,
    case
        when count(SliceThickness) = count(*) and min(SliceThickness) = max(SliceThickness) then min(SliceThickness)
    end as SliceThickness,
    case
        when
            count(SpacingBetweenSlices) = count(*)
            and min(SpacingBetweenSlices) = max(SpacingBetweenSlices)
            then min(SpacingBetweenSlices)
    end as SpacingBetweenSlices,
    case when count(KVP) = count(*) and min(KVP) = max(KVP) then min(KVP) end as KVP,
    case
        when
            count(ConvolutionKernel) = count(*)
            and min(ConvolutionKernel) = max(ConvolutionKernel)
            then min(ConvolutionKernel)
    end as ConvolutionKernel,
    case
        when
            count(ContrastBolusAgent) = count(*)
            and min(ContrastBolusAgent) = max(ContrastBolusAgent)
            then min(ContrastBolusAgent)
    end as ContrastBolusAgent,
    case
        when
            count(GantryDetectorTilt) = count(*)
            and min(GantryDetectorTilt) = max(GantryDetectorTilt)
            then min(GantryDetectorTilt)
    end as GantryDetectorTilt,
    case
        when count(PatientPosition) = count(*) and min(PatientPosition) = max(PatientPosition) then min(PatientPosition)
    end as PatientPosition,
    case when count(ImageType) = count(*) and min(ImageType) = max(ImageType) then min(ImageType) end as ImageType,
    case
        when count(NumberOfFrames) = count(*) and min(NumberOfFrames) = max(NumberOfFrames) then min(NumberOfFrames)
    end as NumberOfFrames,
    case
        when
            count(PhotometricInterpretation) = count(*)
            and min(PhotometricInterpretation) = max(PhotometricInterpretation)
            then min(PhotometricInterpretation)
    end as PhotometricInterpretation,
    case when count(BitsStored) = count(*) and min(BitsStored) = max(BitsStored) then min(BitsStored) end as BitsStored,
    case
        when
            count(FrameOfReferenceUID) = count(*)
            and min(FrameOfReferenceUID) = max(FrameOfReferenceUID)
            then min(FrameOfReferenceUID)
    end as FrameOfReferenceUID,
    case
        when count(orientation) = count(*) and min(orientation) = max(orientation) then min(orientation)
    end as orientation_class,
    min(Exposure) as exposure_min,
    max(Exposure) as exposure_max,
    min(XRayTubeCurrent) as tube_current_min,
    max(XRayTubeCurrent) as tube_current_max,
    list_filter(
        [
            case when count(Rows) not in (0, count(*)) or min(Rows) < max(Rows) then 'Rows' end,
            case when count(Columns) not in (0, count(*)) or min(Columns) < max(Columns) then 'Columns' end,
            case
                when count(PixelSpacing) not in (0, count(*)) or min(PixelSpacing) < max(PixelSpacing)
                    then 'PixelSpacing'
            end,
            case
                when count(SliceThickness) not in (0, count(*)) or min(SliceThickness) < max(SliceThickness)
                    then 'SliceThickness'
            end,
            case
                when
                    count(SpacingBetweenSlices) not in (0, count(*))
                    or min(SpacingBetweenSlices) < max(SpacingBetweenSlices)
                    then 'SpacingBetweenSlices'
            end,
            case when count(KVP) not in (0, count(*)) or min(KVP) < max(KVP) then 'KVP' end,
            case
                when count(ConvolutionKernel) not in (0, count(*)) or min(ConvolutionKernel) < max(ConvolutionKernel)
                    then 'ConvolutionKernel'
            end,
            case
                when count(ContrastBolusAgent) not in (0, count(*)) or min(ContrastBolusAgent) < max(ContrastBolusAgent)
                    then 'ContrastBolusAgent'
            end,
            case
                when count(GantryDetectorTilt) not in (0, count(*)) or min(GantryDetectorTilt) < max(GantryDetectorTilt)
                    then 'GantryDetectorTilt'
            end,
            case
                when count(PatientPosition) not in (0, count(*)) or min(PatientPosition) < max(PatientPosition)
                    then 'PatientPosition'
            end,
            case when count(ImageType) not in (0, count(*)) or min(ImageType) < max(ImageType) then 'ImageType' end,
            case
                when count(NumberOfFrames) not in (0, count(*)) or min(NumberOfFrames) < max(NumberOfFrames)
                    then 'NumberOfFrames'
            end,
            case
                when
                    count(PhotometricInterpretation) not in (0, count(*))
                    or min(PhotometricInterpretation) < max(PhotometricInterpretation)
                    then 'PhotometricInterpretation'
            end,
            case when count(BitsStored) not in (0, count(*)) or min(BitsStored) < max(BitsStored) then 'BitsStored' end,
            case
                when
                    count(FrameOfReferenceUID) not in (0, count(*))
                    or min(FrameOfReferenceUID) < max(FrameOfReferenceUID)
                    then 'FrameOfReferenceUID'
            end,
            case
                when count(orientation) not in (0, count(*)) or min(orientation) < max(orientation)
                    then 'orientation_class'
            end
        ],
        lambda name: name is not null
    ) as varies,
    count(*) as n_images,
    count(dcm_key) as n_dcm,
    coalesce(sum(dcm_size), 0) as dcm_size
from (
    select
        *,
        -- The normal of the image: rows times columns. Its greatest part says which way the image looks.
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
        end as orientation
    from images
)
where StudyInstanceUID is not null and SeriesInstanceUID is not null
group by patient_id, StudyInstanceUID, SeriesInstanceUID;
