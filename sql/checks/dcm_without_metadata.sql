-- title: A .dcm without metadata
-- meaning: The image has no header (no .json with the same group, patient and image id), so nothing is known about it
--   and no query finds it. The header may still arrive.
-- severity: warning
-- table: raw.objects
with
live as (
    select source, key, kind, group_name, patient_id, image_id, available_date, size
    from raw.objects
    where kind in ('dcm', 'header') and available_date <= {{ as_of }} and {{ in_group }}
)

select patient_id, key, available_date, size
from (from live where kind = 'dcm')
anti join (from live where kind = 'header') using (source, group_name, patient_id, image_id)
order by all;
