-- name: rejects
select key, etag, reason, first_seen, last_seen, kind, group_name, patient_id, size, retry, source
from lake.ops.rejects
where coalesce(getvariable('group_name'), 'training') in (coalesce(group_name, 'training'), 'all')
order by source, key;
