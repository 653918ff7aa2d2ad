-- title: A patient that comes from two sources
-- meaning: The same pseudonym has images or clinical files from more than one bucket. If the buckets are copies of each
--   other, its images count twice; if each assigns its own pseudonyms, two people are treated as one. `chest source list`
--   names the sources, `chest source remove` removes one.
-- severity: error
-- table: patients
select
    patient_id,
    list_sort(list(distinct source)) as sources,
    count(*) filter (what = 'image') as n_images,
    count(*) filter (what = 'file') as n_clinical
from (
    select patient_id, source, 'image' as what from lake.main.images
    union all
    select patient_id, source, 'file' as what from lake.main.clinical_history
) as rows_of_both
group by patient_id
having count(distinct source) > 1
order by patient_id;
