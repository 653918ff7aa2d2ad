-- What was released under agreements. One statement under each name; warehouse/access/memory.py runs them.

-- name: known
-- The sets of an agreement that a new one is compared with: those under the same name, or of every kind of answer.
select digest, kind, patients
from access.releases
where agreement = $agreement and name = $name and kind <> 'refused';

-- name: refusals
-- Refusals since two reviewers last released something of this agreement.
select count(*) as n_refusals
from access.releases
where
    agreement = $agreement
    and kind = 'refused'
    and released_at > coalesce(
        (select max(released_at) from access.releases where agreement = $agreement and reviewed),
        timestamptz '1970-01-01'
    );

-- name: key checks
select distinct key_check from access.releases where agreement = $agreement;

-- name: insert
insert into access.releases by name
select
    $agreement as agreement,
    $name as name,
    $kind as kind,
    $released_at as released_at,
    $snapshot as snapshot,
    $reviewed as reviewed,
    $digest as digest,
    cast($patients as ubigint[]) as patients, -- noqa: PRS
    $key_check as key_check;

-- name: list
select agreement, name, kind, released_at, snapshot, reviewed, len(patients) as n_patients
from access.releases
where agreement = $agreement
order by released_at, name;
