-- title: The same .dcm under two patients or in two groups
-- meaning: Objects of equal size and equal MD5 are the same image, sent under two pseudonyms, or into the training and
--   the validation group. A model that is trained on one and tested on the other has seen the answer. One row for each
--   such image of the group that is asked for, with the patients of that group. Only etags that are MD5s are compared, so
--   a bucket in a folder has no rows.
-- severity: error
-- table: raw.objects
with
-- Of all groups, because an image in both is what is sought.
images_by_bytes as (
    select
        etag,
        size,
        count(distinct patient_id) as n_patients,
        count(distinct group_name) as n_groups,
        count(*) as n_objects,
        list_sort(list(distinct patient_id) filter ({{ in_group }})) as patients,
        list_sort(list(distinct group_name)) as group_names,
        min(key) filter ({{ in_group }}) as key
    from raw.objects
    where
        (kind = 'dcm' or (kind = 'header' and not ends_with(key, '.json')))
        and available_date <= {{ as_of }}
        and regexp_full_match(etag, '[0-9a-f]{32}')
    group by etag, size
)

select
    patients,
    key,
    group_names,
    n_patients,
    n_objects,
    size,
    etag
from images_by_bytes
where key is not null and (n_patients > 1 or n_groups > 1)
order by all;
