-- A reader's own copy of a catalogue, in which the rows of withdrawn patients are deleted at every snapshot. One
-- statement under each name; warehouse/withdrawal/hiding.py runs them. `hidden` is the copy,
-- `catalogue` the lake's own.

-- name: tables
select table_name from duckdb_tables() where database_name = 'hidden' and schema_name = 'main' order by all;

-- name: clear
delete from hidden.main.{{ table }};

-- name: fill
insert into hidden.main.{{ table }} by name select * from {{ catalogue }}.{{ table }};

-- name: schema
create schema if not exists hidden.{{ schema }};

-- name: view
create view hidden.{{ schema }}.{{ table }} as select * from main.{{ table }};

-- name: deletes
-- The positions to delete in one data file: those of the patients since the file is there, the others since they were
-- deleted.
copy ( -- noqa: PRS
    select
        {{ path }} as file_path,
        cast(pos as bigint) as pos,
        cast(min(since) as bigint) as _ducklake_internal_snapshot_id
    from (
        select unnest({{ positions }}) as pos, {{ begin }} as since
        {{ earlier }}
    )
    group by pos
    order by pos
) to {{ target }} (
    format parquet,
    field_ids {file_path: 2147483646, pos: 2147483645, _ducklake_internal_snapshot_id: 2147483539}{{ encryption }},
    return_stats
);

-- name: earlier
union all by name
select pos, {{ since }} as since from {{ scan }};

-- name: forget
delete from hidden.main.ducklake_delete_file where data_file_id = $file_id;

-- name: insert
insert into hidden.main.ducklake_delete_file by name
select
    $delete_id as delete_file_id,
    data_file_id,
    table_id,
    begin_snapshot,
    end_snapshot,
    $path as path,
    false as path_is_relative,
    'parquet' as format,
    $delete_count as delete_count,
    $file_size as file_size_bytes,
    $footer_size as footer_size,
    $key as encryption_key,
    $partial_max as partial_max
from hidden.main.ducklake_data_file
where data_file_id = $file_id;
