-- What is to be loaded, and loading it. One statement under each name; warehouse/steps/loading.py runs them.
-- What is pending is derived, never remembered: live objects of a kind whose (key, etag) is neither in core nor
-- among the rejects. A killed refresh just goes on; a second one finds nothing. Rows are written by the names of their
-- columns: a lake that was made before a column was declared has it at its end.

-- name: unloaded
-- Objects to be loaded.
select objects.*, rejects.key is not null as was_rejected, rejects.reason as old_reason
from raw.objects
left join ops.rejects on
    objects.source = rejects.source and objects.key = rejects.key and objects.etag = rejects.etag
where
    objects.source = $source
    and objects.kind = '{{ kind }}'
    and {{ within }}
    and coalesce(rejects.retry, true)
    and not exists (
        from {{ table }} as loaded
        where loaded.source = $source and loaded.key = objects.key and loaded.etag = objects.etag
    )

-- name: reextractable
-- Headers to be typed again from raw.headers.
select objects.*, false as was_rejected, cast(null as varchar) as old_reason
from raw.objects
semi join raw.headers on objects.source = headers.source and objects.key = headers.key
where objects.source = $source and objects.kind = 'header' and {{ within }}

-- name: count
select count(*) from ({{ wanted }});

-- name: waiting
-- The next stretch of what is wanted, in patient order; so a plan never holds more than so many objects.
create or replace temp table waiting as
from ({{ wanted }})
where row(group_name, patient_id, key) > row($after_group, $after_patient, $after_key)
order by group_name, patient_id, key
limit $most;

-- name: stretch
-- How many objects it has, and its last.
select count(*), max(row(group_name, patient_id, key)) from waiting;

-- name: oversized
select key, etag, size, kind, group_name, patient_id, old_reason from waiting where size > $limit;

-- name: pending
-- In patient order, which stores well and prunes well. Sorting and joining spill to disk where memory is short.
create or replace temp table pending as
with
headers as (from waiting where size <= $limit),

paired as ({{ pairing }})

select
    row_number() over () as place,
    *
from (
    select headers.*, paired.* exclude (key)
    from headers
    left join paired on headers.key = paired.key
    order by headers.group_name, headers.patient_id, headers.key
);

-- name: pending_alone
-- The same of objects that have no .dcm.
create or replace temp table pending as
select
    row_number() over () as place,
    *
from (from waiting where size <= $limit order by group_name, patient_id, key);

-- name: sizes
select place, size from pending order by place;

-- name: unit
select * exclude (place) from pending where place between $first and $last order by place;

-- name: stored_unit
with
unit as (
    from pending where place between $first and $last
)

select unit.* exclude (place), headers.header as content
from unit
inner join raw.headers on unit.key = headers.key
where
    headers.source = $source
    and headers.patient_id between (select min(patient_id) from unit) and (select max(patient_id) from unit)
order by unit.place;

-- name: forget_images
delete from core.images where source = $source and {{ within }};

-- name: insert_images
insert into core.images by name select {{ names core.images }} from rows_read where is_header;

-- name: insert_headers
insert into raw.headers
select source, key, group_name, patient_id, available_date, content as header
from batch
where key not in (select key from rows_read where not is_header);

-- name: insert_clinical
insert into core.clinical by name select {{ names core.clinical }} from rows_read where is_record;

-- name: insert_issues
insert into core.clinical_issues by name select {{ names core.clinical_issues }} from issues_read;

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
insert into ops.rejects by name select {{ names ops.rejects }} from rejects_found;
