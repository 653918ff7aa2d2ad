-- title: A typed row without its raw row, or the reverse
-- meaning: An image is a row of core.images and of raw.headers, a clinical file a row of core.clinical and of
--   raw.records; both are written in one commit. One without the other is half a file. Checked in the tables
--   themselves, whatever the as-of date and the group.
-- severity: blocking
-- table: core.images
select patient_id, key, source, 'core.images' as has_row, 'raw.headers' as lacks_row
from core.images anti join raw.headers using (source, key)
union all
select patient_id, key, source, 'raw.headers' as has_row, 'core.images' as lacks_row
from raw.headers anti join core.images using (source, key)
union all
select patient_id, key, source, 'core.clinical' as has_row, 'raw.records' as lacks_row
from core.clinical anti join raw.records using (source, key)
union all
select patient_id, key, source, 'raw.records' as has_row, 'core.clinical' as lacks_row
from raw.records anti join core.clinical using (source, key)
order by all;
