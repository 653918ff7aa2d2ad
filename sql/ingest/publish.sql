-- Publishing. One statement under each name; warehouse/ingest/publish.py runs them.

-- name: insert
insert into ops.refreshes by name
select
    $refresh_id as refresh_id,
    $source as source,
    cast($started_at as timestamptz) as started_at,
    now() as finished_at,
    $added as added,
    $changed as changed,
    $removed as removed,
    $images as images,
    $clinical as clinical,
    $rejected as rejected,
    $snapshot as snapshot,
    $published as published;

-- name: files
select count(*) from ducklake_list_files('lake', 'images', schema => 'core');

-- name: merge
call ducklake_merge_adjacent_files('lake', max_file_size => 67108864);

-- name: unread
-- How much of each source could not be read: rows kept for lack of new content, and objects without a row. Objects that
-- are too large do not count against the bucket.
select
    rejects.source,
    any_value(objects.n_objects) as n_objects,
    count(*) filter (rejects.kept_etag is not null) as n_kept,
    count(*) filter (rejects.kept_etag is null and rejects.retry and not starts_with(rejects.reason, 'larger than'))
        as n_unread
from (select * from ops.rejects{{ version }}) as rejects
inner join (
    select source, count(*) as n_objects
    from raw.objects{{ version }}
    where kind in ('header', 'clinical')
    group by source
) as objects on rejects.source = objects.source
where rejects.reason <> $due
group by rejects.source
order by rejects.source;

-- name: reasons
-- The reasons, most frequent first, without text after a colon or in brackets, which may come from the object itself.
select trim(regexp_replace(split_part(reason, ':', 1), '\(.*\)', '', 'g')) as why, count(*) as n_objects
from ops.rejects
where source = $source and reason <> $due
group by why
order by n_objects desc, why
limit 3;
