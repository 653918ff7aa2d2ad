-- Where the headers of images are from. One statement under each name; warehouse/ingest/header_sources.py runs them.

-- name: name_patients
-- What headers named, where keys do not (relation named_found: key, patient_id).
update raw.objects
set patient_id = named_found.patient_id
from named_found
where objects.source = $source and objects.key = named_found.key;

-- name: changes
-- The .dcm objects in the standard layouts whose header is to be read from themselves, or no longer: a header as .json,
-- once it is loaded, takes precedence. Those outside the part that is refreshed can only give way.
create or replace temp table header_changes as
select * from (
    select
        objects.key,
        objects.kind as old_kind,
        case when $reads_dcm and loaded.image_id is null then 'header' else 'dcm' end as new_kind
    from raw.objects
    left join (
        select distinct group_name, patient_id, image_id
        from core.images
        where source = $source and header_source = 'json'
    ) as loaded
        on
            objects.group_name = loaded.group_name
            and objects.patient_id = loaded.patient_id
            and objects.image_id = loaded.image_id
    where
        objects.source = $source
        and objects.layout in ('dated', 'published')
        and (objects.kind = 'dcm' or (objects.kind = 'header' and not ends_with(objects.key, '.json')))
        and objects.available_date is not null
)
where old_kind <> new_kind and (new_kind = 'dcm' or {{ within }});

-- name: count
select count(*) from header_changes;

-- name: set_kinds
update raw.objects
set kind = header_changes.new_kind
from header_changes
where objects.source = $source and objects.key = header_changes.key;

-- name: drop
delete from {{ table }}
where source = $source and key in (select key from header_changes where new_kind = 'dcm');
