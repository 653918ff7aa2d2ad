-- The views of a session under an agreement: temporary, so that their names come before those of the lake's own, in
-- queries and in the lake's other views, which stand on these. What the agreement does not cover is not in them.
-- The shield is a sample of all rows, for untrusted SQL (sql/sandbox/shield.sql): no filter of a query is moved below it.

-- name: view
create or replace temp view {{ view }} as
from (select * {{ masked }} from {{ lake }}.main.{{ view }} where {{ covered }}) {{ shield }};

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
