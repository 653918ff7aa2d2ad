-- volume_geometry: one row per patient, study and series with slices: whether they stack to a volume, and the numbers.
-- A slice is an image of one frame with ImagePositionPatient and ImageOrientationPatient; each SOPInstanceUID counts
-- once at a place. Tests, their names and tolerances are those of volume_geometry_index of the Imaging Data Commons
-- (github.com/ImagingDataCommons/idc-index-data): position is ImagePositionPatient projected onto the slice normal,
-- steps may differ by 1 % from the even step (as in highdicom), slices may lie 0.1 mm beside each other, direction
-- cosines may be off by 0.01. As there, a series with a localizer or a maximum intensity projection is not in it.
-- Stricter than there: each axis is of unit length and at right angles to the other, not only their product; an image
-- of the series that is not a slice, or a single slice, makes no volume. More lenient: orientations are the same up to
-- 0.0001 in a cosine, and positions are when they are less than 0.001 mm apart, so that rounding does not count.
-- Limits: a missing slice at either end leaves no trace. A step is compared with the median, so missing slices are
-- counted only while more than half of the steps are whole. Multi-frame images have their positions elsewhere.
create or replace view volume_geometry as
with
placed as (
    select
        patient_id,
        group_name,
        StudyInstanceUID,
        SeriesInstanceUID,
        available_date,
        StudyDate,
        Modality,
        SOPInstanceUID,
        key,
        source,
        Rows,
        Columns,
        PixelSpacing,
        GantryDetectorTilt,
        coalesce(regexp_matches(array_to_string(ImageType, '/'), 'LOCALIZER|MIP', 'i'), false) as is_apart,
        coalesce(NumberOfFrames, 1) <= 1
        and ImagePositionPatient[1] + ImagePositionPatient[2] + ImagePositionPatient[3] is not null
        and ImageOrientationPatient[1] + ImageOrientationPatient[2] + ImageOrientationPatient[3] is not null
        and ImageOrientationPatient[4] + ImageOrientationPatient[5] + ImageOrientationPatient[6] is not null
            as is_slice,
        case when is_slice then ImagePositionPatient[1] end as x,
        case when is_slice then ImagePositionPatient[2] end as y,
        case when is_slice then ImagePositionPatient[3] end as z,
        case when is_slice then ImageOrientationPatient[1] end as row_x,
        case when is_slice then ImageOrientationPatient[2] end as row_y,
        case when is_slice then ImageOrientationPatient[3] end as row_z,
        case when is_slice then ImageOrientationPatient[4] end as column_x,
        case when is_slice then ImageOrientationPatient[5] end as column_y,
        case when is_slice then ImageOrientationPatient[6] end as column_z
    from images
    where StudyInstanceUID is not null and SeriesInstanceUID is not null
),

projected as (
    select
        *,
        row_y * column_z - row_z * column_y as normal_x,
        row_z * column_x - row_x * column_z as normal_y,
        row_x * column_y - row_y * column_x as normal_z,
        x * normal_x + y * normal_y + z * normal_z as position,
        x * row_x + y * row_y + z * row_z as along_row,
        x * column_x + y * column_y + z * column_z as along_column,
        greatest(
            abs(sqrt(row_x * row_x + row_y * row_y + row_z * row_z) - 1),
            abs(sqrt(column_x * column_x + column_y * column_y + column_z * column_z) - 1),
            abs(row_x * column_x + row_y * column_y + row_z * column_z)
        ) as cosine_error,
        greatest(abs(normal_x), abs(normal_y), abs(normal_z))
        / nullif(sqrt(normal_x * normal_x + normal_y * normal_y + normal_z * normal_z), 0) as nearest_cosine
    from placed
),

