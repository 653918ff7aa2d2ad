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
-- Chest X-rays of the chosen projections, with a study and a day.
films as (
    select patient_id, StudyInstanceUID, StudyDate, header_age
    from chest_films
    where projection = any($projections) and StudyInstanceUID is not null and StudyDate is not null
),

-- Patients with a known day of admission.
of_admitted as (
    select films.*, admissions.* exclude (patient_id, group_name, available_date, source, key)
    from films
    inner join admissions on films.patient_id = admissions.patient_id
    where admissions.admission_date is not null
),

-- Patients not finally ruled out.
not_ruled_out as (
    select of_admitted.*, record.age as recorded_age, record.sex
    from of_admitted
    inner join clinical as record on of_admitted.patient_id = record.patient_id
    where record.final_covid_status is distinct from 'Negative'
),

-- Patients with a positive swab near admission; until films are grouped to studies, one is there for each.
swabbed as (
    select not_ruled_out.*
    from not_ruled_out
    left join swabs on not_ruled_out.patient_id = swabs.patient_id and swabs.covid_status = 'positive'
    where
        not $ask_swab
        or (
            not_ruled_out.admission_date - swabs.swab_date <= $swab_days_before
            and swabs.swab_date - not_ruled_out.admission_date <= $swab_days_after
        )
),

-- Their studies at presentation. Only what is left is grouped, since the studies of all films take much memory.
presented as (
    select * exclude (StudyDate, header_age), min(StudyDate) as StudyDate, max(header_age) as header_age
    from swabbed
    group by all
    having min(StudyDate) - admission_date between -1 and $days_after
),

-- Patients in the age range, by the record, else by the header.
of_age as (
    select * exclude (recorded_age, header_age), coalesce(recorded_age, header_age) as age
    from presented
    where coalesce(recorded_age, header_age, $min_age) between $min_age and $max_age
),

-- The first study of each patient is the index; a study that was sent for several patients is the first's by name.
index_films as (
    select of_age.*
    from of_age
    semi join (
        select StudyInstanceUID, min(patient_id) as patient_id
        from images
        where Modality in ('CR', 'DX') and StudyInstanceUID in (select StudyInstanceUID from of_age)
        group by StudyInstanceUID
    ) as owned on of_age.StudyInstanceUID = owned.StudyInstanceUID and of_age.patient_id = owned.patient_id
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
