-- The listing that a lake's bucket would have. One statement under each name; benchmarks/relisted_refresh.py runs them.

-- name: source
select any_value(source) from raw.objects;

-- name: listing
select key, size, etag, last_modified from raw.objects;