stacked as (
    select
        patient_id,
        min(group_name) as group_name,
        StudyInstanceUID,
        SeriesInstanceUID,
        min(available_date) as available_date,
        min(StudyDate) as StudyDate,
        arg_min(Modality, (key, source)) as Modality,
        count(*) as n_images,
        count(*) filter (not is_slice) as n_unplaced,
        greatest(
            max(row_x) - min(row_x),
            max(row_y) - min(row_y),
            max(row_z) - min(row_z),
            max(column_x) - min(column_x),
            max(column_y) - min(column_y),
            max(column_z) - min(column_z)
        ) as orientation_difference,
        max(cosine_error) as cosine_error,
        -- The hash stands for the SOPInstanceUID: an image that was sent twice is one slice.
        list_sort(list_distinct(list(
            struct_pack(place := position, image := hash(coalesce(SOPInstanceUID, key)))
        ) filter (position is not null))) as slices,
        max(along_row) - min(along_row) as shift_row,
        max(along_column) - min(along_column) as shift_column,
        sqrt(
            pow(arg_max(along_row, position) - arg_min(along_row, position), 2)
            + pow(arg_max(along_column, position) - arg_min(along_column, position), 2)
        ) as drift,
        degrees(acos(least(min(nearest_cosine), 1))) as obliquity_degrees,
        max(abs(GantryDetectorTilt)) as GantryDetectorTilt,
        count(Rows) = count(*)
        and count(Columns) = count(*)
        and min(Rows) = max(Rows)
        and min(Columns) = max(Columns) as consistent_image_dimensions,
        count(PixelSpacing[2]) = count(*)
        and min(PixelSpacing[1]) = max(PixelSpacing[1])
        and min(PixelSpacing[2]) = max(PixelSpacing[2]) as consistent_pixel_spacing
    from projected
    group by patient_id, StudyInstanceUID, SeriesInstanceUID
    having not bool_or(is_apart) and count(position) > 0
),

stepped as (
    select
        *,
        len(slices) as n_slices,
        slices[1].place as first_position,
        slices[-1].place as last_position,
        list_transform(
            list_zip(slices[:-2], slices[2:]), lambda pair: pair[2].place - pair[1].place
        ) as steps,
        list_filter(steps, lambda step: step >= 0.001) as true_steps,
        list_median(true_steps) as slice_spacing,
        (last_position - first_position) / nullif(n_slices - 1, 0) as even_step
    from stacked
),

tested as (
    select
        *,
        list_min(steps) as min_step,
        list_max(steps) as max_step,
        len(steps) - len(true_steps) as n_doubled,
        coalesce(cast(list_sum(list_transform(
            true_steps, lambda step: greatest(round(step / slice_spacing) - 1, 0)
        )) as bigint), 0) as n_missing,
        orientation_difference <= 0.0001 as single_orientation,
        cosine_error <= 0.01 as orthogonal_orientation,
        n_doubled = 0 as unique_slice_positions,
        shift_row < 0.1 as consistent_in_plane_row,
        shift_column < 0.1 as consistent_in_plane_col,
        coalesce(
            greatest(max_step - even_step, even_step - min_step) < 0.01 * even_step, false
        ) as uniform_slice_spacing
    from stepped
)

select
    patient_id,
    group_name,
    StudyInstanceUID,
    SeriesInstanceUID,
    available_date,
    StudyDate,
    Modality,
    n_images,
    n_slices,
    n_unplaced,
    slice_spacing,
    min_step,
    max_step,
    n_doubled,
    n_missing,
    first_position,
    last_position,
    shift_row,
    shift_column,
    case when last_position > first_position then degrees(atan2(drift, last_position - first_position)) end
        as shear_degrees,
    GantryDetectorTilt,
    obliquity_degrees,
    orientation_difference,
    cosine_error,
    single_orientation,
    orthogonal_orientation,
    unique_slice_positions,
    consistent_in_plane_row,
    consistent_in_plane_col,
    consistent_pixel_spacing,
    consistent_image_dimensions,
    uniform_slice_spacing,
    n_unplaced = 0
    and n_slices > 1
    and single_orientation
    and orthogonal_orientation
    and unique_slice_positions
    and consistent_in_plane_row
    and consistent_in_plane_col
    and consistent_pixel_spacing
    and consistent_image_dimensions
    and uniform_slice_spacing as is_volume
from tested;
