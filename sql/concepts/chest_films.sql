-- chest_films: one row per chest X-ray (CR or DX), by its SOPInstanceUID.
-- An image sent twice counts once: the one that was there first, then the lesser key, then source. A film whose part of
-- the body nothing names is in, as region unknown: in this database it is of the chest unless it says otherwise. Films
-- of the spine or of other parts, and localizers, are in image_regions alone. projection is frontal, lateral, other
-- (oblique, decubitus) or unknown.
-- Limits: an image without a SOPInstanceUID cannot be named, so it is not in. Those of image_regions.
create or replace view chest_films as
select * exclude (is_localizer)
from image_regions
where
    Modality in ('CR', 'DX')
    and region in ('chest', 'unknown')
    and not is_localizer
    and SOPInstanceUID is not null
qualify row_number() over (partition by SOPInstanceUID order by available_date, key, source) = 1;
