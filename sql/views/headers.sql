-- headers: the whole DICOM header of an image, as it was known on the as-of date.
-- Slow to scan compared with images; read single attributes with tag(header, 'KVP').
create or replace view headers as
select {{ names raw.headers }}
from raw.headers
where available_date <= {{ as_of }} and {{ in_group }};
