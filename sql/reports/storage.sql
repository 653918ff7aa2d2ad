-- How much there is, in bytes, and what could not be read, by reason. One statement under each name;
-- pipelines/metadata.py runs them.

-- name: bytes
select
    (select coalesce(sum(size), 0) from raw.objects) as bucket_bytes,
    (select coalesce(sum(file_size_bytes + delete_file_size_bytes), 0) from ducklake_table_info('lake')) as lake_bytes,
    (
        select coalesce(max(patient_bytes), 0)
        from (
            select sum(size) as patient_bytes
            from raw.objects
            where patient_id is not null
            group by patient_id
        )
    ) as most_of_a_patient;

-- name: rows
select
    count(*) as n_rows,
    0 as most
from {{ relation }};

-- name: rows_by_patient
-- All rows, and the most that one patient has.
select
    cast(coalesce(sum(n_rows), 0) as bigint) as n_rows,
    coalesce(max(n_rows) filter (patient_id is not null), 0) as most
from (
    select
        patient_id,
        count(*) as n_rows
    from {{ relation }}
    group by patient_id
);

-- name: rejects
-- What follows a colon or is in brackets may come from the object itself, and is left out.
select
    coalesce(kind, 'other') as kind,
    trim(regexp_replace(split_part(reason, ':', 1), '\(.*\)', '', 'g')) as reason,
    count(*) as objects
from ops.rejects
group by all
order by objects desc, kind, reason;
