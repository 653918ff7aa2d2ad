-- Brings raw.objects up to date with a listing. One statement under each name; warehouse/ingest/listing.py runs them.

-- name: listing
-- The listing as it is streamed, with the number of the range that a key is in: a text's beginning alone would leave out
-- no part of the table. The answer files of a synthetic bucket are not objects.
create or replace temp table listing as
select key, size, etag, last_modified, {{ number }} as part
from incoming
where not list_contains($answers, key);

-- name: newer
-- Keys for which the lake is newer than a listing of an earlier time, such as an S3 Inventory.
create or replace temp table newer as
select key from raw.objects where source = $source and last_modified > $listed_at;

-- name: former
select key, size, etag, last_modified
from raw.objects at (version => {{ version }}) -- noqa: PRS, AL01, AL05
where source = $source;

-- name: no_former
select key, size, etag, last_modified from raw.objects where false;

-- name: learnt
-- Changes to the lake by direct listings since then, including removals.
insert into newer
select coalesce(now.key, former.key)
from (from raw.objects where source = $source and {{ within }}) as now
full join (select * from ({{ former }}) where {{ within }}) as former on now.key = former.key
where (now.etag, now.size, now.last_modified) is distinct from (former.etag, former.size, former.last_modified);

-- name: drop_older
delete from listing where key in (from newer);

-- name: take_newer
insert into listing
select key, size, etag, last_modified, {{ number }} as part from raw.objects
where source = $source and key in (from newer);

-- name: repeated
-- Digests of keys that may be listed twice: those of all keys are a tenth of the keys, and all have to be in memory.
create or replace temp table repeated as
select hash(key) as digest
from listing
group by digest
having count(*) > 1;

-- name: doubles
-- Keys listed twice, such as `a` and the folder marker `a/` in some clients; searched only among changes.
create or replace temp table doubles as
with
suspected as (select key from listing where hash(key) in (select digest from repeated))

select suspected.key
from suspected
where suspected.key in (select changes.key from changes where hash(changes.key) in (select digest from repeated))
group by suspected.key
having count(*) > 1;

-- name: drop_doubles
-- The largest one is kept.
delete from listing
where rowid in (
    select row_id from (
        select listing.rowid as row_id, row_number() over (partition by listing.key order by size desc, etag) as place
        from listing
        semi join doubles on listing.key = doubles.key
    )
    where place > 1
);

-- name: differences
-- What differs in a range of keys, with the listing's facts of an object.
select
    coalesce(listing.key, objects.key) as key,
    case when objects.key is null then 'added' when listing.key is null then 'removed' else 'changed' end as change,
    listing.size,
    listing.etag,
    listing.last_modified,
    objects.kind as old_kind,
    objects.group_name,
    objects.patient_id,
    objects.image_id
from (select * exclude (part) from listing where part = {{ part }}) as listing
full join (
    select key, size, etag, last_modified, kind, group_name, patient_id, image_id
    from raw.objects
    where source = $source and {{ within }} and {{ in_range }}
) as objects on listing.key = objects.key
where
    objects.key is null
    or listing.key is null
    or $full
    or (listing.etag, listing.size) is distinct from (objects.etag, objects.size)
    -- An inventory and a listing may have times of different precision.
    or abs(epoch_us(listing.last_modified) - epoch_us(objects.last_modified)) >= 1_000_000;

-- name: changes
create or replace temp table changes as
select * from ({{ differences }});

-- name: more
insert into changes
select * from ({{ differences }});

-- name: counts
select
    (select count(*) from listing) as n_listed,
    count(*) filter (change = 'added') as n_added,
    count(*) filter (change = 'changed') as n_changed,
    count(*) filter (change = 'removed') as n_removed,
    (select count(*) from raw.objects where source = $source) as n_known
from changes;

-- name: probes
-- A few new objects, to test whether reading is allowed at all.
select key, etag, size
from changes
where change <> 'removed' and (key like '%.json' or $reads_dcm) and size < 1_000_000
order by size, key
limit 3;

-- name: sample
-- An arbitrary sample of all objects, for when those cannot be read.
select key, etag, size
from listing
where (key like '%.json' or $reads_dcm) and size < 1_000_000
order by hash(key)
limit $most;

-- name: parsed
-- The grammar is that of warehouse/object_store/keys.py, whose patterns are passed as parameters.
create or replace temp table parsed as
with
dated as (
    select
        key,
        size,
        etag,
        last_modified,
        change,
        old_kind,
        regexp_extract(key, '^(?:' || $dated || ')$', [{{ dated_names }}]) as d
    from changes
    where change <> 'removed'
),

both_layouts as (
    select
        *,
        regexp_extract(
            case when d.group_name = '' then key end, '^(?:' || $published || ')$', [{{ published_names }}]
        ) as p
    from dated
),

parts as (
    select
        *,
        case
            when d.dcm_id <> '' or p.dcm_id <> '' then 'dcm'
            when d.header_id <> '' or p.header_id <> '' then 'header'
            when d.clinical_date <> '' or p.clinical_date <> '' then 'clinical'
            else 'other'
        end as kind,
        nullif(coalesce(p.clinical_date, d.dcm_date || d.header_date || d.clinical_date), '') as key_date
    from both_layouts
)

