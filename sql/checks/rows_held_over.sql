-- title: A row whose object has newer content that could not be read
-- meaning: The object was replaced, and what it holds now cannot be had or is not what its key says. The row keeps what
--   it held before, with the etag, size and day of that, until the new content can be read. So it may be out of date,
--   and a manifest of it does not verify against the bucket. The reason says why; `chest refresh` tries again.
-- severity: error
-- table: images
select shown.patient_id, shown.key, shown.source, rejects.kind, rejects.reason, rejects.first_seen, rejects.retry
from (
    select patient_id, key, source from lake.main.images
    union all
    select patient_id, key, source from lake.main.clinical_history
) as shown
inner join lake.ops.rejects on shown.source = rejects.source and shown.key = rejects.key
where rejects.kept_etag is not null
order by all;
