-- Compares two manifests by key. One statement under each name; warehouse/manifests/compare.py runs them.

-- name: rows
select
    key,
    left(uri, length(uri) - length(key) - 1) as home,
    object,
    size,
    etag,
    patient_id,
    StudyInstanceUID,
    SeriesInstanceUID,
    SOPInstanceUID,
    Modality{{ labels }}
from {{ rows }};

-- name: compared
create or replace temp table compared as
select
    coalesce(old.key, new.key) as key,
    coalesce(old.object, new.object) as object,
    coalesce(old.patient_id, new.patient_id) as patient_id,
    case
        when old.key is null then 'added'
        when new.key is null then 'removed'
        when len(details) > 0 then 'changed'
        else 'same'
    end as change,
    case when old.key is not null and new.key is not null then array_to_string(details, '; ') end as detail
from ({{ old }}) as old
full join ({{ new }}) as new on old.key = new.key
cross join lateral (
    select list_filter([
        case when old.size <> new.size then 'size ' || old.size || ' is now ' || new.size end,
        -- Entity tags of two buckets can be compared if both are MD5s.
        case
            when
                old.size = new.size
                and old.etag <> new.etag
                and (old.home = new.home or (length(old.etag) = 32 and length(new.etag) = 32))
                then 'other content'
        end,
        case
            when
                (old.patient_id, old.StudyInstanceUID, old.SeriesInstanceUID, old.SOPInstanceUID, old.Modality)
                is distinct from
                (new.patient_id, new.StudyInstanceUID, new.SeriesInstanceUID, new.SOPInstanceUID, new.Modality)
                then 'different identifiers or Modality'
        end,
        {{ changes }}
    ], lambda detail: detail is not null) as details
);

-- name: counts
select change, count(*) as n_objects from compared group by change;

-- name: differences
select change, key, object, patient_id, nullif(detail, '') as detail
from compared
where change <> 'same'
order by change, key;

-- name: label
case -- noqa: PRS
    when (old.{{ label }} is distinct from new.{{ label }})
        then {{ name }} || ' ' || coalesce(old.{{ label }}, 'none') || ' is now ' || coalesce(new.{{ label }}, 'none')
end;
