-- Checks the rows of a manifest before they are used. One statement under each name; warehouse/manifests/checking.py
-- runs them, on a connection that can read and write only a private folder with copies of the manifest's own files.

-- name: columns
select column_name, column_type
from (describe from {{ rows }}); -- noqa: PRS

-- name: as_text
-- The rows with columns of types that Polars does not read as the text in the CSV.
select * replace ({{ texts }}) from {{ rows }};

-- name: length
select cast(sum(num_rows) as bigint) as n_rows from parquet_file_metadata({{ file }});

-- name: widest
-- Bytes of text in the longest row, and in all rows.
select coalesce(max(bytes), 0) as widest, coalesce(sum(bytes), 0) as total
from (select {{ bytes }} as bytes from {{ rows }});

-- name: anew
copy (from {{ rows }}) to {{ new }} (format parquet); -- noqa: PRS

-- name: texts
-- Every column as text, as in the CSV.
select {{ texts }} from {{ rows }};

-- name: problems
-- The number of rows with each fault.
select
    count(*) filter (
        coalesce(key, '') = '' or coalesce(uri, '') = '' or etag is null or size is null
        or coalesce(patient_id, '') = '' or coalesce(group_name, '') = ''
    ) as "lack a key, uri, size, etag, patient or group",
    count(*) filter (size < 0) as "have a negative size",
    count(*) filter (strlen(key) > 4096) as "have a key of more than 4,096 bytes",
    count(*) filter (object is null or not list_contains($objects, object)) as "are of a kind that was not requested",
    count(*) filter ($group <> 'all' and group_name <> $group) as "are of another group",
    count(*) filter (
        not ends_with(uri, '/' || key)
        or not list_contains($sources, left(uri, length(uri) - length(key) - 1))
    ) as "are not in a source of the manifest"
from {{ rows }};

-- name: repeated
select count(*) from (select uri from {{ rows }} group by uri having count(*) > 1);

-- name: sources
select distinct left(uri, length(uri) - length(key) - 1) as source from {{ rows }} order by source;

-- name: counts
select
    count(*) as objects,
    coalesce(sum(size), 0) as bytes,
    count(*) filter (object = 'dcm') as dcm,
    count(*) filter (object = 'json') as json,
    count(*) filter (object = 'clinical') as clinical
from {{ rows }};

-- name: images
-- Images are counted by their headers, one each; some are not objects of their own, but in the .dcm.
select
    count(distinct patient_id) as patients,
    count(distinct StudyInstanceUID) as studies,
    count(distinct SeriesInstanceUID) as series,
    count(*) filter (object = 'json') + $headers_in_dcm as images
from {{ rows }}
where object in ('json', 'dcm');

-- name: record_problems
select
    count(*) filter (
        coalesce(key, '') = '' or coalesce(source, '') = '' or etag is null or size is null or counts is null
        or coalesce(patient_id, '') = '' or coalesce(group_name, '') = ''
    ) as "lack a key, source, size, etag, patient or group",
    count(*) filter (size < 0) as "have a negative size",
    count(*) filter ($group <> 'all' and group_name <> $group) as "are of another group",
    count(*) filter (
        not regexp_full_match(source, '(s3://[^/]|/).*', 's') or regexp_matches(source, '[\x00-\x1f\x7f]|[^/]/$')
    ) as "have a source that is neither s3:// nor a folder"
from {{ rows }};
