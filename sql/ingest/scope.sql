-- The part of a bucket that a refresh covers. One statement under each name; warehouse/ingest/scope.py runs them.

-- name: groups
select distinct group_name from raw.objects where source = $source and group_name is not null;

-- name: any
select 1
from (
    select key from listing
    union all
    select key from raw.objects where source = $source
)
where {{ within }}
limit 1;

-- name: before
-- The same in an earlier version of the lake, so that removed objects match too.
select 1
from raw.objects at (version => {{ version }}) -- noqa: PRS, AL01, AL05
where source = $source and {{ within }}
limit 1;

-- name: within
-- Whether a key is in the part; an empty list means the whole bucket.
( -- noqa: PRS
    len($prefixes) = 0
    or list_bool_or(list_transform($prefixes, lambda prefix: starts_with({{ key }}, prefix)))
);

-- name: within_patients
-- The same for a part with patients, whom the pattern of the layout finds in keys; it has no part that is the whole bucket.
( -- noqa: PRS
    coalesce(list_bool_or(list_transform($prefixes, lambda prefix: starts_with({{ key }}, prefix))), false)
    or list_contains($patients, trim(regexp_extract({{ key }}, '^(?:' || $pattern || ')$', {{ number }}), ' '))
);

-- name: leave_out
delete from listing where not {{ within }};
