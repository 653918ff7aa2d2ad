-- Removes the rows of withdrawn patients from the newest state, and counts their objects. One statement under each name;
-- warehouse/withdrawal/removal.py runs them, within a transaction; the names are in `withdrawn_names` (name, digest).

-- name: objects
-- Objects that name a patient only by their content, with the image of a header.
create or replace temp table withdrawn_objects as
select images.source, unnest([images.key, images.dcm_key]) as key, names.digest
from lake.core.images as images
inner join withdrawn_names as names on trim(images.PatientID) = names.name
where images.patient_id not in (select name from withdrawn_names)
union
select clinical.source, clinical.key, names.digest
from lake.core.clinical as clinical
inner join withdrawn_names as names on trim(clinical.pseudonym) = names.name
where clinical.patient_id not in (select name from withdrawn_names);

-- name: doomed
-- The live objects that are theirs, with the digest of the patient.
create or replace temp table withdrawn_live as
select
    objects.source,
    objects.key,
    objects.kind,
    coalesce(objects.size, 0) as size,
    any_value(coalesce(named.digest, by_key.digest, by_segment.digest)) as digest,
    -- In the layout `any` the patient was read from the header.
    bool_and(
        coalesce(objects.layout = 'any', false) or (by_key.digest is null and by_segment.digest is null)
    ) as is_by_content
from lake.raw.objects as objects
left join withdrawn_names as by_key on objects.patient_id = by_key.name
left join withdrawn_objects as named on objects.source = named.source and objects.key = named.key
left join withdrawn_names as by_segment
    on objects.patient_id is null and list_contains(string_split(objects.key, '/'), by_segment.name)
where by_key.digest is not null or named.digest is not null or by_segment.digest is not null
group by objects.source, objects.key, objects.kind, objects.size;

-- name: delete
delete from {{ table }}
where
    patient_id in (select name from withdrawn_names)
    or (patient_id is null and list_has_any(string_split(key, '/'), (select list(name) from withdrawn_names)))
    or (source, key) in (select (source, key) from withdrawn_objects);

-- name: live
select source, key, kind, size, digest, is_by_content from withdrawn_live;

-- name: forget_others
delete from lake.access.withheld where source = $source and object is null;

-- name: add
insert into lake.access.withheld by name
select found.* from withheld_found as found
anti join lake.access.withheld as known
    on
        found.source = known.source
        and found.digest = known.digest
        and found.kind = known.kind
        and found.object is not distinct from known.object;

-- name: known
select source, kind, digest, object, n_objects, bytes from lake.access.withheld where source = $source;

-- name: all
select source, kind, digest, object, n_objects, bytes from lake.access.withheld order by all;

-- name: count
select coalesce(sum(n_objects), 0)
from lake.access.withheld at (version => {{ version }}); -- noqa: PRS, AL01, AL05
