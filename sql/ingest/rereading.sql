-- Extracts columns again from raw.headers. One statement under each name; warehouse/ingest/rereading.py runs them.

-- name: stale
-- The sources with headers that were read by other rules.
select distinct source from core.images where rules is distinct from {{ rules }};

-- name: count
select count(*) from core.images where source = $source and {{ within }} and {{ wanted }};

-- name: forget
delete from core.images where source = $source and {{ within }} and {{ wanted }};

-- name: kept
-- The object data of rows whose newer content has not been read, or could not be: they keep it. A listing may just have
-- found that content, so that it has no reject yet; otherwise the row of earlier content would be taken for the new
-- one.
select images.key, images.etag, images.size, images.last_modified, images.available_date
from core.images
inner join raw.objects as objects on images.source = objects.source and images.key = objects.key
where
    images.source = $source
    and {{ in_range }}
    and (images.etag, images.size, images.last_modified, images.available_date)
    is distinct from
    (objects.etag, objects.size, objects.last_modified, objects.available_date);

-- name: keep
create or replace temp table kept as
select * from ({{ kept }});

-- name: keep_more
insert into kept
select * from ({{ kept }});

-- name: unread
-- Headers of a range of keys without their image: removed, and not read again yet.
select
    objects.* replace (
        coalesce(kept.etag, objects.etag) as etag,
        coalesce(kept.size, objects.size) as size,
        coalesce(kept.last_modified, objects.last_modified) as last_modified,
        coalesce(kept.available_date, objects.available_date) as available_date
    ),
    false as was_rejected,
    cast(null as varchar) as old_reason,
    false as is_loaded,
    cast(null as varchar) as kept_etag
from raw.objects
semi join (select source, key from raw.headers where {{ in_range }}) as headers
    on objects.source = headers.source and objects.key = headers.key
anti join (select source, key from core.images where {{ in_range }}) as images
    on objects.source = images.source and objects.key = images.key
left join kept on objects.key = kept.key
where objects.source = $source and objects.kind = 'header' and {{ within }};

-- name: unit
with
unit as (
    select * from pending where place between $first and $last
)

select unit.* exclude (place), headers.header as content, headers.reading as old_reading
from unit
inner join raw.headers on unit.key = headers.key
where
    headers.source = $source
    and headers.patient_id between (select min(patient_id) from unit) and (select max(patient_id) from unit)
order by unit.place;

-- name: renew
update raw.headers
set reading = changed.reading
from changed
where headers.source = $source and headers.patient_id = changed.patient_id and headers.key = changed.key;
