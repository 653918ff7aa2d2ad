-- The SQL that a catalogue stores. One statement under each name; warehouse/lake/stored_sql.py runs them. `catalogue` is
-- the schema where DuckLake keeps its own tables.

-- name: attach file
-- To read only; `busy` is in milliseconds.
attach {{ path }} as examined (type sqlite, read_only, busy_timeout {{ busy }}); -- noqa: PRS

-- name: detach file
detach examined;

-- name: entries
-- What a file of SQLite has, in the words of SQLite: DuckDB's own way to read a table does so by slices of its rows, and
-- loses the last of them where there are a multiple of 122,880 numbers from the first to it (1.5.5).
select
    type,
    name,
    sql
from sqlite_master;

-- name: ask sqlite
select * from sqlite_query({{ database }}, {{ query }});

-- name: ends
-- The first and the last number of a table's rows, each found at once; in the words of SQLite.
select
    (select min(rowid) from {{ table }}) as first_row,
    (select max(rowid) from {{ table }}) as last_row

-- name: losing
-- How many of the tables whose ends are listed end with such a row.
select count(*) as n_tables
from ({{ ends }}) as tables
where last_row % 122880 = 0 or (last_row - first_row + 1) % 122880 = 0;

-- name: relations
-- The same of a catalogue in PostgreSQL, asked of its server before DuckLake reads anything: whatever is not a plain table
-- may call functions of its author with the rights of whoever reads it, or writes to it. DuckDB finds schemas and tables
-- in either case of letters, so any case counts. Functions are named with their schema, and names are made texts, so that
-- no function of somebody else fits better. In the words of PostgreSQL.
select pg_catalog.min(cast(c.relname as text)) as name
from pg_catalog.pg_class as c
inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
where
    pg_catalog.lower(cast(n.nspname as text)) = pg_catalog.lower(cast({{ schema }} as text))
    and pg_catalog.lower(cast(c.relname as text)) like 'ducklake%'
    and c.relkind <> 'i'
    and (
        c.relkind <> 'r'
        or c.relrowsecurity
        or exists (select 1 from pg_catalog.pg_rewrite as w where w.ev_class = c.oid)
        or exists (select 1 from pg_catalog.pg_trigger as g where g.tgrelid = c.oid)
        -- DuckLake gives columns that it adds to an older catalogue a constant.
        or exists (
            select 1
            from pg_catalog.pg_attrdef as d
            where
                d.adrelid = c.oid
                and pg_catalog.pg_get_expr(d.adbin, d.adrelid)
                !~ '^(true|false|''[a-z]*''::(character varying|text)|NULL::(character varying|text))$'
        )
        or exists (select 1 from pg_catalog.pg_inherits as i where i.inhparent = c.oid or i.inhrelid = c.oid)
        -- Keys, and what is not null in the way of PostgreSQL 18.
        or exists (select 1 from pg_catalog.pg_constraint as k where k.conrelid = c.oid and k.contype not in ('p', 'n'))
        or exists (
            select 1
            from pg_catalog.pg_index as x
            where x.indrelid = c.oid and (x.indexprs is not null or x.indpred is not null)
        )
        or exists (
            select 1
            from pg_catalog.pg_attribute as a
            inner join pg_catalog.pg_type as t on a.atttypid = t.oid
            inner join pg_catalog.pg_namespace as tn on t.typnamespace = tn.oid
            where
                a.attrelid = c.oid
                and a.attnum > 0
                and (
                    tn.nspname <> 'pg_catalog'
                    -- We put numbers into statements as they are, so that they must be some.
                    or (
                        t.typname not in ('bool', 'int2', 'int4', 'int8', 'float8')
                        and pg_catalog.lower(cast(c.relname as text)) !~ '^ducklake_inlined_[a-z]+_[0-9]'
                        and pg_catalog.lower(cast(a.attname as text)) not in ({{ texts }})
                    )
                )
        )
    );

-- name: ask postgres
select * from postgres_query({{ database }}, {{ query }});

