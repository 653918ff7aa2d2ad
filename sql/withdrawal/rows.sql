-- Which rows of a lake's Parquet files are those of given patients, in every snapshot. One statement under each name;
-- warehouse/withdrawal/stored.py and rows.py run them. `catalogue` is the schema where DuckLake keeps its own tables,
-- `scan` the files of one table, with `filename` and `file_row_number`.

-- name: files
-- Every data file that any snapshot needs, and whether it has the column that names a patient in the contents.
with
tables as (
    select
        table_id,
        any_value(schema_id) as schema_id,
        any_value(path) as path,
        any_value(path_is_relative) as path_is_relative,
        arg_max(table_name, begin_snapshot) as table_name
    from {{ catalogue }}.ducklake_table
    group by table_id
),

schemas as (
    select
        schema_id,
        any_value(path) as path,
        any_value(path_is_relative) as path_is_relative,
        any_value(schema_name) as schema_name
    from {{ catalogue }}.ducklake_schema
    group by schema_id
)

select
    files.data_file_id as file_id,
    files.table_id,
    schemas.schema_name || '.' || tables.table_name as table_name,
    case
        when not files.path_is_relative then files.path
        when not tables.path_is_relative then tables.path || files.path
        when not schemas.path_is_relative then schemas.path || tables.path || files.path
        else {{ data_path }} || schemas.path || tables.path || files.path
    end as path,
    files.path as stored_path,
    files.encryption_key,
    files.begin_snapshot,
    files.end_snapshot,
    files.record_count,
    files.row_id_start,
    coalesce(named.has_content, false) as has_content
from {{ catalogue }}.ducklake_data_file as files
inner join tables on files.table_id = tables.table_id
inner join schemas on tables.schema_id = schemas.schema_id
left join (
    select stats.data_file_id, true as has_content
    from {{ catalogue }}.ducklake_file_column_stats as stats
    inner join {{ catalogue }}.ducklake_column as columns
        on stats.table_id = columns.table_id and stats.column_id = columns.column_id
    where columns.column_name in ('PatientID', 'pseudonym')
    group by stats.data_file_id
) as named on files.data_file_id = named.data_file_id
order by file_id;

-- name: deletes
-- Every delete file, with the data file that it belongs to.
with
tables as (
    select
        table_id,
        any_value(schema_id) as schema_id,
        any_value(path) as path,
        any_value(path_is_relative) as path_is_relative
    from {{ catalogue }}.ducklake_table
    group by table_id
),

schemas as (
    select schema_id, any_value(path) as path, any_value(path_is_relative) as path_is_relative
    from {{ catalogue }}.ducklake_schema
    group by schema_id
)

select
    files.delete_file_id as delete_id,
    files.data_file_id as file_id,
    case
        when not files.path_is_relative then files.path
        when not tables.path_is_relative then tables.path || files.path
        when not schemas.path_is_relative then schemas.path || tables.path || files.path
        else {{ data_path }} || schemas.path || tables.path || files.path
    end as path,
    files.path as stored_path,
    files.format,
    files.encryption_key,
    files.begin_snapshot,
    files.end_snapshot,
    files.partial_max
from {{ catalogue }}.ducklake_delete_file as files
inner join tables on files.table_id = tables.table_id
inner join schemas on tables.schema_id = schemas.schema_id
order by delete_id;

-- name: names by_key
select distinct unnest(case when patient_id is null then string_split(key, '/') else [patient_id] end) as name
from {{ scan }};

-- name: names by_content
select distinct trim({{ column }}) as name from {{ scan }}
where trim({{ column }}) is distinct from patient_id and {{ column }} is not null;

-- name: named
-- Objects whose content names one of the patients, though their key names another; with the image of a header.
select source, key, {{ dcm_key }} as dcm_key
from {{ scan }}
where trim({{ column }}) in (select name from withdrawn_names);

-- name: positions
-- Rows of the patients: by key, in keys of neither layout by any segment, and those of the objects above.
select filename, list(file_row_number order by file_row_number) as positions
from {{ scan }}
where
    patient_id in (select name from withdrawn_names)
    or (patient_id is null and list_has_any(string_split(key, '/'), (select list(name) from withdrawn_names)))
    or (source, key) in (select (source, key) from withdrawn_objects)
group by filename;
