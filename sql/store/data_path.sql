-- Whether a catalogue and the files of its data path belong together. One statement under each name;
-- warehouse/lake/data_path.py runs them. `catalogue` is the schema where DuckLake keeps its own tables.

-- name: identity
-- Which lake it is (the first schema's uuid is given when it is made, and stays), and how far it has come.
select
    (select cast(schema_uuid as varchar) from {{ catalogue }}.ducklake_schema where schema_id = 0 limit 1) as uuid,
    (select max(snapshot_id) from {{ catalogue }}.ducklake_snapshot) as newest;

-- name: live
-- The files of the newest snapshot: path (below the data path where it is relative) and size in bytes.
select
    case
        when not files.path_is_relative then files.path
        when not tables.path_is_relative then tables.path || files.path
        when not schemas.path_is_relative then schemas.path || tables.path || files.path
        else {{ data_path }} || schemas.path || tables.path || files.path
    end as path,
    files.file_size_bytes as size
from (
    select table_id, path, path_is_relative, file_size_bytes
    from {{ catalogue }}.ducklake_data_file
    where end_snapshot is null
    union all
    select table_id, path, path_is_relative, file_size_bytes
    from {{ catalogue }}.ducklake_delete_file
    where end_snapshot is null
) as files
inner join (
    select distinct table_id, schema_id, path, path_is_relative from {{ catalogue }}.ducklake_table
) as tables on files.table_id = tables.table_id
inner join (
    select distinct schema_id, path, path_is_relative from {{ catalogue }}.ducklake_schema
) as schemas on tables.schema_id = schemas.schema_id
order by path;

-- name: named
-- Every path that a catalogue names, to write to or to remove; whole, unless what it names is below the data path.
with
tables as (
    select distinct
        tables.table_id,
        case
            when not tables.path_is_relative then tables.path
            when not schemas.path_is_relative then schemas.path || tables.path
            else {{ data_path }} || schemas.path || tables.path
        end as path
    from {{ catalogue }}.ducklake_table as tables
    inner join {{ catalogue }}.ducklake_schema as schemas on tables.schema_id = schemas.schema_id
),

files as (
    select table_id, path, path_is_relative from {{ catalogue }}.ducklake_data_file
    union all
    select table_id, path, path_is_relative from {{ catalogue }}.ducklake_delete_file
)

-- A file of no table counts from the data path.
select
    case when files.path_is_relative then coalesce(tables.path, {{ data_path }}) || files.path else files.path end
        as path
from files
left join tables on files.table_id = tables.table_id
union all
select path || 'any' as path from tables
union all
select case when path_is_relative then {{ data_path }} || path else path end || 'any' as path
from {{ catalogue }}.ducklake_schema
union all
select case when path_is_relative then {{ data_path }} || path else path end as path
from {{ catalogue }}.ducklake_files_scheduled_for_deletion;

-- name: stored
-- The Parquet files of a data path on S3.
select file from glob({{ pattern }});

-- name: read_text
select content from read_text({{ path }});

-- name: write_text
copy (select {{ text }} as text) to {{ path }} (format csv, header false, quote '', escape '', delimiter '\t');
