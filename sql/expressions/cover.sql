-- Parts of the views of a session under an agreement (sql/access/cover.sql).

-- name: shield
using sample 100 percent (system)

-- name: patients
-- The record in effect, of all records, is from a covered centre; the order is that of view clinical.
patient_id in (
    select patient_id
    from (
        from {{ lake }}.main.clinical_history
        qualify row_number() over (
            partition by patient_id
            order by kind = 'data' desc, available_date desc, last_modified desc, key desc, source desc
        ) = 1
    )
    where centre in ({{ centres }})
)

-- name: keys
(source, key) in (select (source, key) from {{ lake }}.main.images where Modality in ({{ modalities }}))
