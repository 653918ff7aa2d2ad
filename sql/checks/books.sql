-- title: The object counts of a source do not reconcile
-- meaning: Every live object is one of these: objects = headers + clinical + rejected + dcm + other, where headers and
--   clinical are rows of core.images and core.clinical. This holds for each kind separately: a shortfall means
--   objects that were dropped silently, a surplus means rows without an object. An object whose newer content cannot be read, while its row of the earlier one
--   stays, counts as loaded. Counted over the whole snapshot, whatever the as-of date and the group.
-- severity: blocking
-- table: raw.objects
with
counts as (
    select source, kind, count(*) as n_objects, 0 as n_loaded, 0 as n_rejected from raw.objects group by source, kind
    union all
    select source, 'header' as kind, 0 as n_objects, count(*) as n_loaded, 0 as n_rejected
    from core.images
    group by source
    union all
    select source, 'clinical' as kind, 0 as n_objects, count(*) as n_loaded, 0 as n_rejected
    from core.clinical
    group by source
    union all
    -- These are listed and not read, so that each is where it belongs unless its key was rejected.
    select source, kind, 0 as n_objects, count(*) as n_loaded, 0 as n_rejected
    from raw.objects anti join (from ops.rejects where kind <> 'skipped') using (source, key)
    where kind in ('dcm', 'other')
    group by source, kind
    union all
    select source, kind, 0 as n_objects, 0 as n_loaded, count(*) as n_rejected
    from ops.rejects
    -- What the listing skipped is named and does not count as an object; what is held over is counted as loaded.
    where kind <> 'skipped' and kept_etag is null
    group by source, kind
)

select
    source,
    kind,
    sum(n_objects) as n_objects,
    sum(n_loaded) as n_loaded,
    sum(n_rejected) as n_rejected,
    sum(n_objects - n_loaded - n_rejected) as difference
from counts
group by source, kind
having sum(n_objects - n_loaded - n_rejected) <> 0
order by all;
