-- How DuckLake stores the tables, for files that are written outside of it; warehouse/ingest/units/layouts.py runs it.
-- `catalogue` is the schema of DuckLake's own tables.

-- name: columns
-- The columns of every table with their ids, by which DuckLake finds them in files; also those inside a list or structure.
select
    schemas.schema_name || '.' || tables.table_name as table_name,
    columns.column_id,
    columns.parent_column,
    columns.column_name
from {{ catalogue }}.ducklake_column as columns
inner join {{ catalogue }}.ducklake_table as tables
    on columns.table_id = tables.table_id and tables.end_snapshot is null
inner join {{ catalogue }}.ducklake_schema as schemas
    on tables.schema_id = schemas.schema_id and schemas.end_snapshot is null
where columns.end_snapshot is null
order by columns.column_id;

-- name: layouts
-- The folder of each table below the data path (whole, if the catalogue has it so), the options of its files, and how
-- many columns partition it: of one, the transform and its name.
with
partitions as (
    select
        info.table_id,
        count(*) as n_columns,
        any_value(partition_columns.transform) as transform,
        any_value(columns.column_name) as column_name
    from {{ catalogue }}.ducklake_partition_info as info
    inner join {{ catalogue }}.ducklake_partition_column as partition_columns
        on info.partition_id = partition_columns.partition_id
    inner join {{ catalogue }}.ducklake_column as columns
        on
            info.table_id = columns.table_id
            and partition_columns.column_id = columns.column_id
            and columns.end_snapshot is null
    where info.end_snapshot is null
    group by info.table_id
),

-- An option of a table goes before that of its schema, and this before that of the lake.
options as (
    select
        tables.table_id,
        settings.key,
        arg_max(
            settings.value,
            case when settings.scope = 'table' then 2 when settings.scope = 'schema' then 1 else 0 end
        ) as value
    from {{ catalogue }}.ducklake_table as tables
    inner join {{ catalogue }}.ducklake_metadata as settings
        on
            settings.scope is null
            or (settings.scope = 'table' and tables.table_id = settings.scope_id)
            or (settings.scope = 'schema' and tables.schema_id = settings.scope_id)
    where tables.end_snapshot is null
    group by tables.table_id, settings.key
)

select
    schemas.schema_name || '.' || tables.table_name as table_name,
    case when tables.path_is_relative then coalesce(schemas.path, '') || tables.path else tables.path end as path,
    (select value from options where options.table_id = tables.table_id and key = 'parquet_compression') as compression,
    (
        select cast(value as integer) from options
        where options.table_id = tables.table_id and key = 'parquet_row_group_size'
    ) as row_group_size,
    coalesce(partitions.n_columns, 0) as n_partition_columns,
    partitions.transform,
    partitions.column_name
from {{ catalogue }}.ducklake_table as tables
inner join {{ catalogue }}.ducklake_schema as schemas
    on tables.schema_id = schemas.schema_id and schemas.end_snapshot is null
left join partitions on tables.table_id = partitions.table_id
where tables.end_snapshot is null;
