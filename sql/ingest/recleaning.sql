-- Cleaning clinical files again from raw.records. One statement under each name; warehouse/ingest/recleaning.py runs
-- them.

-- name: any
select 1 from core.clinical where rules is distinct from $rules limit 1;

-- name: begin
-- The files that were cleaned by other rules, numbered by key; of every source, so that a lake never mixes two sets of
-- rules. A row may describe earlier content of its object than raw.objects: it keeps that.
create or replace temp table stale as
select cast(0 as bigint) as place, source, key, etag, size, last_modified, available_date from core.clinical limit 0;

-- name: find
-- Those of a range of keys, after those found.
insert into stale
select
    (select count(*) from stale) + row_number() over (order by key, source) as place,
    source,
    key,
    etag,
    size,
    last_modified,
    available_date
from core.clinical
semi join (select source, key from raw.records where {{ in_range }}) as records
    on clinical.source = records.source and clinical.key = records.key
where clinical.rules is distinct from $rules and {{ in_range }}
order by place;

-- name: bounds
-- The keys of a unit: only their part of the tables is read, which are sorted.
select min(key) as low, max(key) as high from stale where place between $first and $last;

-- name: unit
select
    objects.* replace (
        stale.etag as etag,
        stale.size as size,
        stale.last_modified as last_modified,
        stale.available_date as available_date
    ),
    records.record as content
from (select * from raw.objects where key between {{ low }} and {{ high }}) as objects
inner join stale on objects.source = stale.source and objects.key = stale.key
inner join (select source, key, record from raw.records where key between {{ low }} and {{ high }}) as records
    on stale.source = records.source and stale.key = records.key
where stale.place between $first and $last
order by stale.place;

-- name: insert
insert into {{ table }} by name select {{ names }} from cleaned;

-- name: forget
delete from {{ table }}
where {{ in_range }} and (source, key) in (select (source, key) from stale where {{ in_range }});
