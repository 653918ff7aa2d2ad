-- title: Longitudinal chest CT
-- question: Which patients had chest CT more than once, and in which studies?
-- definition: One row per CT study of the chest of a patient who had at least min_studies of them on different days,
--   the first and the last at least min_days days apart. Studies are numbered by day.
-- limits: Chest is told from the body part or the words of the study or series; a study that names neither is left
--   out. Two studies of one day (two series sent apart, say) count as one day but are both in. What changed between
--   them, the kernel, thickness or contrast included, is not looked at.
-- grain: study
-- param min_studies INTEGER = 2: at least on so many different days
-- param min_days INTEGER = 1: at least so many days between the first and the last
-- label scan_number: 1 for the patient's first day of CT, 2 for the second and so on
-- label days_since_first: days since the patient's first chest CT
with
-- CT studies of the chest.
chest_ct as (
    select patient_id, StudyInstanceUID, min(StudyDate) as StudyDate, count(*) as n_slices
    from images
    where
        Modality = 'CT'
        and regexp_matches(
            concat_ws(' ', BodyPartExamined, StudyDescription, SeriesDescription),
            'chest|thora|pulmonary|lung|ctpa',
            'i'
        )
        and StudyInstanceUID is not null
    group by patient_id, StudyInstanceUID
),

-- Whose day is known; a study sent for two patients goes to the first by name.
dated as (
    select *
    from chest_ct
    where StudyDate is not null
    qualify row_number() over (partition by StudyInstanceUID order by patient_id) = 1
),

-- Of patients scanned on enough days, far enough apart.
repeated as (
    select
        *,
        dense_rank() over (partition by patient_id order by StudyDate) as scan_number,
        StudyDate - min(StudyDate) over (partition by patient_id) as days_since_first
    from dated
    qualify
        count(distinct StudyDate) over (partition by patient_id) >= $min_studies
        and max(StudyDate) over (partition by patient_id) - min(StudyDate) over (partition by patient_id) >= $min_days
)

select StudyInstanceUID, patient_id, StudyDate, n_slices, scan_number, days_since_first
from repeated
