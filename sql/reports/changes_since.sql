-- What was added, changed or removed between two published snapshots. One statement under each name;
-- warehouse/query/changes.py runs them.

-- name: columns
select * from {{ relation }} limit 0;

-- name: view
-- The temporary view changes: rows of images and clinical_history that are not the same as in snapshot `since`, both as
-- of the session's day and for its group. change is added, changed or removed; why has what differs in a changed row:
-- content (the object), image (its .dcm) or rules (the object was read again by other rules). source and key join the
-- views.
create or replace temp view changes as
with
earlier as (select * from {{ rows_then }}),

later as (select * from {{ rows_now }}),

different as (
    select
        coalesce(later.relation, earlier.relation) as relation,
        coalesce(later.source, earlier.source) as source,
        coalesce(later.key, earlier.key) as key,
        case when earlier.key is null then 'added' when later.key is null then 'removed' else 'changed' end as change,
        (later.etag is distinct from earlier.etag) as in_content,
        (later.dcm is distinct from earlier.dcm) as in_image,
        (later.rules is distinct from earlier.rules) as in_rules
    from earlier
    full join later on earlier.relation = later.relation and earlier.source = later.source and earlier.key = later.key
    where in_content or in_image or in_rules
)

select
    different.relation,
    different.change,
    case
        when different.change = 'changed' then
            list_filter(
                [
                    case when different.in_content then 'content' end,
                    case when different.in_image then 'image' end,
                    case when different.in_rules then 'rules' end
                ],
                lambda what: what is not null
            )
    end as why,
    different.source,
    different.key,
    coalesce(later.group_name, earlier.group_name) as group_name,
    coalesce(later.patient_id, earlier.patient_id) as patient_id,
    coalesce(later.available_date, earlier.available_date) as available_date,
    coalesce(later.StudyInstanceUID, earlier.StudyInstanceUID) as StudyInstanceUID,
    coalesce(later.SeriesInstanceUID, earlier.SeriesInstanceUID) as SeriesInstanceUID,
    coalesce(later.SOPInstanceUID, earlier.SOPInstanceUID) as SOPInstanceUID
from different
left join earlier
    on
        different.relation = earlier.relation and different.source = earlier.source and different.key = earlier.key
left join later
    on different.relation = later.relation and different.source = later.source and different.key = later.key;

-- name: rows
-- One side: at the snapshot of the session, or at an older one.
select
    'images' as relation,
    source,
    key,
    etag,
    {{ rules_of_images }} as rules,
    case
        when dcm_available_date <= {{ as_of }} then row(dcm_key, dcm_etag)
        when {{ earlier_dcm }}.dcm_available_date <= {{ as_of }}
            then row({{ earlier_dcm }}.dcm_key, {{ earlier_dcm }}.dcm_etag)
    end as dcm,
    group_name,
    patient_id,
    available_date,
    StudyInstanceUID,
    SeriesInstanceUID,
    SOPInstanceUID
from {{ images }}
where available_date <= {{ as_of }} and {{ in_group }}
union all
select
    'clinical_history' as relation,
    source,
    key,
    etag,
    {{ rules_of_clinical }} as rules,
    null as dcm,
    group_name,
    patient_id,
    available_date,
    null as StudyInstanceUID,
    null as SeriesInstanceUID,
    null as SOPInstanceUID
from {{ clinical }}
where available_date <= {{ as_of }} and {{ in_group }};
