-- The .dcm of each header (relation headers: rows of raw.objects) of a source.
-- A .dcm belongs to the header with the same group, patient and image id. Should there be several, the one
-- whose key mirrors the header's own (same layout, same date or same series) is meant, else the earliest.
select
    key,
    best.key as dcm_key,
    best.size as dcm_size,
    best.etag as dcm_etag,
    best.available_date as dcm_available_date
from (
    select
        headers.key,
        arg_min(
            struct_pack(key := dcm.key, size := dcm.size, etag := dcm.etag, available_date := dcm.available_date),
            row(
                not (
                    dcm.layout = headers.layout
                    and dcm.study_id is not distinct from headers.study_id
                    and dcm.series_id is not distinct from headers.series_id
                    and (dcm.layout = 'published' or dcm.available_date = headers.available_date)
                ),
                dcm.available_date,
                dcm.key
            )
        ) filter (dcm.key is not null) as best
    from headers
    left join (
        from raw.objects where source = $source and kind = 'dcm' and available_date is not null
    ) as dcm on
        headers.group_name = dcm.group_name
        and headers.patient_id = dcm.patient_id
        and headers.image_id = dcm.image_id
    group by headers.key
)
