-- chest_films: one row per chest X-ray (CR or DX), by its SOPInstanceUID.
-- An image sent twice counts once: the one available first, then the smaller key, then the source. A film of unknown
-- body part is included as region unknown: in this database it shows the chest unless it states otherwise. Films of the
-- spine or of other parts, and localizers, are only in image_regions. projection is frontal, lateral, other
-- (oblique, decubitus) or unknown.
-- Limits: an image without a SOPInstanceUID cannot be identified, so it is excluded. Also those of image_regions.
create or replace view chest_films as
with
films as not materialized (
    select * exclude (is_localizer)
    from image_regions
    where
        Modality in ('CR', 'DX')
        and region in ('chest', 'unknown')
        and not is_localizer
        and SOPInstanceUID is not null
),

-- Few images are sent twice: a sort of all films to find them would take more memory and time than anything else here.
-- Images of one digest need not be copies of each other.
repeated as (
    select hash(SOPInstanceUID) as digest
    from images
    where Modality in ('CR', 'DX') and SOPInstanceUID is not null
    group by digest
    having count(*) > 1
),

later_copies as (
    select source, key
    from films
    where hash(SOPInstanceUID) in (select digest from repeated)
    qualify row_number() over (partition by SOPInstanceUID order by available_date, key, source) > 1
)

select films.*
from films
anti join later_copies on films.source = later_copies.source and films.key = later_copies.key;
