-- The log of access: whether the lake has one yet, its events, a new one.

-- name: there
select 1 from duckdb_tables() where schema_name = 'access' and table_name = 'events';

-- name: read
select number, "at", event, about, actor, role, body, previous_hash, hash
from access.events
order by number, hash;

-- name: append
insert into access.events
    (number, "at", event, about, actor, role, body, previous_hash, hash)
values
    ($number, $at, $event, $about, $actor, $role, $body, $previous_hash, $hash);
