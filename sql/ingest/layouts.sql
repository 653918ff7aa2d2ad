-- The layouts of sources other than the standard. One statement under each name; warehouse/ingest/source_layouts.py and
-- key_parsing.py run them.

-- name: layouts
-- All of them: they are few, and of a filter DuckLake would ask the catalogue for each file, which takes longer.
select source, layout, group_name from ops.layouts;

-- name: keyed
-- Whether a layout has said anything of an object.
select 1 from raw.objects where source = $source and kind <> 'other' limit 1;

-- name: forget
delete from ops.layouts where source = $source;

-- name: remember
insert into ops.layouts by name
select $source as source, $layout as layout, $group as group_name, now() as since;

-- name: parsed
-- In place of `parsed` of listing.sql. The grammar is that of warehouse/object_store/layouts.py, whose patterns are passed as parameters. An object whose
-- key names no patient stays with the one that its earlier content named, until it is read again.
create or replace temp table parsed as
with
found as (
    select
        key,
        size,
        etag,
        last_modified,
        change,
        old_kind,
        patient_id as former_patient,
        regexp_full_match(key, $archive) as is_archive,
        regexp_full_match(key, $pattern)
        and not regexp_full_match(key, $archive)
        and not regexp_full_match(key, $no_images)
        and not ends_with(key, '/') as is_image,
        {{ names_in_key }}
    from changes
    where change <> 'removed'
),

parts as (
    select
        * exclude (former_patient),
        case when is_image then nullif(named_date, '') end as key_date,
        case when is_image then nullif(trim(named_patient, ' '), '') end as key_patient,
        case when is_image then former_patient end as former_patient
    from found
)

select
    $source as source,
    key,
    size,
    etag,
    last_modified,
    case when is_image then 'header' else 'other' end as kind,
    case when not is_image then null when key_patient is null then 'any' else 'pattern' end as layout,
    case
        when not is_image then null
        when named_group <> '' then named_group
        when regexp_matches(key, '(?:^|/)' || $held_back || '/') then 'validation'
        else $group
    end as group_name,
    coalesce(key_patient, former_patient) as patient_id,
    case
        when key_date is null then cast(last_modified as date)
        when key_date < '0001' then null
        when regexp_full_match(key_date, '[0-9]{8}')
            then try_cast(key_date[1:4] || '-' || key_date[5:6] || '-' || key_date[7:8] as date)
        when regexp_full_match(key_date, '[0-9]{4}-[0-9]{2}-[0-9]{2}') then try_cast(key_date as date)
    end as available_date,
    cast(null as varchar) as record,
    case when is_image then nullif(named_study, '') end as study_id,
    case when is_image then nullif(named_series, '') end as series_id,
    case
        when not is_image then null
        when named_image <> '' then named_image
        else regexp_replace(regexp_extract(key, '[^/]*$'), $extension, '')
    end as image_id,
    key_date,
    is_archive,
    change,
    old_kind,
    {{ part }} as part
from parts;

-- name: keep_headers
-- A .dcm whose header is read stays one that is, until warehouse/ingest/header_sources.py finds its .json.
update parsed set kind = 'header' where kind = 'dcm' and old_kind = 'header';

-- name: archives
select count(*) from parsed where is_archive;

-- name: reject_archives
insert into ops.rejects by name
select
    source,
    key,
    etag,
    size,
    kind,
    group_name,
    patient_id,
    'an archive, which is left alone: unpack its members into the bucket to load them' as reason,
    false as retry,
    now() as first_seen,
    now() as last_seen,
    null as tried_by
from parsed
where is_archive;
