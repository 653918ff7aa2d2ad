-- title: A row whose object was removed or replaced
-- meaning: Every image and clinical file was read from a live object of raw.objects, of that kind and with that etag.
--   Another etag means that the row has the earlier content of the object, which is allowed only if the object cannot be
--   read now (rejects lists it, with the etag that was kept); no object means that it was withdrawn, perhaps by a
--   patient. Checked in the tables themselves, whatever the as-of date and the group.
-- severity: blocking
-- table: core.images
with
loaded as (
    select patient_id, key, source, etag, 'core.images' as table_name, 'header' as kind from core.images
    union all
    select patient_id, key, source, etag, 'core.clinical' as table_name, 'clinical' as kind from core.clinical
)

select
    loaded.patient_id,
    loaded.key,
    loaded.source,
    loaded.table_name,
    case
        when objects.key is null then 'the object is gone'
        when (loaded.kind is distinct from objects.kind) then 'the object is of another kind'
        else 'the object was replaced'
    end as fault
from loaded
left join raw.objects as objects on loaded.source = objects.source and loaded.key = objects.key
left join ops.rejects as rejects
    on
        objects.source = rejects.source
        and objects.key = rejects.key
        and objects.etag = rejects.etag
        and rejects.kept_etag is not null
where (loaded.kind, loaded.etag) is distinct from (objects.kind, coalesce(rejects.kept_etag, objects.etag))
order by all;
