-- The objects that a download fetches; warehouse/manifests/download.py runs it. `targets` is that of paths.sql.

-- name: rows
select key, uri, object, size, etag from {{ rows }};

-- name: objects
select key, uri, path, size, etag, left(uri, length(uri) - length(key) - 1) as source from targets;
