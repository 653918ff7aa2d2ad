-- Gives each object of a manifest its path below a folder, by a layout, and lists the paths beside the objects. One
-- statement under each name; warehouse/manifests/layouts.py and download_folder.py run them. `targets` is the table of
-- manifests/paths.sql.

-- name: laid
select key, uri, object, size, etag, {{ path }} as laid from {{ rows }};

-- name: laid_flat
-- All in one folder: an image is SOPInstanceUID.dcm beside SOPInstanceUID.json; where two have the same, or none, the
-- digest of the uri makes their names unique.
with
named as (
    select
        *,
        {{ patient }} as patient,
        {{ stem }} as stem,
        nfc_normalize(lower(stem)) as spelt_stem
    from {{ rows }}
),

doubled as (
    select
        object,
        spelt_stem
    from named
    group by object, spelt_stem
    having count(*) > 1
)

select
    key,
    uri,
    object,
    size,
    etag,
    case
        when object = 'clinical' then {{ flat_clinical }}
        when SOPInstanceUID is null or length(stem) > 100 or (object, spelt_stem) in (from doubled)
            then {{ flat_doubled }}
        else stem || {{ ending }}
    end as laid
from named;

-- name: examples
-- Paths that several objects would have, with some of their keys.
select any_value(path) as path, count(*) as objects, list(key order by key)[:2] as keys
from targets
group by spelt
having count(*) > 1
order by path
limit 3;

-- name: paths
select key, path from targets where list_contains(cast($uris as varchar[]), uri) order by path limit 3;

-- name: files
-- The table beside the objects: where each is, and its row of the manifest.
select targets.path, objects.*
from {{ rows }} as objects
inner join targets on objects.uri = targets.uri
order by objects.key, objects.uri;
