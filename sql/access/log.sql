-- The log of access: whether the lake has one yet, its events, a new one.

-- name: there
select 1 from duckdb_tables() where schema_name = 'access' and table_name = 'events';

-- name: read
select number, "at", event, about, actor, role, body, previous_hash, hash -- noqa: RF06
from access.events
order by number, hash;

-- name: append
insert into access.events by name
select
    $number as number,
    $at as "at", -- noqa: RF06
    $event as event,
    $about as about,
    $actor as actor,
    $role as role,
    $body as body,
    $previous_hash as previous_hash,
    $hash as hash;

-- name: manifests_have_heads
select 1 from duckdb_columns()
where schema_name = 'ops' and table_name = 'manifests' and column_name = 'access_head';

-- name: heads_of_manifests
select access_head from ops.manifests
where access_head is not null
order by created_at;
