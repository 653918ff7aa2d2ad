-- images: one row per image header available on the as-of date.
-- Only this view, clinical_history and headers filter rows by as-of date and group: the other views are built on them.
-- A .dcm written after the as-of date was not available yet: if an earlier one was (earlier_dcm), it is the image's
-- .dcm as of that day.
create or replace view images as
select
    * exclude (earlier_dcm, spelt_maker, years_of_age, spelt_sex) replace (
        case
            when dcm_available_date <= {{ as_of }} then dcm_key
            when earlier_dcm.dcm_available_date <= {{ as_of }} then earlier_dcm.dcm_key
        end as dcm_key,
        case
            when dcm_available_date <= {{ as_of }} then dcm_size
            when earlier_dcm.dcm_available_date <= {{ as_of }} then earlier_dcm.dcm_size
        end as dcm_size,
        case
            when dcm_available_date <= {{ as_of }} then dcm_etag
            when earlier_dcm.dcm_available_date <= {{ as_of }} then earlier_dcm.dcm_etag
        end as dcm_etag,
        case
            when dcm_available_date <= {{ as_of }} then dcm_available_date
            when earlier_dcm.dcm_available_date <= {{ as_of }} then earlier_dcm.dcm_available_date
        end as dcm_available_date
    ),
    {{ vendor_of_spelt_maker }} as vendor,
    -- Ages above 120 are invalid, as in the clinical field.
    case when years_of_age between 0 and 120 then years_of_age end as header_age,
    case when spelt_sex in ('F', 'M', 'O') then spelt_sex end as header_sex
from (
    select
        {{ names_core_images }},
        {{ spelt_Manufacturer }} as spelt_maker,
        {{ header_age }} as years_of_age,
        upper(trim(PatientSex)) as spelt_sex
    from core.images
)
where available_date <= {{ as_of }} and {{ in_group }};
