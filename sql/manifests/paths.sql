-- Finds the objects of a manifest that cannot become files in a folder. One statement under each name;
-- warehouse/manifests/paths.py runs them. $homes and $folders: the sources and the folder of each, if there are
-- several.
-- $folds: the file system ignores differences in case and Unicode normal form.

-- name: targets
-- The objects with their paths below the folder.
create or replace temp table targets as
select *, case when $folds then nfc_normalize(lower(nfc_normalize(path))) else path end as spelt
from (select *, {{ path }} as path from {{ rows }});

-- name: first_segments
select distinct split_part(path, '/', 1) from targets;

-- name: segments
select distinct segment
from (select distinct unnest(string_split(path, '/')) as segment from targets)
where regexp_matches(segment, $odd) and segment <> ''
order by segment
limit $most;

-- name: lengths
-- A name of each length that nothing but their length makes odd: they are ASCII, a byte for each character.
select min(segment)
from (select distinct unnest(string_split(path, '/')) as segment from targets)
where length(segment) >= $long and not regexp_matches(segment, $odd)
group by length(segment)
order by length(segment);

-- name: unsafe
select uri from targets where regexp_matches(path, $unsafe);

-- name: reserved
select uri from targets where list_contains(cast($names as varchar[]), split_part(path, '/', 1));

-- name: shared
select uri
from targets
where spelt in (select spelt from targets group by spelt having count(*) > 1);

-- name: above
-- An object whose path is the folder of another.
with recursive
folders as (
    select distinct regexp_replace(spelt, '/[^/]*$', '') as folder from targets where contains(spelt, '/')
    union
    select regexp_replace(folder, '/[^/]*$', '') from folders where contains(folder, '/')
)

select uri from targets where spelt in (select folder from folders);

-- name: long
select uri from targets where strlen(path) > $most;

-- name: refused
select uri from targets where list_has_any(string_split(path, '/'), cast($names as varchar[]));

-- name: refused_by_length
select uri
from targets
where len(list_filter(
    string_split(path, '/'),
    lambda segment: list_contains(cast($lengths as integer[]), length(segment)) and length(segment) >= $long
    and not regexp_matches(segment, $odd)
)) > 0;