-- name: odd
-- Rows that lakes of ours do not have, of any snapshot: SQL that DuckLake parses (macros, tables that are sorted, defaults
-- that are computed), and texts that it puts into its own statements as they are (names of tables of inlined rows, uuids,
-- names of types, transforms of partitions; of geometries and variants also what their statistics are).
select 'a macro, ' || macro_name as what
from {{ catalogue }}.ducklake_macro
union all
select 'a table that is sorted by an expression, ' || expression
from {{ catalogue }}.ducklake_sort_expression
union all
select 'a default that is computed, ' || column_name
from {{ catalogue }}.ducklake_column
where
    coalesce(default_value_type, '') not in ('', 'literal')
    or coalesce(default_value_dialect, '') not in ('', 'duckdb')
union all
select 'a column of the type ' || coalesce(column_type, 'null')
from {{ catalogue }}.ducklake_column
where not coalesce(regexp_full_match(column_type, {{ plain_type }}), false)
union all
select 'statistics of a kind that its columns have not'
from {{ catalogue }}.ducklake_table_column_stats
where extra_stats is not null
union all
select 'a table of inlined rows whose name is SQL, ' || coalesce(table_name, 'null')
from {{ catalogue }}.ducklake_inlined_data_tables
where not coalesce(regexp_full_match(table_name, 'ducklake_[A-Za-z0-9_]+'), false)
union all
select 'a partition by ' || coalesce(transform, 'null')
from {{ catalogue }}.ducklake_partition_column
where not coalesce(regexp_full_match(transform, '[a-z]+(\(\d+\))?'), false)
union all
select 'a view in another language, with aliases or a zero byte, ' || coalesce(view_name, 'null')
from {{ catalogue }}.ducklake_view
where coalesce(dialect, '') <> 'duckdb' or coalesce(column_aliases, '') <> '' or contains("sql", chr(0))
union all
select 'the uuid ' || coalesce(uuid, 'null')
from (
    select cast(schema_uuid as varchar) as uuid
    from {{ catalogue }}.ducklake_schema
    union all
    select cast(table_uuid as varchar)
    from {{ catalogue }}.ducklake_table
    union all
    select cast(view_uuid as varchar)
    from {{ catalogue }}.ducklake_view
) as uuids
where not coalesce(regexp_full_match(uuid, '[0-9a-f-]{36}'), false)
limit 1;

-- name: views
-- The views of all snapshots: a query may read an older one, or one that nobody has published.
select distinct sql from {{ catalogue }}.ducklake_view;

-- name: parsed
-- The same views, and parsed, where a text may name more than tables and views of the lake, or may call a function that
-- somebody else's SQL may not. A quotation mark within a text has a \ before it, so that no literal looks like a node of
-- the tree. DuckLake replaces the placeholder too, as a view is used.
with
views as (
    select
        sql,
        min(view_name) as view_name
    from {{ catalogue }}.ducklake_view
    group by sql
),

parsed as (
    select
        view_name,
        sql as text,
        json_serialize_sql(replace(sql, '{DUCKLAKE_CATALOG}.', 'lake.')) as tree
    from views
)

select
    view_name,
    text,
    case
        when
            contains(tree, '"TABLE_FUNCTION"')
            or contains(tree, '"SHOW_REF"')
            or contains(tree, '"error":true')
            or contains(tree, '"at_clause":{')
            or regexp_matches(tree, '(?i)"name":"json"')
            or regexp_matches(tree, '"(catalog_name|catalog)":"[^"]')
            or regexp_matches(tree, '"table_name":"[A-Za-z0-9_]*[^A-Za-z0-9_"]')
            or regexp_matches(tree, {{ of_duckdb }})
            or contains(regexp_replace(tree, '"schema_name":"(main|core|raw|ops)?"', '', 'g'), '"schema_name":"')
            or not list_has_all({{ functions }}, regexp_extract_all(tree, '"function_name":"((?:[^"\\]|\\.)*)"', 1))
            then tree
    end as tree
from parsed
order by view_name;
