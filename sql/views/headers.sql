-- headers: the complete DICOM header of each image available on the as-of date, in normal form (warehouse/dicom).
-- Slow to scan compared with images; read single attributes with tag(header, 'KVP').
create or replace view headers as
select
    source,
    key,
    group_name,
    patient_id,
    available_date,
    coalesce(reading, header) as header,
    case when reading is not null then header end as sent
from raw.headers
where available_date <= {{ as_of }} and {{ in_group }};
