-- title: Objects that could not be read, by reason
-- meaning: What is in the bucket and not in the tables, with how many objects each reason keeps out and since when.
--   Those that a second try may heal are tried at every refresh. `chest rejects` names the objects. Of the group asked
--   for; not cut by as-of date.
-- severity: warning
-- table: ops.rejects
select
    source,
    kind,
    reason,
    count(*) as n_objects,
    bool_and(retry) as is_tried_again,
    min(first_seen) as first_seen
from lake.ops.rejects
where {{ in_group }} and kept_etag is null
group by source, kind, reason
order by n_objects desc, source, kind, reason;
