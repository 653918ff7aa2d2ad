-- images: one row per image header, as it was known on the as-of date.
-- The only place, with clinical_history and headers, where rows are cut by as-of date and by group: the other
-- views stand on these. A .dcm that was written after the as-of date was not there to be fetched yet.
create or replace view images as
select
    * replace (
        case when dcm_available_date <= {{ as_of }} then dcm_key end as dcm_key,
        case when dcm_available_date <= {{ as_of }} then dcm_size end as dcm_size,
        case when dcm_available_date <= {{ as_of }} then dcm_etag end as dcm_etag,
        case when dcm_available_date <= {{ as_of }} then dcm_available_date end as dcm_available_date
    )
from (select {{ names core.images }} from core.images)
where available_date <= {{ as_of }} and {{ in_group }};
