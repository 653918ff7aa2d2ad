-- title: The books of a source do not balance
-- meaning: Every live object is one of these: objects = headers + clinical + rejected + dcm + other, where headers and
--   clinical are rows of core.images and core.clinical. What is missing was dropped silently, what is too much was made
--   up. Counted over the whole snapshot, whatever the as-of date and the group.
-- severity: blocking
-- table: raw.objects
with
counts as (
    select source, 'objects' as part, count(*) as n from raw.objects group by source
    union all
    select source, 'headers' as part, count(*) as n from core.images group by source
    union all
    select source, 'clinical' as part, count(*) as n from core.clinical group by source
    union all
    select source, 'rejected' as part, count(*) as n from ops.rejects group by source
    union all
    select source, kind as part, count(*) as n
    from raw.objects anti join ops.rejects using (source, key)
    where kind in ('dcm', 'other')
    group by source, kind
),

books as (
    select
        source,
        coalesce(sum(n) filter (part = 'objects'), 0) as n_objects,
        coalesce(sum(n) filter (part = 'headers'), 0) as n_headers,
        coalesce(sum(n) filter (part = 'clinical'), 0) as n_clinical,
        coalesce(sum(n) filter (part = 'rejected'), 0) as n_rejected,
        coalesce(sum(n) filter (part = 'dcm'), 0) as n_dcm,
        coalesce(sum(n) filter (part = 'other'), 0) as n_other
    from counts
    group by source
)

select *, n_objects - (n_headers + n_clinical + n_rejected + n_dcm + n_other) as difference
from books
where n_objects <> n_headers + n_clinical + n_rejected + n_dcm + n_other
order by all;
