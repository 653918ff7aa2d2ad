-- title: X-rays at presentation, to predict ventilation
-- question: Which patients with COVID-19 had a chest X-ray at presentation, and which of them were ventilated later?
-- definition: One row per patient: the first study with a chest X-ray of the projections, from the day before admission
--   to days_after days after it, of an adult with a positive swab from swab_days_before days before admission to
--   swab_days_after days after it, alive and not intubated by the day of that film. Up to 2 days after admission,
--   infection counts as community onset (Public Health England, 2020: community onset up to day 2, hospital onset from
--   day 3 on); up to 14 days before, a positive swab relates to this illness. Inclusion depends on nothing after the
--   film: everybody is included, and patients who were not followed to the horizon are marked. Ventilated: intubated
--   after the day of the film, within horizon days of it. Not ventilated: the record shows the patient alive and not
--   intubated at the horizon, or dead before it without having been intubated. Otherwise unknown: null. Follow-up ends
--   with death, else on the last day on which the record shows the patient alive (concept admissions); the upload of
--   the record is not evidence of that. Besides the film, only age and sex are given, which were known before.
-- limits: The patients are those who turned out to have COVID-19, which may be known only after the film. The data do
--   not show A&E: presentation is the day of admission. There are no times of day, so a film and an intubation on the
--   same day cannot be ordered. Ventilation without a tube is not recorded. Death without ventilation is a competing
--   outcome: see died. Many rows have an unknown outcome: treat them as censored at days_followed (is_censored), or if
--   neither is known exclude them and report how many. A patient of unknown age is included. On the sample bucket
--   (chest sample --patients 40 --seed 1): 1 study of 1 patient, censored.
-- joins: as written
-- grain: study
-- param days_after INTEGER = 1: the most days from admission to the film
-- param horizon INTEGER = 28: the days of follow-up from the film, as in trials of COVID-19
-- param swab_days_before INTEGER = 14: the most days from the positive swab to the admission after it
-- param swab_days_after INTEGER = 2: the most days from the admission to the positive swab after it
-- param ask_swab BOOLEAN = true: false also includes patients with a data record who have no positive swab near admission and are not ruled out
-- param projections VARCHAR[] = ['frontal', 'unknown']: any of frontal, lateral, other, unknown
-- param min_age INTEGER = 18: youngest age in years
-- param max_age INTEGER = 120: oldest age in years
-- label ventilated: true if intubated after the day of the film, within the horizon; null if unknown
-- label days_to_ventilation: days from the film to the intubation; null without one within the horizon
-- label died: true if the patient died within the horizon; null if unknown, or if the day is unknown
-- label days_followed: days from the film to the end of follow-up; never below 0
-- label is_censored: whether follow-up ended before the horizon with neither ventilation nor death
with
-- Studies with a chest X-ray of the chosen projections; one sent for two patients belongs to the first by name.
film_studies as (
    select patient_id, StudyInstanceUID, min(StudyDate) as StudyDate, max(header_age) as header_age
    from chest_films
    where projection = any($projections) and StudyInstanceUID is not null and StudyDate is not null
    group by patient_id, StudyInstanceUID
    qualify row_number() over (partition by StudyInstanceUID order by patient_id) = 1
),

-- Patients with a known day of admission.
of_admitted as (
    select film_studies.*, admissions.* exclude (patient_id, group_name, available_date, source, key)
    from film_studies
    inner join admissions on film_studies.patient_id = admissions.patient_id
    where admissions.admission_date is not null
),

-- Patients finally ruled out, and the age and sex of all.
of_age as (
    select of_admitted.*, coalesce(record.age, of_admitted.header_age) as age, record.sex
    from of_admitted
    inner join clinical as record on of_admitted.patient_id = record.patient_id
    where
        record.final_covid_status is distinct from 'Negative'
        and coalesce(record.age, of_admitted.header_age, $min_age) between $min_age and $max_age
),

-- Patients with a positive swab near admission.
swabbed as (
    select of_age.*
    from of_age
    where
        not $ask_swab
        or exists (
            select 1
            from swabs
            where
                swabs.patient_id = of_age.patient_id
                and swabs.covid_status = 'positive'
                and of_age.admission_date - swabs.swab_date <= $swab_days_before
                and swabs.swab_date - of_age.admission_date <= $swab_days_after
        )
),

-- Studies at presentation; the first of each patient is the index.
index_films as (
    select *
    from swabbed
    where StudyDate - admission_date between -1 and $days_after
    qualify row_number() over (partition by patient_id order by StudyDate, StudyInstanceUID) = 1
),

-- Patients alive and not known to be intubated by the day of the film.
at_risk as (
    select *
    from index_films
    where coalesce(intubation_date > StudyDate, true) and coalesce(death_date >= StudyDate, true)
),

-- Outcomes; unknown if intubated on an unknown day, or denied and yet dated.
followed as (
    select
        *,
        case
            when intubation_date - StudyDate <= $horizon then true
            when was_intubated is null or (was_intubated and intubation_date is null) then null
            when death_date - StudyDate <= $horizon or follow_up_end - StudyDate >= $horizon then false
        end as is_ventilated,
        case
            when death_date - StudyDate <= $horizon then true
            when has_died and death_date is null then null
            when is_death_contradicted then null
            when follow_up_end - StudyDate >= $horizon then false
        end as is_dead
    from at_risk
)

select
    StudyInstanceUID,
    patient_id,
    StudyDate,
    age,
    sex,
    is_ventilated as ventilated,
    case when is_ventilated then intubation_date - StudyDate end as days_to_ventilation,
    is_dead as died,
    greatest(follow_up_end - StudyDate, 0) as days_followed,
    not coalesce(is_ventilated, false)
    and not coalesce(is_dead, false)
    and coalesce(follow_up_end - StudyDate < $horizon, true) as is_censored
from followed
