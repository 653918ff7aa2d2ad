-- How many objects of a manifest (temporary table manifest_objects) a session under an agreement does not show.
select count(*)
from manifest_objects as asked
where
    not exists (
        select 1
        from images
        where
            (asked.object = 'json' and asked.uri = images.source || '/' || images.key)
            or (asked.object = 'dcm' and asked.uri = images.source || '/' || images.dcm_key)
    )
    and not exists (
        select 1
        from clinical_history
        where asked.object = 'clinical' and asked.uri = clinical_history.source || '/' || clinical_history.key
    );
