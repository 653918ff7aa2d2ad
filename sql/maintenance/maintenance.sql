-- Maintenance of a lake's files. One statement under each name; warehouse/lake/maintenance.py runs them.
-- Days are whole days in UTC: on a SQLite catalogue a cutoff covers the whole of its day.

-- name: tables
select schema_name, table_name
from duckdb_tables()
where
    database_name = 'lake'
    and (
        (schema_name, table_name) <> ('ops', 'files')
        or (select count(*) from ducklake_list_files('lake', 'files', schema => 'ops')) > $few
    )
order by all;

-- name: rewrite
-- Files of which a tenth or more is deleted are rewritten without those rows; one file per partition.
select sum(files_processed) as n_processed, sum(files_created) as n_created
from ducklake_rewrite_data_files('lake', {{ table }}, schema => {{ schema }}, delete_threshold => 0.1);

-- name: merge
-- Files under 64 MB; the big ones stay as they are. The merged file serves the older snapshots too.
select sum(files_processed) as n_processed, sum(files_created) as n_created
from ducklake_merge_adjacent_files('lake', {{ table }}, schema => {{ schema }}, max_file_size => 67108864);

-- name: needed
-- The snapshots that registered manifests were made from.
select distinct snapshot from ops.manifests where snapshot is not null;

-- name: expire
select snapshot_id from ducklake_expire_snapshots('lake', dry_run => {{ dry_run }}, versions => {{ versions }});

-- name: cleanup
-- Files that no snapshot names any more, since a whole day at least: a reader's query may still be on them.
select path
from ducklake_cleanup_old_files('lake', dry_run => {{ dry_run }}, older_than => cast({{ day }} as timestamptz));

-- name: orphans
-- Files that no snapshot ever named: a process died between writing them and its commit.
select path
from ducklake_delete_orphaned_files('lake', dry_run => {{ dry_run }}, older_than => cast({{ day }} as timestamptz));

-- name: outlook
-- How many live files a rewrite and a merge would take now: by table and partition, as DuckLake goes about it.
with
deleted as (
    select data_file_id, sum(delete_count) as delete_count
    from {{ catalogue }}.ducklake_delete_file
    where end_snapshot is null
    group by data_file_id
),

partitions as (
    select data_file_id, list(partition_value order by partition_key_index) as place
    from {{ catalogue }}.ducklake_file_partition_value
    group by data_file_id
),

files as (
    select
        files.table_id,
        partitions.place,
        files.file_size_bytes,
        coalesce(deleted.delete_count, 0) as delete_count,
        files.record_count
    from {{ catalogue }}.ducklake_data_file as files
    left join deleted on files.data_file_id = deleted.data_file_id
    left join partitions on files.data_file_id = partitions.data_file_id
    where
        files.end_snapshot is null
        -- The few files of ops.files wait until they are many.
        and files.table_id not in (
            select table_id from {{ catalogue }}.ducklake_table where table_name = 'files'
        )
),

mergeable as (
    select count(*) as n_files
    from files
    where delete_count = 0 and file_size_bytes < 67108864
    group by table_id, place
    having count(*) > 1
)

select
    (select count(*) from files where delete_count > 0 and delete_count >= 0.1 * record_count) as rewritten,
    (select coalesce(sum(n_files), 0) from mergeable) as merged;

-- name: stored
select count(*) as n_files, coalesce(sum(size), 0) as bytes from read_blob({{ files }});
