-- title: Negative by its file, positive by its result
-- meaning: The record in effect is a status file, so the patient counts as negative, but a swab in it is Positive. The
--   patient is in the wrong arm of every comparison until a data file arrives.
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
