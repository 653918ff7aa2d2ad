-- Objects that newer rules can no longer read leave the lake and become rejects, even of a source that is not refreshed
-- now, so that the counts balance. Loading that source tries them again. One statement under each name;
-- warehouse/ingest/unreading.py runs them over the relation unread: source, key, reason.

-- name: known
create or replace temp table known as
select rejects.source, rejects.key, min(rejects.first_seen) as first_seen
from ops.rejects
inner join unread on rejects.source = unread.source and rejects.key = unread.key
group by all;

-- name: forget
delete from ops.rejects where (source, key) in (select (source, key) from unread);

-- name: reject
insert into ops.rejects by name
select
    objects.source,
    objects.key,
    objects.etag,
    objects.size,
    objects.kind,
    objects.group_name,
    objects.patient_id,
    unread.reason,
    true as retry,
    coalesce(known.first_seen, now()) as first_seen,
    now() as last_seen
from raw.objects
inner join unread on objects.source = unread.source and objects.key = unread.key
left join known on objects.source = known.source and objects.key = known.key;

-- name: drop
delete from {{ table }} where (source, key) in (select (source, key) from unread);