select
    $source as source,
    key,
    size,
    etag,
    last_modified,
    kind,
    case when d.group_name <> '' then 'dated' when p.group_name <> '' then 'published' end as layout,
    nullif(coalesce(p.group_name, d.group_name), '') as group_name,
    nullif(coalesce(p.dcm_patient || p.header_patient || p.clinical_patient, d.patient_id), '') as patient_id,
    -- DuckDB accepts year 0, which does not exist in the calendar.
    case
        when key_date is null then cast(last_modified as date)
        when key_date >= '0001' then try_cast(key_date as date)
    end as available_date,
    nullif(p.record, '') as record,
    nullif(p.dcm_study || p.header_study, '') as study_id,
    nullif(p.dcm_series || p.header_series, '') as series_id,
    nullif(coalesce(p.dcm_id || p.header_id, d.dcm_id || d.header_id), '') as image_id,
    key_date,
    change,
    old_kind,
    {{ part }} as part
from parts;

-- name: delete
-- Here and below what is `within` is a range of keys: the keys of all that changed may be too many for memory.
delete from {{ table }}
where source = $source and {{ within }} and key in (select key from changes where change <> 'added' and {{ within }});

-- name: removed
-- Rows of objects that no longer exist or have changed their kind. Rows of replaced objects stay until the new content
-- has been read, because that may fail.
create or replace temp table removed as
select key from changes
where change = 'removed'
union all
select key from parsed
where change = 'changed' and old_kind <> kind;

-- name: delete_removed
delete from {{ table }}
where source = $source and {{ within }} and key in (select key from removed where {{ within }});

-- name: unpaired
-- Left behind by another program: a stored file without its typed row. Reading it again would duplicate it.
delete from {{ whole }}
where
    source = $source
    and {{ within }}
    and key in (select key from changes where change <> 'added' and {{ within }})
    and key not in (select key from {{ typed }} where source = $source and {{ within }});

-- name: due
-- Objects to read again although the etag is the same; the row stays meanwhile.
insert into ops.rejects by name
select
    parsed.source,
    parsed.key,
    parsed.etag,
    parsed.size,
    parsed.kind,
    parsed.group_name,
    parsed.patient_id,
    $reason as reason,
    true as retry,
    now() as first_seen,
    now() as last_seen,
    any_value(loaded.etag) as kept_etag
from parsed
inner join (select key, etag from {{ table }} where source = $source and {{ within }}) as loaded
    on parsed.key = loaded.key and parsed.etag = loaded.etag
where parsed.kind = '{{ kind }}' and parsed.part = {{ part }}
group by all;

-- name: insert
-- Sorted, so that plans and questions of one patient read a part of it; it compresses to two thirds. A part at a time.
insert into raw.objects by name
select {{ names_raw_objects }} from parsed
where part = {{ part }}
order by group_name, patient_id, key;

-- name: reject_dates
insert into ops.rejects by name
select
    source,
    key,
    etag,
    size,
    kind,
    group_name,
    patient_id,
    'impossible date in the key: ' || key_date as reason,
    false as retry,
    now() as first_seen,
    now() as last_seen,
    null as tried_by
from parsed
where available_date is null;

-- name: skipped
-- Entries that the listing skips now, beside those that it skipped before.
create or replace temp table skipped as
select coalesce(found.key, known.key) as key, found.reason, known.first_seen
from skipped_found as found
full join (
    select key, reason, first_seen from ops.rejects where source = $source and kind = 'skipped' and {{ within }}
) as known on found.key = known.key
where found.reason is distinct from known.reason;

-- name: forget_skipped
delete from ops.rejects where source = $source and kind = 'skipped' and key in (select key from skipped);

-- name: reject_skipped
-- Without etag and size, because only the name was examined.
insert into ops.rejects by name
select
    $source as source,
    key,
    '' as etag,
    0 as size,
    'skipped' as kind,
    nullif(regexp_extract(key, '^([^/]+)/', 1), '') as group_name,
    null as patient_id,
    reason,
    false as retry,
    coalesce(first_seen, now()) as first_seen,
    now() as last_seen
from skipped
where reason is not null;

-- name: any_dcm
-- Whether a .dcm was added, removed or replaced.
select 1 from changes where old_kind = 'dcm'
union all
select 1 from parsed where kind = 'dcm'
limit 1;

-- name: any_image
select 1 from core.images where source = $source limit 1;

-- name: repaired
-- Loaded images whose .dcm was added, removed or replaced, with their present .dcm; of the patients that are `near`.
create or replace temp table repaired as
with
touched as (
    select group_name, patient_id, image_id from parsed where kind = 'dcm' and {{ near }}
    union
    select group_name, patient_id, image_id from changes where old_kind = 'dcm' and {{ near }}
),

loaded as (
    select images.* from (from core.images where source = $source and {{ near }}) as images
    semi join touched
        on
            images.group_name = touched.group_name
            and images.patient_id = touched.patient_id
            and images.image_id = touched.image_id
    -- The .dcm that a header was read from stays what it was, until its new content is read.
    where images.header_source = 'json'
),

headers as (
    select objects.* from (from raw.objects where source = $source and {{ near }}) as objects
    semi join loaded on objects.key = loaded.key
),

paired as ({{ pairing }})

select paired.* from paired
inner join loaded on paired.key = loaded.key
where
    (paired.dcm_key, paired.dcm_etag, paired.dcm_size, paired.dcm_available_date, paired.earlier_dcm)
    is distinct from
    (loaded.dcm_key, loaded.dcm_etag, loaded.dcm_size, loaded.dcm_available_date, loaded.earlier_dcm);

-- name: repair
update core.images
set
    dcm_key = repaired.dcm_key,
    dcm_etag = repaired.dcm_etag,
    dcm_size = repaired.dcm_size,
    dcm_available_date = repaired.dcm_available_date,
    earlier_dcm = repaired.earlier_dcm
from repaired
where images.source = $source and images.key = repaired.key;
