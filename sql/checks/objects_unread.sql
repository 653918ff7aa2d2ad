-- title: Objects that could not be read, by reason
-- meaning: Objects of the bucket that are missing from the tables: how many for each reason, and since when.
--   Those that a retry may fix are tried again at every refresh. `chest rejects` names the objects. Limited to the chosen
--   group, but not by the as-of date.
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
