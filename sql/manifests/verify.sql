-- Compares a manifest with the listings of its buckets. One statement under each name; warehouse/manifests/verify.py
-- runs them. Tables `recorded` and `records` are the manifest's objects and clinical files; `place` is the number of
-- the bucket in which each is sought. $is_home: it is the bucket of the manifest. Entity tags can be compared only
-- there, or if both are MD5s; otherwise sizes are compared.

-- name: recorded
create or replace temp table recorded as
select key, object, size, etag, available_date, group_name, patient_id, {{ place }} as place
from {{ rows }};

-- name: records
create or replace temp table records as
select * exclude (source), cast(list_position($homes, source) as smallint) as place
from {{ records }};

-- name: sources
select distinct source from {{ records }};

-- name: named_patients
select distinct patient_id from {{ rows }};

-- name: patients_gone
select patient_id
from named_patients
where
    patient_id not in (
        select patient_id from images
        union
        select patient_id from clinical_history
    )
order by patient_id;

-- name: patients
create or replace temp table patients as
select patient_id, group_name, place from recorded
union
select patient_id, group_name, place from records;

-- name: there
create or replace temp table there (place smallint, key varchar, size bigint, etag varchar, last_modified timestamptz);

-- name: candidates
create or replace temp table candidates (
    place smallint, key varchar, size bigint, etag varchar, last_modified timestamptz, group_name varchar,
    patient_id varchar, available_date date, kind varchar, counts boolean, is_same boolean
);

-- name: again
create or replace temp table again (place smallint, key varchar, new_key varchar);

-- name: number
select count(distinct patient_id) from patients where place = $place;

-- name: groups
select distinct group_name || '/' as prefix from patients where place = $place order by prefix;

-- name: heads
-- Prefixes of keys, down to the patient: of the objects, and of clinical files in either layout.
select distinct left(key, strpos(key, '/' || patient_id || '/') + length(patient_id) + 1) as head
from recorded
where place = $place
union
select group_name || '/' || patient_id || '/' from patients where place = $place
union
select group_name || '/data/' || patient_id || '/' from patients where place = $place
order by head;

-- name: listed
insert into there select $place, key, size, etag, last_modified from incoming;

-- name: listed_twice
-- Keys that a listing has more than once: written during the listing, or a server's error.
select 1 from there where place = $place group by key having count(*) > 1 limit 1;

-- name: listed_once
-- The largest one is kept, as in a refresh.
delete from there
where rowid in (
    select row_id from (
        select rowid as row_id, row_number() over (partition by key order by size desc, etag) as nth
        from there
        where place = $place
    )
    where nth > 1
);

-- name: others
-- Objects of the bucket that are not in the manifest, as ingest/listing.sql parses them.
create or replace temp table changes as
select
    there.key,
    there.size,
    there.etag,
    there.last_modified,
    'added' as change,
    cast(null as varchar) as old_kind,
    cast(null as varchar) as patient_id
from there
anti join (from recorded where object <> 'clinical') as recorded
    on there.key = recorded.key and there.place = recorded.place
where there.place = $place;

-- name: sent_again
-- The same image under a later date, up to the manifest's as-of date.
insert into again
select old.place, old.key, max_by(new.key, (new.available_date, new.key)) as new_key
from recorded as old
inner join parsed as new
    on
        old.group_name = new.group_name
        and old.patient_id = new.patient_id
        and old.object = case
            when new.kind <> 'header' then new.kind
            when ends_with(new.key, '.json') then 'json'
            else 'dcm'
        end
        and parse_filename(old.key, true) = new.image_id
        and old.available_date < new.available_date
where old.place = $place and new.available_date <= coalesce(cast($as_of as date), date '9999-12-31')
group by all;

-- name: clinical
insert into candidates
select
    cast($place as smallint) as place,
    files.key,
    files.size,
    files.etag,
    coalesce(records.last_modified, files.last_modified) as last_modified,
    files.group_name,
    files.patient_id,
    files.available_date,
    coalesce(files.record, records.kind) as kind,
    coalesce(records.counts, false) as counts,
    records.key is not null
    and files.size = records.size
    and (
        files.etag = records.etag
        or not ($is_home or (length(files.etag) = 32 and length(records.etag) = 32))
    ) as is_same
