-- The current objects of a live inventory table of S3 Metadata. One statement under each name;
-- warehouse/object_store/metadata_rows.py runs them on a connection of its own.

-- name: versions
create table versions as from incoming;

-- name: examine
-- A bucket without versions has one row for each key, and no version ids.
select
    count(*) filter (bucket is distinct from $bucket) as n_others,
    min(bucket) filter (bucket is distinct from $bucket) as other,
    count(*) filter (key is null or sequence_number is null) as n_unnamed,
    coalesce(bool_or(coalesce(version_id, 'null') not in ('', 'null')), false) as has_versions
from versions;

-- name: all
create view objects as
select key, size, etag, last_modified from versions where is_delete_marker is not true;

-- name: latest
-- A larger sequence number means a newer version of a key; where that is a delete marker, there is no object.
create table objects as
select key, newest.size, newest.etag, newest.last_modified
from (
    select
        key,
        max_by(
            struct_pack(size := size, etag := etag, last_modified := last_modified, is_deleted := is_delete_marker),
            sequence_number
        ) as newest
    from versions
    group by key
)
where newest.is_deleted is not true;

-- name: complete
select key, size, etag, last_modified
from objects
where size is not null and etag <> '' and last_modified is not null;

-- name: incomplete
select key
from objects
where starts_with(key, $below) and (size is null or coalesce(etag, '') = '' or last_modified is null)
order by key
limit $most;
