-- title: A teaching set of chest X-rays
-- question: Which chest X-rays show learners positive, negative and indeterminate cases, one film a patient?
-- definition: One row per patient, up to per_answer films of each answer. Positive: a patient with COVID-19 whose
--   film a radiologist of the centre graded classic or probable (code 1 of the British Society of Thoracic Imaging);
--   indeterminate: likewise, graded indeterminate (code 2). The grade is of the film of the day that the record
--   names, first or second. Negative: a patient without a positive swab, and a film no more than days_apart days from
--   a negative one. Cases are numbered in an order drawn by a digest of their UID, in which the answers are mixed.
-- limits: The grade is one radiologist's, and two films of one day cannot be told apart. A negative film is not a
--   normal film. The key is apart: questions are given without with_answers, the key with it, both with the same case
--   numbers; hand learners the images renamed by case number, since a pseudonym may be met elsewhere.
-- grain: image
-- param per_answer INTEGER = 50: at most so many films of each answer
-- param days_apart INTEGER = 14: a negative film may be so many days from the swab
-- param draw INTEGER = 1: another number draws other films in another order
-- param with_answers BOOLEAN = false: true gives the key; without it the answer is null
-- label case_number: number of the case, from 1
-- label answer: positive, negative or indeterminate; null in the questions
with
-- Frontal chest X-rays; an image sent twice counts once.
films as (
    select patient_id, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, StudyDate, ViewPosition
    from images
    where
        Modality in ('CR', 'DX')
        and coalesce(BodyPartExamined, 'CHEST') ilike '%chest%'
        and coalesce(ViewPosition, 'AP') in ('AP', 'PA')
        and SOPInstanceUID is not null
        and StudyDate is not null
    qualify row_number() over (partition by SOPInstanceUID order by available_date, key, source) = 1
),

-- What is known of films by their patient and day: the grades of the positive, the swabs of the negative.
graded as (
    select patient_id, 0 as days_apart, date_of_1st_cxr as day, covid_code as code
    from clinical
    where kind = 'data' and final_covid_status is distinct from 'Negative'
    union all
    select patient_id, 0 as days_apart, date_of_2nd_cxr as day, covid_code_2 as code
    from clinical
    where kind = 'data' and final_covid_status is distinct from 'Negative'
    union all
    select
        patient_id,
        $days_apart as days_apart,
        unnest(list_append(list_transform(coalesce(swabdates, []), lambda swab: swab.swabdate), swabdate)) as day,
        -1 as code
    from clinical
    where
        kind = 'status'
        and swab_status is distinct from 'Positive'
        and not list_contains(list_transform(coalesce(swabdates, []), lambda swab: swab.swab_status), 'Positive')
),

-- Films with an answer; one that is answered in two ways has none.
answered as (
    select
        films.*,
        case graded.code when 1 then 'positive' when 2 then 'indeterminate' when -1 then 'negative' end as truth
    from films
    inner join graded on films.patient_id = graded.patient_id
    where abs(films.StudyDate - graded.day) <= graded.days_apart and graded.code in (1, 2, -1)
    qualify min(truth) over (partition by films.SOPInstanceUID) = max(truth) over (partition by films.SOPInstanceUID)
),

-- One film a patient.
one_a_patient as (
    select *
    from answered
    qualify row_number() over (partition by patient_id order by StudyDate, SOPInstanceUID) = 1
),

-- At most so many of each answer.
drawn as (
    select *
    from one_a_patient
    qualify
        row_number() over (partition by truth order by md5(SOPInstanceUID || ' ' || $draw), SOPInstanceUID)
        <= $per_answer
)

select
    SOPInstanceUID,
    patient_id,
    StudyInstanceUID,
    StudyDate,
    ViewPosition,
    row_number() over (order by md5(SOPInstanceUID || ' case ' || $draw), SOPInstanceUID) as case_number,
    case when $with_answers then truth end as answer
from drawn
