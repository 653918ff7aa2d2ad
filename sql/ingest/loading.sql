-- What is to be loaded, and loading it. One statement under each name; warehouse/ingest/loading.py runs them.
-- What is pending is derived, never remembered: live objects of a kind whose (key, etag) is neither in core nor
-- among the rejects, and those rejects that a second try may heal. A killed refresh just goes on; a second one finds
-- nothing. A row of earlier content stays, with its own etag, until the new content is there to replace it. Rows are
-- written by the names of their columns: a lake that was made before a column was declared has it at its end.

-- name: unloaded
-- Objects to be loaded. What another version of the tool, or of its rules, could not read is tried again.
select
    objects.*,
    rejects.key is not null as was_rejected,
    case when rejects.tried_by = {{ tool }} then rejects.reason end as old_reason,
    loaded.key is not null as is_loaded,
    loaded.etag as kept_etag
from raw.objects
left join ops.rejects
    on objects.source = rejects.source and objects.key = rejects.key and objects.etag = rejects.etag
left join {{ table }} as loaded on objects.source = loaded.source and objects.key = loaded.key
where
    objects.source = $source
    and objects.kind = {{ kind }}
    and {{ within }}
    and (
        coalesce(rejects.retry, true)
        -- A key of no possible day has nothing to be tried.
        or (rejects.tried_by is distinct from {{ tool }} and objects.available_date is not null)
    )
    and (rejects.key is not null or loaded.etag is distinct from objects.etag);

-- name: count
select count(*) from ({{ wanted }});

-- name: waiting
-- The next stretch of what is wanted, in patient order; so a plan never holds more than so many objects.
create or replace temp table waiting as
select *
from ({{ wanted }})
where row(group_name, patient_id, key) > row($after_group, $after_patient, $after_key)
order by group_name, patient_id, key
limit $most;

-- name: stretch
-- How many objects it has, and its last.
select count(*) as n_objects, max(row(group_name, patient_id, key)) as last_object from waiting;

-- name: oversized
select distinct on (key) key, etag, size, kind, group_name, patient_id, old_reason, kept_etag
from waiting
where size > $limit;

-- name: pending
-- In patient order, which stores well and prunes well. Sorting and joining spill to disk where memory is short.
create or replace temp table pending as
with
-- Once a key, also where another program has doubled a row.
headers as (select distinct on (key) * from waiting where size <= $limit),

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
from (
    select *
    from (select distinct on (key) * from waiting where size <= $limit)
    order by group_name, patient_id, key
);

-- name: sizes
select place, size from pending order by place;

-- name: unit
select * exclude (place) from pending where place between $first and $last order by place;

-- name: replace
-- The rows of earlier content, now that the new one is there.
delete from {{ table }} where source = $source and key in (select key from rows_read where {{ flag }});

-- name: insert_images
insert into core.images by name select {{ names_core_images }} from rows_read where is_header;

-- name: insert_headers
insert into raw.headers by name
select
    batch.source,
    batch.key,
    batch.group_name,
    batch.patient_id,
    batch.available_date,
    batch.content as header,
    readings.reading
from batch
left join readings_read as readings on batch.key = readings.key
where batch.key not in (select key from rows_read where not is_header);

-- name: insert_clinical
insert into core.clinical by name select {{ names_core_clinical }} from rows_read where is_record;

-- name: insert_issues
insert into core.clinical_issues by name select {{ names_core_clinical_issues }} from issues_read;

-- name: insert_records
insert into raw.records by name
select source, key, group_name, patient_id, available_date, content as record
from batch
where key not in (select key from rows_read where not is_record);

-- name: sample
-- Some of all objects, whichever, for when those of a unit cannot be read.
select key, etag, size
from raw.objects
where source = $source and kind in ('header', 'clinical') and size < 1_000_000
order by hash(key)
limit $most;

-- name: known_rejects
select key, reason, first_seen from ops.rejects where source = $source and key in (select unnest($keys));

-- name: forget_rejects
delete from ops.rejects where source = $source and key in (select unnest($keys));

-- name: insert_rejects
insert into ops.rejects by name select {{ names_ops_rejects }} from rejects_found;
