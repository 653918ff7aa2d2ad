-- The objects that a download fetches; warehouse/manifests/download.py runs it.

-- name: objects
select key, uri, size, etag, left(uri, length(uri) - length(key) - 1) as source from {{ rows }};
