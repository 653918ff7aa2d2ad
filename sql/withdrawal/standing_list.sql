-- The standing list of withdrawn and opted-out patients. One statement under each name;
-- warehouse/withdrawal/standing_list.py, changing.py and recording.py run them. `version` is a snapshot of the lake: readers pin an
-- older one, and the list is always read at the newest.

-- name: entries
-- What holds for each patient: the last word of each pair of actions.
with
changes as (
    select * from lake.access.withdrawals at (version => {{ version }}) -- noqa: PRS, AL01, AL05
)

select
    digest,
    coalesce(max(version) filter (action = 'withdrawn'), 0)
    > coalesce(max(version) filter (action = 'returned'), 0) as is_withdrawn,
    coalesce(max(version) filter (action = 'opted out'), 0)
    > coalesce(max(version) filter (action = 'opt-out ended'), 0) as is_opted_out,
    coalesce(max(version) filter (action = 'permitted'), 0)
    > coalesce(max(version) filter (action in ('permission ended', 'opt-out ended')), 0) as is_permitted,
    coalesce(max(version) filter (action = 'purge begun'), 0)
    > coalesce(max(version) filter (action in ('returned', 'purged')), 0) as is_purge_due,
    coalesce(max(version) filter (action = 'purged'), 0)
    > coalesce(max(version) filter (action = 'returned'), 0) as is_purged,
    max(changed_at) filter (action in ('withdrawn', 'opted out')) as since,
    arg_max(changed_by, version) filter (action in ('withdrawn', 'opted out')) as changed_by,
    arg_max(reason, version) filter (action in ('withdrawn', 'opted out')) as reason,
    arg_max(allowed_by, version) filter (action = 'permitted') as allowed_by,
    max(changed_at) filter (action = 'purged') as purged_at,
    any_value(key_check) as key_check
from changes
group by digest
order by since, digest;

-- name: newest
select coalesce(max(version), 0) as version from lake.access.withdrawals;

-- name: insert
insert into lake.access.withdrawals by name select * from changes_of_list;

-- name: there
select 1 from duckdb_tables() where schema_name = 'access' and table_name = 'withdrawals';

-- name: changes
select version, changed_at, changed_by, action, digest, reason, allowed_by, certificate, key_check -- noqa: RF06
from lake.access.withdrawals
order by all;

-- name: unlisted
-- Who was put on the list by changes in files that no snapshot has, and by what last; but for those whom the list has a
-- later change of.
select
    digest,
    arg_max(case when action = 'purged' then 'purge begun' else action end, version) as action,
    arg_max(reason, version) as reason,
    any_value(key_check) as key_check
from read_parquet({{ files }}) as unlisted
where
    action in ('withdrawn', 'opted out', 'purge begun', 'purged')
    and not exists (
        select 1 from lake.access.withdrawals as listed
        where listed.digest = unlisted.digest and listed.changed_at > unlisted.changed_at
    )
group by digest
order by digest;
