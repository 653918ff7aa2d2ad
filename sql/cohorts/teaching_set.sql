-- title: A teaching set of chest X-rays
-- question: Which chest X-rays show learners positive, negative and indeterminate cases, one film per patient?
-- definition: One row per patient, up to per_answer films of each answer. Every film is labelled by the nearest swab,
--   as in covid_risk, and by the reading of a radiologist of the centre on that day (British Society of Thoracic
--   Imaging: code 0 normal, 1 classic or probable, 2 indeterminate, 3 not COVID-19). Positive: a positive swab and code
--   1. Indeterminate: a positive swab and code 2. Negative: a negative swab and code 0 or 3; or, with unread, a
--   negative swab and no reading, which the label reading shows. A film has no answer if its swab and reading disagree,
--   or two readings of its day. Cases are numbered in a random order drawn from a digest of their UID, which mixes the
--   answers. The window, age and intubation are those of covid_risk, for the same reasons.
-- limits: The reading is that of one radiologist, and does not distinguish two films of one day. Status records rarely
--   have a reading, so most negatives are unread: such a film may show any disease, including COVID-19 that the swab
--   missed. The key is separate: questions are exported without with_answers and the key with it, with the same case
--   numbers; give learners the images renamed by case number, because they may know a pseudonym from elsewhere. On the
--   sample bucket (chest sample --patients 40 --seed 1): 9 films, 1 positive and 8 negative, these unread.
-- joins: as written
-- grain: image
-- param per_answer INTEGER = 50: the most films of each answer
-- param unread BOOLEAN = true: includes negative films that no radiologist has read, marked as such in the key
-- param days_before INTEGER = 3: the most days from a film to the swab after it
-- param days_after INTEGER = 7: the most days from the swab to a film after it
-- param projections VARCHAR[] = ['frontal', 'unknown']: any of frontal, lateral, other, unknown
-- param min_age INTEGER = 18: youngest age in years
-- param max_age INTEGER = 120: oldest age in years
-- param before_intubation BOOLEAN = true: excludes films from the day of intubation or later
-- param draw INTEGER = 1: another number selects other films in another order
-- param with_answers BOOLEAN = false: true gives the key; otherwise answer and reading are null
-- label case_number: number of the case, from 1
-- label answer: positive, negative or indeterminate; null in the questions
-- label reading: read or unread, by a radiologist of the centre; null in the questions
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

-- Films from before intubation, as in covid_risk.
not_intubated as (
    select of_age.*
    from of_age
    left join admissions on of_age.patient_id = admissions.patient_id
    where
        not $before_intubation
        or coalesce(
            of_age.StudyDate < admissions.intubation_date,
            not coalesce(admissions.was_intubated, admissions.is_intubation_contradicted, false)
        )
),

-- Films near a positive swab of a positive patient, or near any swab of another patient.
near_swab as (
    select
        not_intubated.*,
        swabs.covid_status,
        swabs.swab_date,
        not_intubated.StudyDate - swabs.swab_date as days_from_swab
    from not_intubated
    inner join swabs on not_intubated.patient_id = swabs.patient_id
    where
        (swabs.covid_status is not null or swabs.kind = 'status')
        and swabs.swab_date - not_intubated.StudyDate <= $days_before
        and not_intubated.StudyDate - swabs.swab_date <= $days_after
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

-- Radiologists' readings by day; if readings of one day differ, there is none.
readings as (
    select patient_id, reading.day, min(reading.code) as code, max(reading.code) as other_code
    from (
        select
            patient_id,
            unnest([
                struct_pack(day := date_of_1st_cxr, code := covid_code),
                struct_pack(day := date_of_2nd_cxr, code := covid_code_2)
            ]) as reading
        from clinical
    )
    where reading.day is not null and reading.code is not null
    group by patient_id, reading.day
),

-- Films with an answer.
answered as (
    select
        labelled.*,
        case
            when labelled.covid_status = 'positive' and readings.code = 1 then 'positive'
            when labelled.covid_status = 'positive' and readings.code = 2 then 'indeterminate'
            when labelled.covid_status = 'negative' and readings.code in (0, 3) then 'negative'
            when labelled.covid_status = 'negative' and readings.code is null then 'negative'
        end as truth,
        case when readings.code is null then 'unread' else 'read' end as truly_read
    from labelled
    left join readings on labelled.patient_id = readings.patient_id and labelled.StudyDate = readings.day
    where truth is not null and (readings.code is null or readings.code = readings.other_code)
),

-- Read films, or unread ones if included.
admitted as (
    select *
    from answered
    where $unread or truly_read = 'read'
),

-- One film per patient: read ones first, then the earliest.
one_a_patient as (
    select *
    from admitted
    qualify row_number() over (partition by patient_id order by truly_read, StudyDate, SOPInstanceUID) = 1
),

-- At most per_answer of each answer; read ones first.
drawn as (
    select *
    from one_a_patient
    qualify
        row_number() over (partition by truth order by truly_read, md5(SOPInstanceUID || ' ' || $draw), SOPInstanceUID)
        <= $per_answer
)

select
    SOPInstanceUID,
    patient_id,
    StudyInstanceUID,
    StudyDate,
    ViewPosition,
    view,
    row_number() over (order by md5(SOPInstanceUID || ' case ' || $draw), SOPInstanceUID) as case_number,
    case when $with_answers then truth end as answer,
    case when $with_answers then truly_read end as reading
from drawn