from parsed as files
semi join patients on files.patient_id = patients.patient_id and files.group_name = patients.group_name
left join (from records where place = $place) as records on files.key = records.key
where files.kind = 'clinical' and files.available_date <= coalesce(cast($as_of as date), date '9999-12-31');

-- name: unknown_kinds
-- New clinical files whose name does not show their kind.
select key, etag, size from candidates
where place = $place and not is_same and not regexp_matches(key, '/(data|status)_[^/]*$');

-- name: kind
update candidates set kind = kinds.kind from kinds where candidates.place = $place and candidates.key = kinds.key;

-- name: compared
create or replace temp table compared as
select
    * exclude (is_comparable, old_etag, new_etag),
    new_size <> old_size as is_other_size,
    is_comparable and new_etag <> old_etag as is_other_etag,
    not is_missing and not is_comparable as is_by_size
from (
    select
        recorded.place,
        recorded.key,
        recorded.object,
        recorded.patient_id,
        there.key is null as is_missing,
        recorded.size as old_size,
        there.size as new_size,
        recorded.etag as old_etag,
        there.etag as new_etag,
        there.last_modified,
        $is_home or (length(recorded.etag) = 32 and length(there.etag) = 32) as is_comparable
    from recorded
    left join there on recorded.key = there.key and recorded.place = there.place
);

-- name: verdict
-- One row per object of the manifest, then one per patient whose record in effect has changed.
create or replace temp table verdict as
with
winners as (
    select *
    from candidates
    where kind is not null
    qualify row_number() over (
        partition by patient_id
        order by kind = 'data' desc, available_date desc, last_modified desc, key desc, place desc
    ) = 1
),

counted as (
    select patient_id, key, place from records where counts
),

clinical as (
    select
        coalesce(counted.key, winners.key) as key,
        coalesce(counted.place, winners.place) as place,
        coalesce(counted.patient_id, winners.patient_id) as patient_id,
        case
            when counted.key is not null and listed.key is null then 'missing'
            when counted.key is not null and not listed.is_same then 'changed'
            else 'superseded'
        end as status,
        case
            when counted.key is null then 'the patient had no clinical file, and has one now'
            when listed.key is null then 'the record in effect was removed'
            when not listed.is_same then 'the record in effect has changed content'
            else 'a newer clinical file is in effect: ' || winners.key
        end as detail
    from counted
    full join winners on counted.patient_id = winners.patient_id
    left join candidates as listed on counted.key = listed.key and counted.place = listed.place
    where not coalesce(winners.counts and winners.is_same, false)
)

select
    compared.key,
    object,
    patient_id,
    case
        when is_missing then 'missing'
        when is_other_size or is_other_etag then 'changed'
        when again.new_key is not null then 'superseded'
        else 'present'
    end as status,
    case
        when is_missing then coalesce('not in the bucket; sent again as ' || again.new_key, 'not in the bucket')
        when is_other_size then 'size ' || old_size || ' is now ' || new_size
        when is_other_etag then 'different content, written ' || strftime(last_modified, '%Y-%m-%d %H:%M')
        when again.new_key is not null then 'sent again as ' || again.new_key
    end as detail,
    is_by_size
from compared
left join again on compared.key = again.key and compared.place = again.place
union all
select clinical.key, 'record' as object, clinical.patient_id, clinical.status, clinical.detail, false as is_by_size
from clinical
anti join (from compared where is_missing or is_other_size or is_other_etag) as reported
    on clinical.key = reported.key and clinical.place = reported.place;

-- name: counts
select status, count(*) as objects, count(*) filter (is_by_size) as by_size from verdict group by status;

-- name: problems
select status, key, object, patient_id, detail from verdict where status <> 'present' order by status, key, object;

-- name: without_objects
-- Patients without any object left.
select patient_id
from compared
group by patient_id
having bool_and(is_missing)
order by patient_id;
