-- title: X-rays at presentation, to predict ventilation
-- question: Which patients with COVID-19 had a chest X-ray at presentation, and who of them was ventilated later?
-- definition: One row per patient: the first study with a frontal chest X-ray, from the day before admission to
--   days_after days after it, while the patient was not intubated. Ventilated: intubated after the day of that film,
--   within horizon days of it. Nobody who was intubated on the day of the film or before is in. Age and sex are all
--   that is given beside the film, since both were known before it.
-- limits: The patients are those that turn out to have COVID-19, which may be known only after the film. There is no
--   sign of A&E in the data: presentation is the day of admission. Days have no hours, so that a film and an
--   intubation of the same day cannot be put in order. Ventilation without a tube is not recorded. Death without
--   ventilation competes with the outcome: look at died. Who was not followed up for horizon days is left out, which
--   favours long stays and late uploads.
-- grain: study
-- param days_after INTEGER = 1: the film may be so many days after admission
-- param horizon INTEGER = 28: the outcome is looked for so many days from the film on
-- label ventilated: true when intubated after the day of the film, within the horizon
-- label days_to_ventilation: days from the film to the intubation; null when there was none in time
-- label died: true when the patient died within the horizon
-- label days_followed: days from the film to death, else to the upload of the record
with
-- Studies with a frontal chest X-ray; one sent for two patients goes to the first by name.
film_studies as (
    select patient_id, StudyInstanceUID, min(StudyDate) as StudyDate
    from images
    where
        Modality in ('CR', 'DX')
        and coalesce(BodyPartExamined, 'CHEST') ilike '%chest%'
        and coalesce(ViewPosition, 'AP') in ('AP', 'PA')
        and StudyInstanceUID is not null
        and StudyDate is not null
    group by patient_id, StudyInstanceUID
    qualify row_number() over (partition by StudyInstanceUID order by patient_id) = 1
),

-- Of patients with COVID-19 whose day of admission is known.
of_admitted as (
    select
        film_studies.*,
        record.date_of_admission,
        record.intubation,
        record.date_of_intubation,
        record.death,
        record.date_of_death,
        record.available_date as record_date,
        record.age,
        record.sex
    from film_studies
    inner join clinical as record on film_studies.patient_id = record.patient_id
    where record.kind = 'data' and record.date_of_admission is not null
),

-- Taken at presentation; the first study of each patient is the index.
index_films as (
    select *
    from of_admitted
    where StudyDate between date_of_admission - 1 and date_of_admission + $days_after
    qualify row_number() over (partition by patient_id order by StudyDate, StudyInstanceUID) = 1
),

-- Whether the patient was intubated is known, and if so when.
known_outcome as (
    select *
    from index_films
    where intubation is not null and (not intubation or date_of_intubation is not null)
),

-- Not intubated by the day of the film.
not_yet_ventilated as (
    select *
    from known_outcome
    where not intubation or date_of_intubation > StudyDate
),

-- Followed up to the horizon: the outcome came, or the record was written after it.
followed_up as (
    select *
    from not_yet_ventilated
    where
        (intubation and date_of_intubation <= StudyDate + $horizon)
        or date_of_death <= StudyDate + $horizon
        or record_date >= StudyDate + $horizon
)

select
    StudyInstanceUID,
    patient_id,
    StudyDate,
    age,
    sex,
    intubation and date_of_intubation <= StudyDate + $horizon as ventilated,
    case when intubation and date_of_intubation <= StudyDate + $horizon then date_of_intubation - StudyDate end
        as days_to_ventilation,
    coalesce(death and date_of_death <= StudyDate + $horizon, false) as died,
    coalesce(date_of_death, record_date) - StudyDate as days_followed
from followed_up
