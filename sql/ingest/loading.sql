-- Finds pending objects and loads them. One statement under each name; warehouse/ingest/loading.py runs them.
-- Pending objects are derived, never stored: live objects of a kind whose (key, etag) is neither in core nor among the
-- rejects, and rejects that may succeed on retry. A killed refresh simply resumes; a second one finds nothing. A row of
-- earlier content stays, with its own etag, until the new content replaces it. Rows are inserted by column name,
-- because in an older lake a column that was declared later is the last.

-- name: unloaded
-- Objects to be loaded. Rejects of another version of the tool or its rules are tried again.
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
    and {{ of_keys }}
    and {{ within }}
    and (
        coalesce(rejects.retry, true)
        -- A key with an impossible date is not tried.
        or (rejects.tried_by is distinct from {{ tool }} and objects.available_date is not null)
    )
    and (rejects.key is not null or loaded.etag is distinct from objects.etag);

-- name: extent
select
    count(*) as n_objects,
    count(distinct key) < count(*) as is_repeated,
    min(patient_id) as first_patient,
    max(patient_id) as last_patient
from waiting;

-- name: unrepeat
-- Once per key, even if another program has duplicated a row.
delete from waiting
where rowid in (select rowid from waiting qualify row_number() over (partition by key order by rowid) > 1);

-- name: waiting
-- The first wanted objects in patient order, which bounds the size of a plan.
create or replace temp table waiting as
select *
from ({{ wanted }})
order by group_name, patient_id, key
limit $most;

-- name: stretches
-- Where the following plans end, if there are more: the last object of each in that order, and its range of keys.
select
    max(row(group_name, patient_id, key)) as last_object,
    min(key) as lowest_key,
    max(key) as highest_key,
    count(*) as n_objects
from (
    select
        group_name,
        patient_id,
        key,
        (row_number() over (order by group_name, patient_id, key) - 1) // $most as stretch
    from ({{ wanted }})
)
group by stretch
order by stretch;

-- name: waiting_next
-- The objects of one of them: the first after the last object of another. Their range of keys prunes raw.objects, which
-- is sorted.
create or replace temp table waiting as
select *
from ({{ wanted }})
where
    key between $lowest_key and $highest_key
    and row(group_name, patient_id, key) > row($after_group, $after_patient, $after_key)
order by group_name, patient_id, key
limit $most;

-- name: oversized
select distinct on (key) key, etag, size, kind, group_name, patient_id, old_reason, kept_etag
from waiting
where size > $limit;

-- name: near
-- The patients of a plan: prunes raw.objects, which is sorted.
( -- noqa: PRS
    patient_id between $first_patient and $last_patient
);

-- name: paired
-- A statement of its own: its joins, the join with the whole rows and their sort would need their memory at once.
-- One row a key, even if another program has doubled that of a .dcm.
create or replace temp table paired as
with
headers as (select * from waiting where size <= $limit)

select distinct on (key) * from ({{ pairing }});

-- name: pending
-- In patient order, which compresses and prunes well. Sorts and joins spill to disk if memory is short.
create or replace temp table pending as
select
    row_number() over () as place,
    *
from (
    select
        waiting.*,
        paired.* exclude (key),
        case when ends_with(waiting.key, '.json') then 'json' else 'dcm' end as header_source
    from waiting
    left join paired on waiting.key = paired.key
    where waiting.size <= $limit
    order by waiting.group_name, waiting.patient_id, waiting.key
);

-- name: pending_alone
-- The same for objects that have no .dcm.
create or replace temp table pending as
select
    row_number() over () as place,
    *
from (select * from waiting where size <= $limit order by group_name, patient_id, key);

-- name: sizes
select place, least(size, $most) as size from pending order by place;

-- name: unit
select * exclude (place) from pending where place between $first and $last order by place;

-- name: replace
-- The rows of earlier content, now that the new one is loaded.
delete from {{ table }} where source = $source and key in (select key from rows_read where {{ flag }});

-- name: image_rows
select {{ names_core_images }} from rows_read where is_header;

-- name: header_rows
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

-- name: clinical_rows
select {{ names_core_clinical }} from rows_read where is_record;

-- name: issue_rows
select {{ names_core_clinical_issues }} from issues_read;

-- name: record_rows
select source, key, group_name, patient_id, available_date, content as record
from batch
where key not in (select key from rows_read where not is_record);

-- name: insert
insert into {{ table }} by name select * from ({{ rows }});

-- name: sample
-- An arbitrary sample of all objects, for when those of a unit cannot be read.
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
