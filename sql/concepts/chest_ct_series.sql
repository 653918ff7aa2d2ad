-- chest_ct_series: one row per series of a CT study that shows the chest, ranked for reading; best = 1 is the one to read.
-- Ranked are the series that show the chest (image_regions), axial, original and primary (ImageType values 1 and 2, DICOM
-- PS3.3 C.7.6.1.1.2; value 3 AXIAL or LOCALIZER, C.8.2.1.1.1), with slices in space (volume_geometry). Every other series of
-- such a study has its reason in set_apart, the first that applies of: localizer, other part, mip, derived, secondary, no
-- geometry, not axial. Better is, in this order: a volume without gap or double (is_volume); thin, at most 1.5 mm, as
-- the Fleischner Society asks of CT of the chest (MacMahon and others, Radiology 2017;284:228); the longer scan, by 20 mm
-- and more; the thinner slice; then the number of slices, the number of the series and its UID. best_lung and best_soft rank
-- the series of one kernel alone. kernel_class is read from ConvolutionKernel by the makers' names: GE LUNG, BONE and EDGE;
-- Siemens B, I, H and their kin by their number, of which 50 and more is sharp; Philips L, Y and D to F; Canon FC50 and
-- more; sharp kernels count as lung. Only where the header names no kernel, it is read from the words of the series.
-- A study sent for two patients goes to the first by name, as in chest_ct.
-- Limits: kernels whose names are not listed are unknown, and are in best alone. Reconstructions of one scan that differ
-- in iterative strength are not distinguished. Whether the whole lung is covered shows in the pixels only.
create or replace view chest_ct_series as
with
shown as (
    select
        patient_id,
        StudyInstanceUID,
        SeriesInstanceUID,
        bool_or(region = 'chest') as is_chest,
        bool_or(is_localizer) as is_localizer
    from image_regions
    where Modality = 'CT' and StudyInstanceUID is not null and SeriesInstanceUID is not null
    group by patient_id, StudyInstanceUID, SeriesInstanceUID
),

described as (
    select
        series.patient_id,
        series.group_name,
        series.StudyInstanceUID,
        series.SeriesInstanceUID,
        series.available_date,
        series.StudyDate,
        series.vendor,
        series.SeriesNumber,
        series.SeriesDescription,
        series.ImageType,
        series.ConvolutionKernel,
        series.SliceThickness,
        series.orientation_class,
        series.n_images,
        series.n_dcm,
        shown.is_chest,
        shown.is_localizer,
        upper(array_to_string(series.ImageType, '/')) as kind,
        'ImageType' in series.varies as has_mixed_kinds,
        nullif(trim(upper(array_to_string(series.ConvolutionKernel, ' '))), '') as kernel,
        volume_geometry.n_slices,
        volume_geometry.slice_spacing,
        volume_geometry.last_position - volume_geometry.first_position as extent,
        coalesce(volume_geometry.is_volume, false) as is_volume
    from shown
    inner join series using (patient_id, StudyInstanceUID, SeriesInstanceUID)
    left join volume_geometry using (patient_id, StudyInstanceUID, SeriesInstanceUID)
    where
        (shown.patient_id, shown.StudyInstanceUID) in (
            select (min(patient_id), StudyInstanceUID) from shown where is_chest group by StudyInstanceUID
        )
),

judged as (
    select
        * exclude (kind, has_mixed_kinds, kernel, is_chest, is_localizer),
        case
            when is_localizer then 'localizer'
            when not is_chest then 'other part'
            when
                regexp_matches(kind, '(^|/)(MIP|MINIP|MIN IP|PROJECTION IMAGE|MAXIMUM|MINIMUM)')
                or regexp_matches(SeriesDescription, '(^|[^a-z])(min|max)?[ _-]?ip([^a-z]|$)|(^|[^a-z])mip', 'i')
                then 'mip'
            when kind like 'DERIVED%' then 'derived'
            when kind like '%/SECONDARY%' then 'secondary'
            when n_slices is null then 'no geometry'
            when orientation_class != 'axial' or orientation_class is null then 'not axial'
        end as set_apart,
        case
            when
                regexp_matches(kernel, 'LUNG|BONE|EDGE|CHST|SHARP')
                or regexp_matches(kernel, '^(B|I|H|BL|BR|BV|HR|QR)(5[0-9]|6[0-9]|7[0-9]|8[0-9]|9[0-9])')
                or regexp_matches(kernel, '^(L|Y[A-D]|D|E|EC|F)( |$)')
                or regexp_matches(kernel, '^FC ?[58][0-9]')
                then 'lung'
            when
                regexp_matches(kernel, 'STANDARD|STND|SOFT|DETAIL|BODY|SMOOTH')
                or regexp_matches(kernel, '^(B|I|H|BF|BR|BV|HR|QR)([1-4][0-9])')
                or regexp_matches(kernel, '^(A|B|C)( |$)')
                or regexp_matches(kernel, '^FC ?[01][0-9]')
                then 'soft'
            when kernel is not null then 'unknown'
            when
                regexp_matches(SeriesDescription, 'lung|pulm|parench', 'i')
                and not regexp_matches(SeriesDescription, 'mediast|soft', 'i')
                then 'lung'
            when
                regexp_matches(SeriesDescription, 'mediast|soft', 'i')
                and not regexp_matches(SeriesDescription, 'lung|pulm|parench', 'i')
                then 'soft'
            else 'unknown'
        end as kernel_class,
        coalesce(SliceThickness <= 1.5, false) as is_thin
    from described
),

ordered as (
    select
        *,
        case
            when set_apart is null
                then row_number() over (
                    partition by StudyInstanceUID
                    order by
                        set_apart is not null,
                        is_volume desc,
                        is_thin desc,
                        floor(extent / 20) desc,
                        SliceThickness asc nulls last,
                        n_slices desc,
                        SeriesNumber asc nulls last,
                        SeriesInstanceUID
                )
        end as best
    from judged
)

select
    *,
    case
        when best is not null and kernel_class = 'lung'
            then rank() over (partition by StudyInstanceUID, kernel_class order by best asc nulls last)
    end as best_lung,
    case
        when best is not null and kernel_class = 'soft'
            then rank() over (partition by StudyInstanceUID, kernel_class order by best asc nulls last)
    end as best_soft
from ordered;
