-- What `chest status` shows. One statement under each name.

-- name: inventory
-- Every live object is one of these: objects = image_json + clinical_json + rejected + dcm + other. A .dcm from which
-- the header was read is a dcm.
with
rejected as (
    select source, key from lake.ops.rejects where {{ apart }}
)

select
    count(*) as objects,
    count(*) filter (kind = 'header' and is_json and not is_rejected) as image_json,
    count(*) filter (kind = 'clinical' and not is_rejected) as clinical_json,
    count(*) filter (is_rejected) as rejected,
    count(*) filter ((kind = 'dcm' or (kind = 'header' and not is_json)) and not is_rejected) as dcm,
    count(*) filter (kind = 'other' and not is_rejected) as other
from (
    select objects.kind, ends_with(objects.key, '.json') as is_json, rejected.key is not null as is_rejected
    from lake.raw.objects
    left join rejected on objects.source = rejected.source and objects.key = rejected.key
);

-- name: tables
-- The tables that the snapshot has; an older one has fewer.
select schema_name || '.' || table_name as name from duckdb_tables() where database_name = 'lake';

-- name: rows
-- Of one table; those of all are joined by `union all`, so nothing follows the semicolon.
-- noqa: disable=PRS,AL01,AL05
select {{ name }} as name, count(*) as n_rows
from lake.{{ table }} at (version => {{ version }});

-- name: content
-- noqa: enable=PRS,AL01,AL05
select
    (select count(*) from lake.main.patients) as patients,
    (select count(distinct StudyInstanceUID) from lake.main.images) as studies,
    (select count(distinct SeriesInstanceUID) from lake.main.images) as series,
    (select count(*) from lake.main.images) as images;

-- name: modalities
select coalesce(Modality, 'none') as modality, count(*) as images
from lake.main.images
group by all
order by all;

-- name: latest
-- The newest clinical file of each patient, for the digest of samples' truth.json.
select patient_id, cast(available_date as varchar) as day
from lake.main.clinical
order by patient_id;

-- name: sources
select source, count(*) as objects, sum(size) as bytes
from lake.raw.objects
group by all
order by all;

-- name: refreshes
select * from lake.ops.refreshes
order by finished_at desc
limit 5;

-- name: reject_reasons
select reason, count(*) as objects
from lake.ops.rejects
group by all
order by objects desc, reason
limit 10;


-- name: groups
-- The groups of patients that the lake has.
select distinct group_name from lake.raw.objects where group_name is not null order by group_name;

-- name: most
-- The most that one patient has, for rounding.
select coalesce(max(n), 0) as most
from (
    select count(*) as n from lake.raw.objects where patient_id is not null group by patient_id
    union all
    select count(*) as n from lake.core.clinical_issues group by patient_id
);
