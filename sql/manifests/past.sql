-- Past manifests of patients. One statement under each name; warehouse/manifests/past.py runs them.

-- name: patients
select distinct patient_id from {{ rows }} where patient_id is not null;

-- name: strays
-- Objects that name another patient by their content than by their key, and whom; among those filed under a patient of
-- the manifest, or under one between, which leaves out most of a large lake.
with
named as (
    select source, unnest([key, dcm_key]) as key, trim(PatientID) as name
    from lake.core.images
    where patient_id between $first_patient and $last_patient and trim(PatientID) <> patient_id
    union
    select source, key, trim(pseudonym) as name
    from lake.core.clinical
    where patient_id between $first_patient and $last_patient and trim(pseudonym) <> patient_id
)

select
    source || '/' || key as uri,
    min(name) as name
from named
where key is not null
group by uri;

-- name: among
-- Whom the objects of a manifest name by their content, as far as it is among the strays.
select distinct strays.name from {{ rows }} as listed
inner join strays on listed.uri = strays.uri;

-- name: named
-- Whom the rows may name: by what they state, and by every folder of a key.
select distinct unnest([patient_id] || string_split(key, '/')[:-2]) as name
from {{ rows }};

-- name: places
select uri, key from {{ rows }};

-- name: insert
insert into access.manifest_patients (manifest, seal, patients) values ($manifest, $seal, $patients);

-- name: holding
-- The registered manifests, newest first, and how many of the given patients each has; null where that was not kept.
select
    manifests.created_at,
    manifests.created_by,
    manifests.cohort,
    manifests.digest,
    manifests.seal,
    manifests.snapshot,
    manifests.n_patients,
    len(list_intersect(kept.patients, $digests)) as n_found
from ops.manifests as manifests
left join access.manifest_patients as kept
    on manifests.digest = kept.manifest and manifests.seal is not distinct from kept.seal
order by manifests.created_at desc, manifests.digest;

-- name: models
select manifest, name, recorded_at, recorded_by from access.models order by recorded_at, name;

-- name: registered
select distinct digest from ops.manifests;

-- name: add_model
insert into access.models (recorded_at, recorded_by, manifest, name) values (now(), $author, $manifest, $name);

-- name: owner
-- The patient of an object.
select distinct patient_id from raw.objects where key = $key and patient_id is not null;

-- name: tables
select 1 from duckdb_tables() where schema_name = 'access' and table_name = 'manifest_patients';

-- name: of_withdrawn
select uri
from {{ rows }}
where list_contains($patients, patient_id) or list_has_any(string_split(key, '/')[:-2], $patients);
