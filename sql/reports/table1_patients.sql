-- A digest of each patient of a cohort's answer with all that table1.sql counts of them, so that two tables can be
-- compared: a patient whose record changed between two days is another one here. Names nobody.
-- warehouse/service/counted_patients.py registers the answer as `cohort_rows`.
with
answer as (
    select
        {{ grain }} as id,
        hash(cohort_rows) as content
    from cohort_rows
),

pictures as (
    select
        images.patient_id,
        bit_xor(hash(answer.content, images.SOPInstanceUID, images.Modality, images.vendor, images.Manufacturer))
            as content
    from answer
    inner join images on answer.id = images.{{ grain }}
    group by images.patient_id
),

-- Patients without an image, whom only a cohort of patients has.
asked as (
    select
        patient_id,
        content
    from pictures
    union all
    select
        answer.id as patient_id,
        answer.content
    from answer
    where {{ is_of_patients }} and answer.id not in (select patient_id from pictures)
)

select hash(asked.patient_id, asked.content, hash(patients), hash(clinical), hash(admissions)) as patient
from asked
left join patients on asked.patient_id = patients.patient_id
left join clinical on asked.patient_id = clinical.patient_id
left join admissions on asked.patient_id = admissions.patient_id
