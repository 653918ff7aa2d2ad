-- Which rows of a lake's Parquet files are those of given patients, in every snapshot. One statement under each name;
-- warehouse/withdrawal/stored.py and rows.py run them. `catalogue` is the schema where DuckLake keeps its own tables,
-- `scan` the files of one table, with `filename` and `file_row_number`.

-- name: with content
-- The data files with a column of contents that names a patient.
select distinct stats.data_file_id
from {{ catalogue }}.ducklake_file_column_stats as stats
inner join {{ catalogue }}.ducklake_column as columns
    on stats.table_id = columns.table_id and stats.column_id = columns.column_id
where columns.column_name in ('PatientID', 'pseudonym');

-- name: names by_key
select distinct unnest(case when patient_id is null then string_split(key, '/') else [patient_id] end) as name
from {{ scan }};

-- name: names by_content
select distinct trim({{ column }}) as name from {{ scan }}
where trim({{ column }}) is distinct from patient_id and {{ column }} is not null;

-- name: named
-- Objects whose content names one of the patients, though their key names another; with the image of a header.
select source, key, {{ dcm_key }} as dcm_key
from {{ scan }}
where trim({{ column }}) in (select name from withdrawn_names);

-- name: positions
-- Rows of the patients: by key, in keys of neither layout by any segment, and those of the objects above.
select filename, list(file_row_number order by file_row_number) as positions
from {{ scan }}
where
    patient_id in (select name from withdrawn_names)
    or (patient_id is null and list_has_any(string_split(key, '/'), (select list(name) from withdrawn_names)))
    or (source, key) in (select (source, key) from withdrawn_objects)
group by filename;
