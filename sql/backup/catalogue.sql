-- The content of a catalogue, read by warehouse/lake/backup/sqlite_catalog.py: in the dialect of SQLite, not DuckDB.

-- name: files
-- Every data and delete file that any snapshot needs, below the data path; path is null where DuckLake does not
-- keep it relative. Files that wait to be deleted are not among them.
select
    case when s.path_is_relative and t.path_is_relative and f.path_is_relative then s.path || t.path || f.path end
        as path,
    f.file_size_bytes as size
from (
    select table_id, path, path_is_relative, file_size_bytes from ducklake_data_file
    union all
    select table_id, path, path_is_relative, file_size_bytes from ducklake_delete_file
) as f
-- A table or schema that was renamed has several rows; its path never changes.
inner join (select distinct table_id, schema_id, path, path_is_relative from ducklake_table) as t using (table_id)
inner join (select distinct schema_id, path, path_is_relative from ducklake_schema) as s using (schema_id)
order by path, size;

-- name: identity
-- The first schema's uuid is given when the lake is made, and stays.
select schema_uuid from ducklake_schema where schema_id = 0;

-- name: newest
select max(snapshot_id) from ducklake_snapshot;

-- name: published
select max(snapshot_id) from ducklake_snapshot_changes
where json_valid(commit_extra_info) and json_extract(commit_extra_info, '$.published');

-- name: integrity
select integrity_check from pragma_integrity_check;
