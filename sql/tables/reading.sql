-- Reads a table of the user's own on a connection that can open that file alone; warehouse/cohorts/tables/reading.py
-- fills and runs these statements. `the row` numbers the rows below the header from 1.

-- name: open csv
-- Every cell as text; an empty one is null. Anything out of form is an error with its line. No more rows are loaded than
-- show that there are too many.
create temp table given as
select
    row_number() over () as "the row",
    *
from (from read_csv( -- noqa: PRS
    {{ file }}, auto_detect = false, header = true, delim = {{ delimiter }}, quote = '"', escape = '"',
    columns = {{ columns }}, strict_mode = true, null_padding = false, nullstr = '', compression = 'none',
    encoding = 'utf-8', max_line_size = {{ most }}
) limit {{ rows }});

-- name: length
-- The rows that a Parquet file states; nothing of them is read.
select coalesce(cast(sum(num_rows) as bigint), 0) from parquet_file_metadata({{ file }});

-- name: leaves
-- The names in a Parquet file as they are written, and the precision of decimals; DuckDB renames doubled and empty ones.
select
    name,
    coalesce(precision, 0) as digits
from parquet_schema({{ file }})
where num_children is null and column_id > 0;

-- name: columns
select
    column_name,
    column_type
from (describe from {{ rows }}); -- noqa: PRS

-- name: widest
-- Bytes of text in the longest row, in all rows, and the number of rows.
select
    coalesce(max(n_bytes), 0) as widest,
    coalesce(sum(n_bytes), 0) as total,
    count(*) as n_rows
from (select {{ bytes }} as n_bytes from {{ rows }});

-- name: open rows
create temp table given as
select
    row_number() over () as "the row",
    *
from {{ rows }};

-- name: test types
-- For each test the number of cells that fail it.
select {{ tests }} from given;

-- name: misfits
-- For each column the first row whose value does not fit, and the value.
select {{ misfits }} from given;

-- name: typed
create temp table typed as select {{ columns }} from given order by "the row";

-- name: lines
-- The rows as lines of JSON, sorted, so that the order of the rows does not matter.
select encode(line || chr(10)) as line
from (select to_json([{{ texts }}])::varchar as line from typed) -- noqa: ST
order by line;

-- name: attach
create temp table {{ table }} as from handed_over;

-- name: copy
copy {{ table }} to {{ file }} (format parquet, compression zstd); -- noqa: PRS
