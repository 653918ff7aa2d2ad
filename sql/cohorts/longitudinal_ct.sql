-- title: Longitudinal chest CT
-- question: Which patients with COVID-19 had chest CT more than once in the course of the disease, and in which studies?
-- definition: One row per CT study of the chest (concept chest_ct: no localizers, no spine) of a patient with a
--   positive swab (concept swabs), from days_before days before the first positive swab to days_after days after it, of
--   patients who had at least min_studies of them on different days, the first and the last at least min_days days
--   apart. Studies are numbered by day. The swab is the anchor because this database has images of the preceding three
--   years, and a CT from long before the swab does not show this disease. 3 days before, as in covid_risk, because
--   incubation takes about 5 (Lauer 2020, Ann Intern Med 172:577); a year after, because changes are followed up that
--   long (Han 2021, Radiology 299:E177, at six months; Wu 2021, Lancet Respir Med 9:747, at twelve).
-- limits: The chest is recognised by the body part or the description of the study or series; a study with neither is
--   excluded. Two studies of one day (two series sent separately, for example) count as one day but are both included.
--   Differences between them, such as kernel, thickness or contrast, are not considered. A patient whose positive swab
--   has no date is excluded; one of unknown age is included. On the sample bucket (chest sample --patients 40 --seed
--   1): 2 studies of 1 patient.
-- grain: study
-- param min_studies INTEGER = 2: the least number of different days with a study
-- param min_days INTEGER = 1: the least number of days between the first and the last study
-- param days_before INTEGER = 3: the most days from a study to the first positive swab after it
-- param days_after INTEGER = 365: the most days from the first positive swab to a study after it
-- param min_age INTEGER = 18: youngest age in years
-- label scan_number: 1 for the patient's first day of CT, 2 for the second and so on
-- label days_since_first: days since the patient's first chest CT of the course
-- label days_from_swab: days from the patient's first positive swab to the study
with
-- CT studies of the chest with a known date, of patients of at least the age.
dated as (
    select chest_ct.*
    from chest_ct
    left join clinical on chest_ct.patient_id = clinical.patient_id
    where
        chest_ct.StudyDate is not null
        and coalesce(clinical.age, chest_ct.header_age, $min_age) >= $min_age
),

-- The first positive swab of each patient.
first_positive as (
    select patient_id, min(swab_date) as swab_date
    from swabs
    where covid_status = 'positive' and swab_date is not null
    group by patient_id
),

-- Studies in the course of the disease.
in_course as (
    select dated.*, dated.StudyDate - first_positive.swab_date as days_from_swab
    from dated
    inner join first_positive on dated.patient_id = first_positive.patient_id
    where
        first_positive.swab_date - dated.StudyDate <= $days_before
        and dated.StudyDate - first_positive.swab_date <= $days_after
),

-- Studies of patients scanned on enough days, far enough apart.
repeated as (
    select
        *,
        dense_rank() over (partition by patient_id order by StudyDate) as scan_number,
        StudyDate - min(StudyDate) over (partition by patient_id) as days_since_first
    from in_course
    qualify
        count(distinct StudyDate) over (partition by patient_id) >= $min_studies
        and max(StudyDate) over (partition by patient_id) - min(StudyDate) over (partition by patient_id) >= $min_days
)

select StudyInstanceUID, patient_id, StudyDate, n_slices, scan_number, days_since_first, days_from_swab
from repeated
