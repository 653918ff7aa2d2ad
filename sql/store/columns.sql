-- What the catalogue knows of the tables' columns; warehouse/lake/migrations.py runs it. `catalogue` is the schema where
-- DuckLake keeps its own tables. DuckDB's own list of columns would bind every view first, which takes ten times as long.

-- name: comments
-- Table, column and comment of the columns of every table, without those inside a structure or a list.
select
    schemas.schema_name || '.' || tables.table_name as table_name,
    columns.column_name,
    tags.value as comment
from {{ catalogue }}.ducklake_column as columns
inner join {{ catalogue }}.ducklake_table as tables
    on columns.table_id = tables.table_id and tables.end_snapshot is null
inner join {{ catalogue }}.ducklake_schema as schemas
    on tables.schema_id = schemas.schema_id and schemas.end_snapshot is null
inner join {{ catalogue }}.ducklake_column_tag as tags
    on
        columns.table_id = tags.table_id
        and columns.column_id = tags.column_id
        and tags.key = 'comment'
        and tags.end_snapshot is null
where columns.end_snapshot is null and columns.parent_column is null;
