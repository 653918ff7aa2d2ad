-- The .dcm of each header (relation headers: rows of raw.objects) of a source.
-- A .dcm belongs to the header with the same group, patient and image id. If there are several, it is the one whose key
-- mirrors that of the header, else the earliest, else that with the smallest key. If the mirrored one came later than
-- another, the earliest other is kept too (earlier_dcm): it was the image's .dcm until then. Nearly every .dcm is found
-- by its mirrored key, in a join that can spill to disk; the aggregate is for the few whose key does not mirror a
-- header's. A header that was read from a .dcm belongs to that. What is `near` limits the search to the patients of the
-- headers.
with
dcm as (
    select key, size, etag, available_date, group_name, patient_id, image_id
    from raw.objects
    where
        source = $source
        and (kind = 'dcm' or (kind = 'header' and not ends_with(key, '.json')))
        and available_date is not null
        and {{ near }}
),

mirrored as (
    select
        headers.key,
        headers.group_name,
        headers.patient_id,
        headers.image_id,
        dcm.key as dcm_key,
        dcm.size as dcm_size,
        dcm.etag as dcm_etag,
        dcm.available_date as dcm_available_date
    from headers
    left join dcm
        on
            replace(replace(left(headers.key, -5), '/images_metadata/', '/images/'), '-metadata/', '/') || '.dcm'
            = dcm.key
            and headers.group_name = dcm.group_name
            and headers.patient_id = dcm.patient_id
            and headers.image_id = dcm.image_id
    where ends_with(headers.key, '.json')
),

others as (
    select
        mirrored.key,
        arg_min(
            struct_pack(key := dcm.key, size := dcm.size, etag := dcm.etag, available_date := dcm.available_date),
            row(dcm.available_date, dcm.key)
        ) as best
    from mirrored
    inner join dcm
        on
            mirrored.group_name = dcm.group_name
            and mirrored.patient_id = dcm.patient_id
            and mirrored.image_id = dcm.image_id
    where mirrored.dcm_key is null or dcm.available_date < mirrored.dcm_available_date
    group by mirrored.key
)

select
    mirrored.key,
    coalesce(mirrored.dcm_key, others.best.key) as dcm_key,
    coalesce(mirrored.dcm_size, others.best.size) as dcm_size,
    coalesce(mirrored.dcm_etag, others.best.etag) as dcm_etag,
    coalesce(mirrored.dcm_available_date, others.best.available_date) as dcm_available_date,
    case
        when mirrored.dcm_key is not null and others.key is not null then
            struct_pack(
                dcm_key := others.best.key,
                dcm_size := others.best.size,
                dcm_etag := others.best.etag,
                dcm_available_date := others.best.available_date
            )
    end as earlier_dcm
from mirrored
left join others on mirrored.key = others.key
union all
select
    key,
    key as dcm_key,
    size as dcm_size,
    etag as dcm_etag,
    available_date as dcm_available_date,
    null as earlier_dcm
from headers
where not ends_with(key, '.json')
