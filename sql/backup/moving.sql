-- Moving a catalogue from SQLite (attached as `old`) to PostgreSQL (attached as `new`): warehouse/backup/moving.py.

-- name: tables
-- Each table of the old catalogue, and its columns cast to the types that they have in the new one.
select o.table_name,
    string_agg('"' || replace(o.column_name, '"', '""') || '"', ', ' order by o.column_index),
    string_agg('cast("' || replace(o.column_name, '"', '""') || '" as ' || n.data_type || ')', ', ' order by o.column_index)
from duckdb_columns() as o
join duckdb_columns() as n on n.table_name = o.table_name and n.column_name = o.column_name
where o.database_name = 'old' and n.database_name = 'new' and n.schema_name = {{ schema }}
group by 1 order by 1

-- name: unknown
-- Tables that the new catalogue does not have: DuckLake keeps rows of tables in them when it inlines, which we forbid.
select table_name from duckdb_tables() where database_name = 'old'
except select table_name from duckdb_tables() where database_name = 'new' and schema_name = {{ schema }}

-- name: newest
select max(snapshot_id) from new.{{ schema_name }}.ducklake_snapshot

-- name: clear
delete from new.{{ schema_name }}.{{ table }}

-- name: fill
insert into new.{{ schema_name }}.{{ table }} ({{ columns }}) select {{ values }} from old.{{ table }}

-- name: data_path
update new.{{ schema_name }}.ducklake_metadata set value = {{ data_path }} where key = 'data_path'

-- name: missing
-- Data and delete files that are not where the new catalogue says.
with needed as (
    select s.path || t.path || f.path as path
    from (select table_id, path from old.ducklake_data_file union all
        select table_id, path from old.ducklake_delete_file) as f
    join (select distinct table_id, schema_id, path from old.ducklake_table) as t using (table_id)
    join (select distinct schema_id, path from old.ducklake_schema) as s using (schema_id)
)
select path from needed
anti join (select file[length({{ data_path }}) + 1:] as path from glob({{ data_path }} || '**')) using (path)
order by path
