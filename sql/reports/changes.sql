-- What changed between two snapshots. One statement under each name; warehouse/lake/view_changes.py runs them.

-- name: oldest
select min(snapshot_id) from ducklake_snapshots('lake');

-- name: changed
-- Tables with added or removed rows, or that were altered, as `core.images`; and views that were created again.
-- Merging and rewriting files changes no row and is not listed. DuckLake names tables by number.
with
reported as (
    select
        entry.key as what,
        unnest(entry.value) as name
    from (
        select unnest(map_entries(changes)) as entry
        from ducklake_snapshots('lake')
        where snapshot_id > $since and snapshot_id <= $until
    )
),

named as (
    select
        cast(tables.table_id as varchar) as name,
        schemas.schema_name || '.' || tables.table_name as relation
    from __ducklake_metadata_lake.{{ schema }}.ducklake_table as tables
    inner join __ducklake_metadata_lake.{{ schema }}.ducklake_schema as schemas using (schema_id)
    where tables.end_snapshot is null
)

select distinct named.relation
from reported
inner join named using (name)
where reported.what in ('tables_inserted_into', 'tables_deleted_from', 'tables_altered')
union
select replace(name, 'main.', '') as relation from reported where what = 'views_created';
