-- The SQL that a catalogue stores. One statement under each name; warehouse/lake/stored_sql.py runs them. `catalogue` is
-- the schema where DuckLake keeps its own tables.

-- name: entries
-- What a file of SQLite has besides tables and their indices: views, triggers, tables of an extension of SQLite. Asked by
-- DuckDB of a catalogue before it is attached, and by SQLite itself: so in the words of both.
select
    type,
    substr(name, 1, 63) as name
from {{ entries }}
where coalesce(type, '') <> 'index' and not (coalesce(type, '') = 'table' and lower(coalesce(sql, '')) like 'create table %')
limit 1;

-- name: scan
-- The table of a file of SQLite that lists what it has, for DuckDB.
sqlite_scan({{ path }}, 'sqlite_master')

-- name: expressions
-- What else has SQL that DuckLake parses: macros, sorted tables, defaults that are computed. Lakes of ours have none.
select 'a macro, ' || macro_name as what
from {{ catalogue }}.ducklake_macro
union all
select 'a table that is sorted by an expression, ' || expression
from {{ catalogue }}.ducklake_sort_expression
union all
select 'a default that is computed, ' || column_name
from {{ catalogue }}.ducklake_column
where default_value_type = 'expression'
limit 1;

-- name: inlined
-- Names of tables with rows in the catalogue itself: DuckLake puts them into its queries as they are.
select table_name
from {{ catalogue }}.ducklake_inlined_data_tables
where not coalesce(regexp_full_match(table_name, '[A-Za-z0-9_]+'), false)
limit 1;

-- name: views
-- The views of the snapshot that is attached.
select views.view_name, views.sql
from {{ catalogue }}.ducklake_view as views
cross join ducklake_current_snapshot('lake') as attached
where
    views.begin_snapshot <= attached.id
    and (views.end_snapshot is null or views.end_snapshot > attached.id);

-- name: parsed
-- The same views, and parsed, where a text may name more than tables and views of the lake. A quotation mark within a
-- text has a \ before it, so that no literal looks like a node of the tree. DuckLake replaces the placeholder too, as a
-- view is used.
with
attached as (
    select id as snapshot_id from ducklake_current_snapshot('lake')
),

parsed as (
    select
        views.view_name,
        views.sql as text,
        json_serialize_sql(replace(views.sql, '{DUCKLAKE_CATALOG}.', 'lake.')) as tree
    from {{ catalogue }}.ducklake_view as views
    cross join attached
    where
        views.begin_snapshot <= attached.snapshot_id
        and (views.end_snapshot is null or views.end_snapshot > attached.snapshot_id)
)

select
    view_name,
    text,
    case
        when
            contains(tree, '"TABLE_FUNCTION"')
            or contains(tree, '"SHOW_REF"')
            or contains(tree, '"error":true')
            or regexp_matches(tree, '"(catalog_name|catalog)":"[^"]')
            or regexp_matches(tree, '"table_name":"[A-Za-z0-9_]*[^A-Za-z0-9_"]')
            or contains(regexp_replace(tree, '"schema_name":"(main|core|raw|ops)?"', '', 'g'), '"schema_name":"')
            then tree
    end as tree
from parsed
order by view_name;
