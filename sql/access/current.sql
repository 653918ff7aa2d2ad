-- The log of access as it is now, over a connection that is pinned at an older snapshot; `catalogue` has DuckLake's own
-- tables. Nearly every lake is asked only whether its log has anything, which costs some milliseconds.

-- name: newest
-- The newest snapshot of all, if the log has events; else null.
select max(snapshot_id)
from {{ catalogue }}.ducklake_snapshot
where
    exists (
        select 1
        from {{ catalogue }}.ducklake_data_file as files
        inner join {{ catalogue }}.ducklake_table as tables on files.table_id = tables.table_id
        inner join {{ catalogue }}.ducklake_schema as schemas on tables.schema_id = schemas.schema_id
        where
            schemas.schema_name = 'access'
            and tables.table_name = 'events'
            and files.end_snapshot is null
            and tables.end_snapshot is null
    );

-- name: events
select *
from {{ events }}
order by number, hash;
