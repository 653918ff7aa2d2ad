-- What is to be loaded, and loading it. One statement under each name; warehouse/steps/loading.py runs them.
-- What is pending is derived, never remembered: live objects of a kind whose (key, etag) is neither in core nor
-- among the rejects. A killed refresh just goes on; a second one finds nothing.

-- name: waiting
create or replace temp table waiting as
select objects.*, rejects.key is not null as was_rejected, rejects.reason as old_reason
from raw.objects
left join ops.rejects on
    objects.source = rejects.source and objects.key = rejects.key and objects.etag = rejects.etag
where
    objects.source = $source
    and objects.kind = $kind
    and starts_with(objects.key, $prefix)
    and coalesce(rejects.retry, true)
    and not exists (
        from {{ table }} as loaded
        where loaded.source = $source and loaded.key = objects.key and loaded.etag = objects.etag
    );

-- name: reextractable
-- The same for headers that are to be typed again from raw.headers.
create or replace temp table waiting as
select objects.*, false as was_rejected, cast(null as varchar) as old_reason
from raw.objects
semi join raw.headers on objects.source = headers.source and objects.key = headers.key
where objects.source = $source and objects.kind = 'header' and starts_with(objects.key, $prefix);

-- name: oversized
select key, etag, size, kind, group_name, patient_id, old_reason from waiting where size > $limit;

-- name: pending
-- In patient order, which stores well and prunes well, cut into units of bounded number and bytes.
create or replace temp table pending as
with
headers as (from waiting where size <= $limit),

paired as ({{ pairing }}),

placed as (
    select
        headers.*,
        paired.* exclude (key),
        row_number() over whole as place,
        -- Every object fills its share of a unit: by its bytes, or by its number when it is small.
        sum(greatest(headers.size / $unit_bytes, 1 / $unit_objects)) over (whole rows unbounded preceding) as filled
    from headers
    left join paired on headers.key = paired.key
    window whole as (order by headers.group_name, headers.patient_id, headers.key)
)

select * exclude (filled), floor(filled) as unit
from placed
order by place;

-- name: units
select unit, count(*), min(patient_id), max(patient_id) from pending group by unit order by unit;

-- name: unit
select * exclude (unit, place) from pending where unit = $unit order by place;

-- name: stored_unit
select pending.* exclude (unit, place), headers.header as content
from pending
inner join raw.headers on pending.key = headers.key
where
    pending.unit = $unit
    and headers.source = $source
    and headers.patient_id between $first_patient and $last_patient
order by pending.place;

-- name: forget_images
delete from core.images where source = $source and starts_with(key, $prefix);

-- name: insert_images
insert into core.images select {{ names core.images }} from rows_read where is_header;

-- name: insert_headers
insert into raw.headers
select source, key, group_name, patient_id, available_date, content as header
from batch
where key not in (select key from rows_read where not is_header);

-- name: insert_clinical
insert into core.clinical select {{ names core.clinical }} from rows_read where is_record;

-- name: insert_records
insert into raw.records
select source, key, group_name, patient_id, available_date, content as record
from batch
where key not in (select key from rows_read where not is_record);

-- name: known_rejects
select key, reason, first_seen from ops.rejects where source = $source and key in (select unnest($keys));

-- name: forget_rejects
delete from ops.rejects where source = $source and key in (select unnest($keys));

-- name: insert_rejects
insert into ops.rejects select {{ names ops.rejects }} from rejects_found;
