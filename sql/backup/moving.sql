-- Moving a catalogue from SQLite (attached as `old`) to PostgreSQL (attached as `new`): warehouse/lake/backup/migrate_to_postgres.py.

-- name: tables
-- Each table of the old catalogue, and its columns cast to the types that they have in the new one.
select
    old_columns.table_name,
    string_agg(
        '"' || replace(old_columns.column_name, '"', '""') || '"', ', ' order by old_columns.column_index
    ) as names,
    string_agg(
        'cast("' || replace(old_columns.column_name, '"', '""') || '" as ' || new_columns.data_type || ')',
        ', ' order by old_columns.column_index
    ) as cast_names
from duckdb_columns() as old_columns
inner join duckdb_columns() as new_columns
    on old_columns.table_name = new_columns.table_name and old_columns.column_name = new_columns.column_name
where
    old_columns.database_name = 'old'
    and new_columns.database_name = 'new'
    and new_columns.schema_name = {{ schema }}
group by old_columns.table_name
order by old_columns.table_name;

-- name: unknown
-- Tables that the new catalogue does not have: DuckLake keeps rows of tables in them when it inlines, which we forbid.
select table_name from duckdb_tables() where database_name = 'old'
except
select table_name from duckdb_tables() where database_name = 'new' and schema_name = {{ schema }};

-- name: newest
select max(snapshot_id) from new.{{ schema_name }}.ducklake_snapshot;

-- name: clear
delete from new.{{ schema_name }}.{{ table }};

-- name: fill
insert into new.{{ schema_name }}.{{ table }} ({{ columns }}) select {{ values }} from old.{{ table }};

-- name: data_path
update new.{{ schema_name }}.ducklake_metadata set value = {{ data_path }} where key = 'data_path';

-- name: missing
-- Data and delete files that are not where the new catalogue expects them.
with needed as (
    select s.path || t.path || f.path as path
    from (
        select table_id, path from old.ducklake_data_file
        union all
        select table_id, path from old.ducklake_delete_file
    ) as f
    inner join (select distinct table_id, schema_id, path from old.ducklake_table) as t using (table_id)
    inner join (select distinct schema_id, path from old.ducklake_schema) as s using (schema_id)
)

select path from needed
anti join (select file[length({{ data_path }}) + 1:] as path from glob({{ data_path }} || '**')) using (path)
order by path;
