-- Cleaning clinical files again from raw.records. One statement under each name; warehouse/ingest/recleaning.py runs
-- them.

-- name: stale
-- The files that were cleaned by other rules, numbered; of every source, so that a lake never mixes two sets of rules.
create or replace temp table stale as
select row_number() over () as place, *
from (
    -- A row may describe earlier content of its object than raw.objects: it keeps that.
    select clinical.source, clinical.key, clinical.etag, clinical.size, clinical.last_modified, clinical.available_date
    from core.clinical
    semi join raw.records on clinical.source = records.source and clinical.key = records.key
    where clinical.rules is distinct from $rules
    order by clinical.group_name, clinical.patient_id, clinical.key
);

-- name: any
select 1 from core.clinical where rules is distinct from $rules limit 1;

-- name: unit
select
    objects.* replace (
        stale.etag as etag,
        stale.size as size,
        stale.last_modified as last_modified,
        stale.available_date as available_date
    ),
    records.record as content
from raw.objects
inner join stale on objects.source = stale.source and objects.key = stale.key
inner join raw.records on stale.source = records.source and stale.key = records.key
where stale.place between $first and $last;

-- name: insert
insert into {{ table }} by name select {{ names }} from cleaned;

-- name: forget
delete from {{ table }}
where (source, key) in (select (source, key) from stale);
