-- Puts rewritten files in the place of the old ones, in a catalogue that is attached as a plain database: SQLite or
-- PostgreSQL. One statement under each name; warehouse/withdrawal/catalogue.py runs them in one transaction.
-- `catalogue` is the schema with DuckLake's tables.

-- name: data_file
-- The new file has the ids of its columns, and a column with the ids of rows, which no mapping of names knows: files that
-- worker processes have written are registered with one.
update {{ catalogue }}.ducklake_data_file
set
    path = $path,
    record_count = $n_rows,
    file_size_bytes = $file_size,
    footer_size = $footer_size,
    mapping_id = null
where data_file_id = $file_id;

-- name: delete_file
update {{ catalogue }}.ducklake_delete_file
set path = $path, delete_count = $n_rows, file_size_bytes = $file_size, footer_size = $footer_size
where delete_file_id = $file_id;

-- name: drop_data_file
delete from {{ catalogue }}.{{ table }} where data_file_id = $file_id;

-- name: drop_delete_file
delete from {{ catalogue }}.ducklake_delete_file where delete_file_id = $file_id;

-- name: schedule
-- DuckLake removes the old file as it does those of maintenance; a purge has it do so at once.
insert into {{ catalogue }}.ducklake_files_scheduled_for_deletion
(data_file_id, path, path_is_relative, schedule_start)
values ($file_id, $path, {{ relative }}, {{ now }});

-- name: forget_statistics
delete from {{ catalogue }}.ducklake_file_column_stats where data_file_id = $file_id;

-- name: statistics
insert into {{ catalogue }}.ducklake_file_column_stats (
    data_file_id, table_id, column_id, column_size_bytes, value_count, null_count, min_value, max_value, contains_nan
)
select * from statistics_written;

-- name: file_size
select file_size_bytes from {{ catalogue }}.ducklake_data_file where data_file_id = $file_id;

-- name: table_size
update {{ catalogue }}.ducklake_table_stats
set record_count = record_count - $n_rows, file_size_bytes = file_size_bytes - $bytes
where table_id = $table_id;

-- name: columns
-- The columns of a table and their types, as DuckLake names them; the last of each.
select column_id, arg_max(column_type, begin_snapshot) as column_type
from {{ catalogue }}.ducklake_column
where table_id = $table_id
group by column_id;

-- name: table_statistics
-- Those of the whole table, for columns of one type, over the files of all snapshots, so that they are right for each of
-- them; null where a file does not state them.
select
    column_id,
    case when bool_or(is_unknown) then null else cast(min(least_value) as varchar) end as min_value,
    case when bool_or(is_unknown) then null else cast(max(greatest_value) as varchar) end as max_value
from (
    select
        column_id,
        cast(min_value as {{ type }}) as least_value,
        cast(max_value as {{ type }}) as greatest_value,
        min_value is null and coalesce(value_count, 1) > 0 as is_unknown
    from {{ catalogue }}.ducklake_file_column_stats
    where table_id = $table_id and list_contains($column_ids, column_id)
)
group by column_id;

-- name: renew_table_statistics
update {{ catalogue }}.ducklake_table_column_stats
set min_value = $min_value, max_value = $max_value
where table_id = $table_id and column_id = $column_id;

-- name: old_table_statistics
select column_id, min_value, max_value
from {{ catalogue }}.ducklake_table_column_stats
where table_id = $table_id and (min_value is not null or max_value is not null);

-- name: tables
select table_name, column_name
from duckdb_columns()
where
    database_name = {{ database }} and schema_name = {{ schema }} and data_type = 'VARCHAR'
    and table_name like 'ducklake%'
order by all;

-- name: texts
select distinct {{ column }} from {{ catalogue }}.{{ table }} where {{ column }} is not null;

-- name: redact
update {{ catalogue }}.{{ table }} set {{ column }} = $new where {{ column }} = $old;

-- name: snapshots
select snapshot_id from {{ catalogue }}.ducklake_snapshot order by snapshot_id;

-- name: table_names
select table_name from duckdb_tables()
where database_name = 'catalogue' and schema_name = {{ schema }} and table_name like 'ducklake%'
order by table_name;

-- name: execute
call postgres_execute('catalogue', {{ statement }}, use_transaction => false);

-- name: planner
-- What PostgreSQL keeps of values for its planner.
select relation, attribute, texts
from postgres_query('catalogue', {{ statement }}) as kept (relation, attribute, texts) -- noqa: AL05
where texts is not null;

-- name: encrypted
select 1 from {{ catalogue }}.ducklake_metadata where key = 'encrypted' and value = 'true' and scope is null;
