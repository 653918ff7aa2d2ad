-- What the lake knows of a bucket, for a probe. One statement under each name; warehouse/news/probing.py runs them.

-- name: folders
-- Patients' folders, in the order of keys: GROUP/PATIENT/, in the published layout GROUP/KIND/PATIENT/.
select distinct
    case
        when layout = 'published' then regexp_extract(key, '^(?:[^/]*/){3}')
        else regexp_extract(key, '^(?:[^/]*/){2}')
    end as folder
from raw.objects
where source = $source and folder <> ''
order by folder;

-- name: nth
-- The nth key of a folder, from 1.
select key from raw.objects
where source = $source and starts_with(key, $folder)
order by key
limit 1 offset $n - 1;

-- name: place
-- How many known keys of a folder stand before or at a key.
select count(*) from raw.objects
where source = $source and starts_with(key, $folder) and key <= $key;

-- name: changed
-- Listed objects that the lake does not know, or knows otherwise. What is gone is left to a whole listing.
select listed.key, listed.etag
from listed
left join (
    select key, etag, size from raw.objects
    where source = $source and key > $after and key <= $last
) as known on listed.key = known.key
where (listed.etag, listed.size) is distinct from (known.etag, known.size)
order by listed.key;
