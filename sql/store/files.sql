-- The lake's own Parquet files: which the catalogue lists, and their recorded checksums. One statement under each name;
-- warehouse/lake/listed_files.py and file_records.py run them. `catalogue` is the schema of DuckLake's own tables.

-- name: listed
-- Every data and delete file that any snapshot needs. Its path is below the data path where DuckLake keeps it so.
with
tables as (
    -- A table or schema that was renamed has several rows; its path never changes.
    select
        table_id,
        any_value(schema_id) as schema_id,
        arg_max(table_name, begin_snapshot) as table_name,
        any_value(path) as path,
        any_value(path_is_relative) as path_is_relative
    from {{ catalogue }}.ducklake_table
    group by table_id
),

schemas as (
    select
        schema_id,
        arg_max(schema_name, begin_snapshot) as schema_name,
        any_value(path) as path,
        any_value(path_is_relative) as path_is_relative
    from {{ catalogue }}.ducklake_schema
    group by schema_id
),

files as (
    select
        'data' as kind,
        data_file_id as id,
        data_file_id as data_file,
        table_id,
        path,
        path_is_relative,
        file_size_bytes as size,
        record_count as n_rows,
        begin_snapshot,
        end_snapshot,
        encryption_key,
        row_id_start,
        'parquet' as format,
        cast(null as bigint) as partial_max
    from {{ catalogue }}.ducklake_data_file
    union all
    select
        'delete' as kind,
        delete_file_id as id,
        data_file_id as data_file,
        table_id,
        path,
        path_is_relative,
        file_size_bytes as size,
        delete_count as n_rows,
        begin_snapshot,
        end_snapshot,
        encryption_key,
        cast(null as bigint) as row_id_start,
        format,
        partial_max
    from {{ catalogue }}.ducklake_delete_file
)

select
    files.kind,
    files.id,
    files.data_file,
    files.table_id,
    coalesce(schemas.schema_name || '.' || tables.table_name, '') as "table", -- noqa: RF06
    case
        when not files.path_is_relative then files.path
        when not tables.path_is_relative then tables.path || files.path
        else coalesce(schemas.path || tables.path, '') || files.path
    end as path,
    files.path as stored_path,
    files.size,
    files.n_rows as "rows", -- noqa: RF06
    files.begin_snapshot as "begin", -- noqa: RF06
    files.end_snapshot as "end",
    files.encryption_key as "key", -- noqa: RF06
    files.row_id_start as first_row_id,
    files.format,
    files.partial_max
from files
left join tables on files.table_id = tables.table_id
left join schemas on tables.schema_id = schemas.schema_id
order by path;

-- name: newest_commit
select commit_extra_info
from {{ catalogue }}.ducklake_snapshot_changes
where snapshot_id = (select max(snapshot_id) from {{ catalogue }}.ducklake_snapshot);

-- name: own
-- What commits have recorded of the files of ops.files itself, which cannot be in them.
select commit_extra_info
from {{ catalogue }}.ducklake_snapshot_changes
where commit_extra_info like '%"files"%'
order by snapshot_id;

-- name: recorded
select path, size, sha256 from ops.files;

-- name: insert
insert into ops.files by name
select path, size, sha256, $recorded_at as recorded_at
from (select unnest($paths) as path, unnest($sizes) as size, unnest($digests) as sha256);

-- name: written
-- The file that the open transaction has written.
select distinct filename from ops.files where recorded_at = $recorded_at;

-- name: vanished
-- Records of files that the catalogue no longer lists.
delete from ops.files where path not in (select unnest($paths));
