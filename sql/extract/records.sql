-- A batch of clinical files (relation batch: the columns of raw.objects, and content as text) to rows of core.clinical.
-- The name of a file tells its kind in the published layout. In the dated layout it is status when it has a
-- field that only negative records have and none that only positive records have; fields of
-- OtherDataSources.SegmentationData count as its own (they are lifted to the top).
select
    * exclude (fields, is_record, record, content),
    is_record,
    case
        when record is not null then record
        when list_has_any(fields, {{ negative_fields }}) and not list_has_any(fields, {{ positive_fields }}) then 'status'
        else 'data'
    end as kind,
    case when is_record then nullif(trim(try(content ->> '$.Pseudonym')), '') end as pseudonym,
    case when is_record then nullif(trim(try(content ->> '$.SubmittingCentre')), '') end as submitting_centre
from (
    select
        * exclude (kind),
        coalesce(json_valid(content) and try(json_type(content)) = 'OBJECT', false) as is_record,
        list_concat(
            coalesce(try(json_keys(content)), []),
            coalesce(try(json_keys(content, '$.OtherDataSources.SegmentationData')), [])
        ) as fields
    from batch
);
