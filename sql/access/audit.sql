-- What chest audit reads besides the log.

-- name: tables
select schema_name || '.' || table_name as name from duckdb_tables()
where (schema_name, table_name) in (('ops', 'manifests'), ('access', 'releases'));

-- name: manifests
-- Also those exported under an agreement, which are releases of the log, too.
select * exclude (sql) from ops.manifests
order by created_at;

-- name: sets with
-- The released sets of patients that a patient is in: an agreement, and the digest of the set.
select distinct agreement, digest
from access.releases
where name = '' and list_contains(patients, cast($number as ubigint));
