-- title: A field of clinical records without a column
-- meaning: A key of the JSON that sql/columns/clinical.csv does not know, neither as a field nor as another spelling of
--   one: a new field, or a new misspelling. Its values are only in raw.records. One row for each key, with the number
--   of files and of patients.
-- severity: warning
-- table: raw.records
with
records as (
    select
        records.patient_id,
        records.key,
        records.record,
        min(history.submitting_centre) over (partition by history.centre) as centre
    from raw.records as records
    inner join clinical_history as history on records.source = history.source and records.key = history.key
),

fields as (
    select patient_id, key, centre, unnest(json_keys(record)) as field
    from records
    union all
    select patient_id, key, centre, 'OtherDataSources.' || unnest(json_keys(record, '$.OtherDataSources')) as field
    from records
    where json_type(record, '$.OtherDataSources') = 'OBJECT'
    union all
    -- The fields below are lifted to the top, so they are known by the same names.
    select patient_id, key, centre, unnest(json_keys(record, '$.OtherDataSources.SegmentationData')) as field
    from records
    where json_type(record, '$.OtherDataSources.SegmentationData') = 'OBJECT'
)

select
    field,
    count(distinct key) as n_files,
    count(distinct patient_id) as n_patients,
    list_sort(list(distinct centre) filter (centre is not null)) as centres,
    min(key) as first_key
from fields
where field not in ('OtherDataSources', 'OtherDataSources.SegmentationData', {{ known_fields }})
group by field
order by n_files desc, field;
