-- Decides whether a state of the lake may be published. One statement under each name; warehouse/ingest/publish_gate.py
-- runs them.

-- name: screen
-- True when books, rows_twice, rows_unpaired and rows_out_of_date cannot have rows, if no object is repeated (below).
-- The checks join and group whole tables; this reads each once and keeps sums. It rests on: objects have one row each;
-- the images are exactly the header objects that were not rejected, with their etags (that of the earlier content where
-- a row was kept); the headers are exactly the images; the same holds for clinical files; the rejects are exactly the
-- objects that these exclude.
-- Multisets of rows are compared by their number, a sum and an XOR of hashes of the MD5 of their names: hash() of a
-- text alone collides for keys that differ in two digits. Any result other than true is inconclusive: then the checks
-- themselves run.
with
rejected as (
    select distinct source, key from ops.rejects where kept_etag is null and kind <> 'skipped'
),

kept as (
    select source, key, etag, any_value(kept_etag) as kept_etag
    from ops.rejects
    where kept_etag is not null
    group by source, key, etag
),

listed as (
    select
        objects.source,
        objects.key,
        coalesce(kept.kept_etag, objects.etag) as etag,
        objects.kind,
        rejected.key is not null as is_rejected
    from raw.objects as objects
    left join rejected on objects.source = rejected.source and objects.key = rejected.key
    left join kept on objects.source = kept.source and objects.key = kept.key and objects.etag = kept.etag
),

members as (
    select
        case
            when is_rejected then 'set apart'
            when kind in ('header', 'clinical', 'dcm', 'other') then kind
            else '?'
        end as part,
        source,
        key,
        case when is_rejected then kind else etag end as tag
    from listed
    union all
    select 'rejects' as part, source, key, kind as tag from ops.rejects where kept_etag is null and kind <> 'skipped'
    union all
    select 'images' as part, source, key, etag as tag from core.images
    union all
    select 'headers' as part, source, key, null as tag from raw.headers
    union all
    select 'records' as part, source, key, etag as tag from core.clinical
    union all
    select 'raw records' as part, source, key, null as tag from raw.records
),

bags as (
    select
        part,
        -- Nulls are never equal in the checks' joins.
        part = '?' or count(source) < count(*) or count(key) < count(*) as is_odd,
        struct_pack(n := count(*), sum := sum(hash(name)), xor := bit_xor(name)) as names,
        struct_pack(n := count(*), sum := sum(hash(name, tag)), xor := bit_xor(hash(tag, name))) as tagged
    from (select *, md5_number(source || chr(10) || key) as name from members)
    group by part
),

lake as (
    select
        coalesce(bool_or(is_odd), false) as is_odd,
        map(list(part), list(names)) as names,
        map(list(part), list(tagged)) as tagged
    from bags
)

select
    not is_odd
    and (tagged['header'] is not distinct from tagged['images'])
    and (tagged['clinical'] is not distinct from tagged['records'])
    and (tagged['set apart'] is not distinct from tagged['rejects'])
    and (names['images'] is not distinct from names['headers'])
    and (names['records'] is not distinct from names['raw records'])
from lake;

-- name: repeated
-- Whether an object of a part has several rows. By the MD5: sixteen bytes in place of a hundred.
select count(*) > 0 as is_repeated
from (
    select 1
    from raw.objects
    where {{ within }}
    group by md5_number(source || chr(10) || key)
    having count(*) > 1
    limit 1
);
