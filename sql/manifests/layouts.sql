-- Gives each object of a manifest its path below a folder, by a layout, and lists the paths beside the objects. One
-- statement under each name; warehouse/manifests/layouts.py and download_folder.py run them. `targets` is the table of
-- manifests/paths.sql.

-- name: laid
select key, uri, object, size, etag, {{ path }} as laid from {{ rows }};

-- name: laid_flat
-- All in one folder: an image is SOPInstanceUID.dcm beside SOPInstanceUID.json; where two have the same, or none, the
-- digest of the uri makes their names unique. No label of a manifest has a name with a space.
with
named as (
    select
        key,
        uri,
        object,
        size,
        etag,
        available_date,
        SOPInstanceUID,
        {{ patient }} as "the patient",
        {{ stem }} as "the stem",
        nfc_normalize(lower("the stem")) as "spelt stem"
    from {{ rows }}
),

doubled as (
    select
        object,
        "spelt stem"
    from named
    group by object, "spelt stem"
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
        when SOPInstanceUID is null or length("the stem") > 100 or (object, "spelt stem") in (from doubled)
            then {{ flat_doubled }}
        else "the stem" || {{ ending }}
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
