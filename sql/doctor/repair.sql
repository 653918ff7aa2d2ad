-- Repairs a lake. One statement under each name; warehouse/lake/doctor/dropping.py runs the first part on the catalogue
-- itself (attached as `catalogue`, with no lake attached), warehouse/lake/doctor/mending.py the rest on the lake.

-- name: snapshot
-- A snapshot as a deletion makes it: same schema, same numbers to come.
insert into {{ catalogue }}.ducklake_snapshot (
    snapshot_id, snapshot_time, schema_version, next_catalog_id, next_file_id
)
select
    snapshot_id + 1 as snapshot_id,
    now() as snapshot_time,
    schema_version,
    next_catalog_id,
    next_file_id
from {{ catalogue }}.ducklake_snapshot
order by snapshot_id desc
limit 1;

-- name: changes
insert into {{ catalogue }}.ducklake_snapshot_changes (
    snapshot_id, changes_made, author, commit_message, commit_extra_info
)
select
    max(snapshot_id) as snapshot_id,
    $changes as changes_made,
    $author as author,
    $message as commit_message,
    $info as commit_extra_info
from {{ catalogue }}.ducklake_snapshot;

-- name: drop
-- Files leave the newest state as by a deletion of all their rows; older snapshots keep them.
update {{ catalogue }}.{{ table }}
set end_snapshot = (select max(snapshot_id) from {{ catalogue }}.ducklake_snapshot)
where end_snapshot is null and {{ column }} in ({{ ids }});

-- name: unpaired
-- Rows whose counterpart was lost: both are loaded again.
delete from {{ table }} where (source, key) not in (select (source, key) from {{ other }});

-- name: clean_again
-- Without their rules, rows count as stale: the next refresh cleans them again from raw.records, with their issues.
update core.clinical set rules = null;

-- name: objects
-- Objects that the listing has lost but rows were loaded from, without their size: the next listing replaces them, or
-- removes their rows if the bucket no longer has them.
insert into raw.objects by name
with
known as (
    select source, key, etag, 'header' as kind, group_name, patient_id, available_date, image_id from core.images
    union all
    select source, key, etag, 'clinical' as kind, group_name, patient_id, available_date, null as image_id
    from core.clinical
    union all
    select
        source,
        dcm_key as key,
        dcm_etag as etag,
        'dcm' as kind,
        group_name,
        patient_id,
        dcm_available_date as available_date,
        image_id
    from core.images
    where dcm_key is not null and dcm_key <> key
    union all
    select
        source,
        earlier_dcm.dcm_key as key,
        earlier_dcm.dcm_etag as etag,
        'dcm' as kind,
        group_name,
        patient_id,
        earlier_dcm.dcm_available_date as available_date,
        image_id
    from core.images
    where earlier_dcm is not null
    union all
    select source, key, etag, kind, group_name, patient_id, null as available_date, null as image_id
    from ops.rejects
    where kind <> 'skipped'
)

select distinct on (source, key) *
from known
anti join raw.objects using (source, key);

-- name: kept
-- Content that was kept until a newer version can be read, and is lost now.
update ops.rejects
set kept_etag = null
where
    kept_etag is not null
    and (source, key) not in (
        select (source, key) from core.images
        union all
        select (source, key) from core.clinical
    );

-- name: migration
insert into ops.migrations values ($number, $name, now(), $tool);
