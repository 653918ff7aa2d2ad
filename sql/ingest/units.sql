-- Writes the rows of a unit as Parquet files of the lake, and registers them. One statement under each name;
-- warehouse/ingest/units/writing.py and registering.py run them.

-- name: years
select distinct year({{ column }}) as year from ({{ rows }}) order by year;

-- name: of_year
select * from ({{ rows }}) where year({{ column }}) = {{ year }};

-- name: write
copy (select {{ columns }} from ({{ rows }}))
to {{ path }} ( -- noqa: PRS
    format parquet, compression {{ compression }}, row_group_size {{ row_group_size }}, field_ids {{ field_ids }}
);

-- name: register
call ducklake_add_data_files({{ lake }}, {{ table }}, $paths, schema => {{ schema }});
