-- Leaves the objects of withdrawn patients out of a listing. One statement under each name;
-- warehouse/ingest/withholding.py runs them, after the listing was compared and its new keys were parsed.

-- name: names
-- The pseudonyms in new keys; in keys of neither layout each segment.
select distinct unnest(case when patient_id is null then string_split(key, '/') else [patient_id] end) as name
from parsed;

-- name: keys
select key from parsed;

-- name: withheld
-- The objects that are left out.
create or replace temp table withheld as
select
    parsed.key, parsed.kind, coalesce(parsed.size, 0) as size, any_value(names.digest) as digest, false as is_by_content
from parsed
inner join withheld_names as names
    on
        parsed.patient_id = names.name
        or (parsed.patient_id is null and list_contains(string_split(parsed.key, '/'), names.name))
group by all
union
select parsed.key, parsed.kind, coalesce(parsed.size, 0) as size, keys.digest, true as is_by_content
from parsed
inner join withheld_keys as keys on parsed.key = keys.key;

-- name: drop
delete from {{ table }} where key in (select key from withheld);

-- name: sums
-- Those that only their content gives away are recorded one by one already.
select kind, digest, count(*) as n_objects, cast(sum(size) as bigint) as bytes
from withheld
where not is_by_content
group by all;
