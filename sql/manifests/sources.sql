-- The sources of a lake. One statement under each name; warehouse/manifests/sources.py runs them.

-- name: is_made
select 1 from duckdb_tables() where database_name = 'lake' and schema_name = 'raw' and table_name = 'objects';

-- name: sources
select distinct source from lake.raw.objects;
