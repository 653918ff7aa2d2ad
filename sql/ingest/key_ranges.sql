-- Divides objects into ranges of keys. One statement under each name; warehouse/ingest/key_ranges.py runs them.

-- name: of_lake
-- All objects, whatever their source: the lake knows their number without reading them.
select key from raw.objects;

-- name: of_changes
-- Those that differ in a listing.
select key from changes;

-- name: of_patients
-- Their .dcm objects, by patient.
select patient_id as key from parsed where kind = 'dcm'
union all
select patient_id as key from changes where old_kind = 'dcm';

-- name: count
select count(*) as n_objects from ({{ objects }});

-- name: bounds
-- The keys that divide the objects into so many parts of about one size.
select distinct unnest(quantile_disc(key, [n / $parts for n in range(1, $parts)])) as bound
from (select key from ({{ objects }}) using sample reservoir (20000 rows) repeatable (1))
order by bound;
