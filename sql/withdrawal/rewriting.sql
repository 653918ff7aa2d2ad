-- Writes Parquet files of a lake anew without the rows of purged patients. One statement under each name;
-- warehouse/withdrawal/rewriting.py runs them.

-- name: schema
-- The columns of a file, parents before their children.
select name, type, converted_type, logical_type, coalesce(num_children, 0) as n_children, field_id
from parquet_schema({{ path }});

-- name: columns
-- The columns of a table as the catalogue has them, which gives them the ids of the fields.
select
    column_id,
    arg_max(column_name, begin_snapshot) as column_name,
    any_value(parent_column) as parent_column
from {{ catalogue }}.ducklake_column
where table_id = $table_id
group by column_id
order by column_id;

-- name: rows_a_group
select max(row_group_num_rows) from parquet_metadata({{ path }});

-- name: write
-- In the order of the file; the row ids stay what they were, in a column of their own.
copy ( -- noqa: PRS
    select {{ columns }}
    from {{ scan }}
    anti join doomed on file_row_number = doomed.pos
    order by file_row_number
) to {{ target }} (
    format parquet, compression zstd, row_group_size {{ rows_a_group }}, field_ids {{ field_ids }}{{ encryption }},
    return_stats
); -- noqa: PRS

-- name: compare
-- Rows of one file that the other does not have, in either direction, as numbers.
select
    (select count(*) from {{ kept }}) as n_kept,
    (select count(*) from {{ written }}) as n_written,
    (
        select count(*) from ((from {{ kept }}) except all (from {{ written }}))
    ) as n_lost;

-- name: doomed
create or replace temp table doomed as select unnest(cast($positions as bigint[])) as pos;

-- name: write_deletes
-- Positions move up by the rows removed before them.
copy (
    select
        {{ path }} as file_path,
        cast(deletes.pos - (select count(*) from doomed where doomed.pos < deletes.pos) as bigint) as pos
        {{ snapshot }}
    from {{ scan }} as deletes
    where deletes.pos not in (select pos from doomed)
    order by pos
) to {{ target }} (format parquet, compression zstd, field_ids {{ field_ids }}{{ encryption }}, return_stats);
