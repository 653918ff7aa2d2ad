-- The rows of the manifest of benchmarks/all_images.sql, as somebody would type them at flat Parquet files of the views.
with
objects as (
    select
        images_flat.*,
        unnest([
            {'object': 'dcm', 'key': dcm_key, 'size': dcm_size, 'etag': dcm_etag, 'day': dcm_available_date},
            {'object': 'json', 'key': key, 'size': size, 'etag': etag, 'day': available_date}
        ]) as part
    from images_flat
)

select
    part.key as key,
    objects.source || '/' || part.key as uri,
    part.object as object,
    part.size as size,
    part.etag as etag,
    cast(null as varchar) as version_id,
    part.day as available_date,
    objects.group_name,
    objects.patient_id,
    objects.StudyInstanceUID,
    objects.SeriesInstanceUID,
    objects.SOPInstanceUID,
    objects.Modality,
    patients_flat.covid_status
from objects
inner join patients_flat on objects.patient_id = patients_flat.patient_id
where part.key is not null
order by part.key, objects.source
