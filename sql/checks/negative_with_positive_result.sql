-- title: Negative by its file, positive by its result
-- meaning: The file that counts is a status file, so the patient is taken for negative, but a swab in it is Positive. The
--   patient is in the wrong arm of every comparison until a data file comes.
-- severity: error
-- table: clinical
select
    patient_id,
    key,
    swab_status,
    swabdate,
    list_filter(swabdates, lambda swab: swab.swab_status = 'Positive') as positive_swabs,
    submitting_centre
from clinical
where
    kind = 'status'
    and (
        swab_status = 'Positive'
        or coalesce(list_contains(list_transform(swabdates, lambda swab: swab.swab_status), 'Positive'), false)
    )
order by patient_id, key;
