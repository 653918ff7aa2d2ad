-- title: COVID-19 risk from chest X-rays
-- question: Which chest X-rays were taken near a swab that shows whether the patient had COVID-19?
-- definition: One row per chest X-ray (concept chest_films) of an adult, from days_before days before a swab to
--   days_after days after it (concept swabs). Positive: a positive swab of a data record whose final status does not
--   rule out COVID-19. Negative: a negative swab of a status record in which nothing is positive. The nearest swab
--   decides; of two equally near, an inconclusive one excludes the film, otherwise the earlier counts. Earlier negative
--   swabs of a positive patient do not count: they missed the disease, or preceded it. Films from the day of intubation
--   or later are excluded, because a tube in the image gives the answer away. The window: incubation takes about 5 days
--   (Lauer 2020, Ann Intern Med 172:577; WHO), so a film much older than the positive swab was taken before the
--   disease; 3 days allow for waiting and for a first swab that missed it. Findings peak 10 to 12 days after onset
--   (Wong 2020, Radiology 296:E72), a week or less after the swab of those admitted; and a negative swab has little
--   bearing on a film of two weeks later.
-- limits: A swab can miss the disease, and one patient has several films, so split training and test data by
--   patient_id. StudyDate is not shifted in this database and swab dates come from the centre: a film with a wrong date
--   is not detected. A positive result without the date of its swab labels nothing. Status records have no intubation:
--   films of ventilated negatives are not recognised. A patient of unknown age is included. Negatives are often from
--   other centres and months than positives: see  chest cohort confounders covid_risk. On the sample bucket (chest
--   sample --patients 40 --seed 1): 27 films of 12 patients, 13 positive and 14 negative.
-- joins: as written
-- grain: image
-- param days_before INTEGER = 3: the most days from a film to the swab after it
-- param days_after INTEGER = 7: the most days from the swab to a film after it
-- param projections VARCHAR[] = ['frontal', 'unknown']: any of frontal, lateral, other, unknown; headers without a view are nearly all frontal
-- param min_age INTEGER = 18: youngest age in years; the films and the disease of children differ
-- param max_age INTEGER = 120: oldest age in years
-- param before_intubation BOOLEAN = true: excludes films from the day of intubation or later
-- label covid_status: positive or negative
-- label swab_date: day of the swab that the status is from
-- label days_from_swab: days from that swab to the film; below 0 the film is older
with
-- Chest X-rays of the chosen projections with a known date; an image sent twice counts once.
films as (
    select *
    from chest_films
    where projection = any($projections) and StudyDate is not null
),

-- Patients in the age range, by the record, else by the header.
of_age as (
    select films.*
    from films
    left join clinical on films.patient_id = clinical.patient_id
    where coalesce(clinical.age, films.header_age, $min_age) between $min_age and $max_age
),

-- Films near a positive swab of a positive patient, or near any swab of another patient.
near_swab as (
    select of_age.*, swabs.covid_status, swabs.swab_date, of_age.StudyDate - swabs.swab_date as days_from_swab
    from of_age
    inner join swabs on of_age.patient_id = swabs.patient_id
    where
        (swabs.covid_status is not null or swabs.kind = 'status')
        and swabs.swab_date - of_age.StudyDate <= $days_before
        and of_age.StudyDate - swabs.swab_date <= $days_after
),

-- Each film with its nearest swab.
nearest_swab as (
    select *
    from near_swab
    qualify
        row_number() over (
            partition by SOPInstanceUID order by abs(days_from_swab), covid_status is null desc, swab_date
        ) = 1
),

-- Films whose nearest swab is conclusive.
labelled as (
    select *
    from nearest_swab
    where covid_status is not null
),

-- Films from before intubation; excluded if intubated on an unknown day, or denied and yet dated.
not_intubated as (
    select labelled.*
    from labelled
    left join admissions on labelled.patient_id = admissions.patient_id
    where
        not $before_intubation
        or coalesce(
            labelled.StudyDate < admissions.intubation_date,
            not coalesce(admissions.was_intubated, admissions.is_intubation_contradicted, false)
        )
)

select
    SOPInstanceUID,
    patient_id,
    StudyInstanceUID,
    StudyDate,
    projection,
    ViewPosition,
    view,
    covid_status,
    swab_date,
    days_from_swab
from not_intubated
