-- title: A row whose object has newer content that could not be read
-- meaning: The object was replaced, and its new content cannot be read or is not of the kind that its key states. The row
--   keeps the earlier content, with its etag, size and date, until the new one can be read. So it may be out of date,
--   and a manifest that contains it does not verify against the bucket. See the reason; `chest refresh` tries again.
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
