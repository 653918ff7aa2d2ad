-- The sources of a lake. One statement under each name; warehouse/ingest/sources.py runs them.

-- name: known
select 1 from raw.objects where source = $source limit 1;

-- name: others
select distinct source from raw.objects where source <> $source order by source limit 4;

-- name: list
select
    source,
    count(*) as objects,
    cast(sum(size) as bigint) as bytes,
    count(distinct patient_id) as patients,
    max(last_modified) as newest_object
from lake.raw.objects
group by source
order by source;
