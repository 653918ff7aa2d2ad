-- title: An object with two rows in one table
-- meaning: Source and key name a row: raw.objects, raw.headers, raw.records, core.images and core.clinical have one for
--   each object. With a duplicate, counts are wrong, so no answer of this snapshot can be trusted. Checked in the
--   tables themselves, whatever the as-of date and the group.
-- severity: blocking
-- table: raw.objects
with
all_rows as (
    select 'raw.objects' as table_name, source, key, patient_id from raw.objects
    union all
    select 'raw.headers' as table_name, source, key, patient_id from raw.headers
    union all
    select 'raw.records' as table_name, source, key, patient_id from raw.records
    union all
    select 'core.images' as table_name, source, key, patient_id from core.images
    union all
    select 'core.clinical' as table_name, source, key, patient_id from core.clinical
)

select any_value(patient_id) as patient_id, key, source, table_name, count(*) as n_rows
from all_rows
group by source, key, table_name
having count(*) > 1
order by all;
