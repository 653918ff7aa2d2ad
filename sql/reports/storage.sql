-- How much there is, in bytes, and what could not be read, by reason. One statement under each name;
-- pipelines/metadata.py runs them.

-- name: bytes
select
    (select coalesce(sum(size), 0) from raw.objects) as bucket_bytes,
    (select coalesce(sum(file_size_bytes + delete_file_size_bytes), 0) from ducklake_table_info('lake')) as lake_bytes;

-- name: rejects
-- What follows a colon or stands in brackets may come from the object itself, and stays out.
select
    coalesce(kind, 'other') as kind,
    trim(regexp_replace(split_part(reason, ':', 1), '\(.*\)', '', 'g')) as reason,
    count(*) as objects
from ops.rejects
group by all
order by objects desc, kind, reason;
