-- title: Longitudinal chest CT
-- question: Which patients with COVID-19 had chest CT more than once in the course of the disease, and in which studies?
-- definition: One row per CT study of the chest (concept chest_ct: no localizers, no spine) of a patient with a positive
--   swab (concept swabs), from days_before days before the first positive swab to days_after days after it, of patients
--   who had at least min_studies of them on different days, the first and the last at least min_days days apart. Studies are
--   numbered by day. The anchor: images of the three years before are in this database, and a CT of a year before the
--   swab is no first look at this disease. 3 days before, as in covid_risk, since incubation takes about 5 (Lauer 2020,
--   Ann Intern Med 172:577); a year after, since changes are followed for so long (Han 2021, Radiology 299:E177, at
--   six months; Wu 2021, Lancet Respir Med 9:747, at twelve).
-- limits: Chest is told from the body part or the words of the study or series; a study that names neither is left
--   out. Two studies of one day (two series sent apart, say) count as one day but are both in. What changed between
--   them, the kernel, thickness or contrast included, is not looked at. A patient whose positive swab has no day is left
--   out; one of unknown age is let in. On the sample bucket (chest sample --patients 40 --seed 1): 2 studies of 1
--   patient.
-- grain: study
-- param min_studies INTEGER = 2: at least on so many different days
-- param min_days INTEGER = 1: at least so many days between the first and the last
-- param days_before INTEGER = 3: a study may be so many days older than the first positive swab
-- param days_after INTEGER = 365: a study may be so many days younger than the first positive swab
-- param min_age INTEGER = 18: age in years from which on patients are in
-- label scan_number: 1 for the patient's first day of CT, 2 for the second and so on
-- label days_since_first: days since the patient's first chest CT of the course
-- label days_from_swab: days from the patient's first positive swab to the study
with
-- CT studies of the chest whose day is known, of patients of the age.
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

-- In the course of the disease.
in_course as (
    select dated.*, dated.StudyDate - first_positive.swab_date as days_from_swab
    from dated
    inner join first_positive on dated.patient_id = first_positive.patient_id
    where dated.StudyDate - first_positive.swab_date between -$days_before and $days_after
),

-- Of patients scanned on enough days, far enough apart.
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
