-- Whether a lake's catalogue is whole: its tables refer to each other. One statement under each name;
-- warehouse/lake/doctor/catalogue.py runs them. `catalogue` is the schema of DuckLake's own tables.

-- name: references
-- Each fault: its kind, an example of it, and how many there are. Faultless is a lake after any number of refreshes and
-- maintenances, so nothing counts that DuckLake leaves behind on purpose.
with
files as (
    select
        'data' as kind,
        data_file_id as id,
        table_id,
        path,
        begin_snapshot,
        end_snapshot
    from {{ catalogue }}.ducklake_data_file
    union all
    select
        'delete' as kind,
        delete_file_id as id,
        table_id,
        path,
        begin_snapshot,
        end_snapshot
    from {{ catalogue }}.ducklake_delete_file
),

newest as (
    select
        snapshot_id,
        next_file_id,
        next_catalog_id
    from {{ catalogue }}.ducklake_snapshot
    order by snapshot_id desc
    limit 1
),

faults as (
    select 'files of a table that it does not have' as fault, path as example
    from files
    where table_id not in (select table_id from {{ catalogue }}.ducklake_table)
    union all
    select 'delete files of a data file that it does not have' as fault, path as example
    from {{ catalogue }}.ducklake_delete_file
    where data_file_id not in (select data_file_id from {{ catalogue }}.ducklake_data_file)
    union all
    select 'files of snapshots later than its newest' as fault, files.path as example
    from files, newest
    where files.begin_snapshot > newest.snapshot_id or files.end_snapshot > newest.snapshot_id
    union all
    select 'files that are listed twice' as fault, any_value(path) as example
    from files
    group by table_id, path
    having count(*) > 1
    union all
    select 'files with numbers that it will give again' as fault, files.path as example
    from files, newest
    where files.id >= newest.next_file_id
    union all
    select 'tables of a schema that it does not have' as fault, table_name as example
    from {{ catalogue }}.ducklake_table
    where schema_id not in (select schema_id from {{ catalogue }}.ducklake_schema)
    union all
    select 'columns of a table that it does not have' as fault, column_name as example
    from {{ catalogue }}.ducklake_column
    where table_id not in (select table_id from {{ catalogue }}.ducklake_table)
    union all
    select 'snapshots without the record of their changes' as fault, cast(snapshot_id as varchar) as example
    from {{ catalogue }}.ducklake_snapshot
    where snapshot_id not in (select snapshot_id from {{ catalogue }}.ducklake_snapshot_changes)
    union all
    select 'records of changes without their snapshot' as fault, cast(snapshot_id as varchar) as example
    from {{ catalogue }}.ducklake_snapshot_changes
    where snapshot_id not in (select snapshot_id from {{ catalogue }}.ducklake_snapshot)
    union all
    select 'data files with more rows deleted than they have' as fault, data_files.path as example
    from {{ catalogue }}.ducklake_data_file as data_files
    inner join {{ catalogue }}.ducklake_delete_file as delete_files
        on data_files.data_file_id = delete_files.data_file_id
    where delete_files.delete_count > data_files.record_count
    union all
    select 'data files with two lists of deleted rows' as fault, cast(data_file_id as varchar) as example
    from {{ catalogue }}.ducklake_delete_file
    where end_snapshot is null
    group by data_file_id
    having count(*) > 1
)

select
    fault,
    min(example) as example,
    count(*) as n_faults
from faults
group by fault
order by fault;

-- name: table
-- Reads the whole of a table of the catalogue.
select count(*) from {{ catalogue }}.{{ table }};

-- name: waiting
-- Files that no snapshot needs any more and that maintenance is going to remove.
select path from {{ catalogue }}.ducklake_files_scheduled_for_deletion;

-- name: footers
-- The number of rows that Parquet files themselves state.
select file_name, num_rows from parquet_file_metadata({{ paths }});

-- name: decode
-- Reads every value of a file without a checksum.
select count(columns(*)) from read_parquet({{ path }}{{ key }}); -- noqa: PRS

-- name: count
select count(*) from read_parquet({{ path }}{{ key }}); -- noqa: PRS
