-- title: COVID-19 risk from chest X-rays
-- question: Which chest X-rays were taken near a swab that says whether the patient had COVID-19?
-- definition: One row per frontal chest X-ray (CR or DX) with the swab of the patient that is nearest in time, from
--   days_before days before the swab to days_after days after it. Positive: the patient has a data record, which does
--   not say at last that COVID-19 was ruled out; the day is that of the positive swab, else that on which the first
--   or second RT-PCR that came back positive was taken. Negative: a status record without any positive swab; each of
--   its negative swabs counts.
-- limits: A swab can miss the disease, and one patient has several films, so split training from test by patient_id.
--   StudyDate is not shifted in this database and swab dates come from the centre: a film of the wrong day is not
--   seen. Negatives are often from other centres and other months than positives: look at  chest cohort risk
--   covid_risk.
-- grain: image
-- param days_before INTEGER = 14: a film may be so many days older than the swab
-- param days_after INTEGER = 14: a film may be so many days younger than the swab
-- label covid_status: positive or negative
-- label swab_date: day of the swab that the status is from
-- label days_from_swab: days from that swab to the film; below 0 the film is older
with
-- Frontal chest X-rays. A body part or a view that the header does not name is let in; an image sent twice counts once.
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

-- The swab of a positive patient, and every swab of a negative one.
swabs as (
    select
        patient_id,
        'positive' as covid_status,
        coalesce(
            date_of_positive_covid_swab,
            case when first_rt_pcr_result = 'Positive' then date_of_acquisition_of_1st_rt_pcr end,
            case when second_rt_pcr_result = 'Positive' then date_of_acquisition_of_2nd_rt_pcr end
        ) as swab_date
    from clinical
    where kind = 'data' and final_covid_status is distinct from 'Negative'
    union all
    select
        patient_id,
        'negative' as covid_status,
        unnest(list_append(list_transform(coalesce(swabdates, []), lambda swab: swab.swabdate), swabdate)) as swab_date
    from clinical
    where
        kind = 'status'
        and swab_status is distinct from 'Positive'
        and not list_contains(list_transform(coalesce(swabdates, []), lambda swab: swab.swab_status), 'Positive')
),

-- Films of patients whose status and day of swab are known.
films_of_swabbed as (
    select films.*, swabs.covid_status, swabs.swab_date
    from films
    inner join swabs on films.patient_id = swabs.patient_id
    where swabs.swab_date is not null
),

-- Films near a swab, each with its nearest; of two as near, the earlier.
near_swab as (
    select *, StudyDate - swab_date as days_from_swab
    from films_of_swabbed
    where StudyDate - swab_date between -$days_before and $days_after
    qualify
        row_number() over (partition by SOPInstanceUID order by abs(StudyDate - swab_date), swab_date) = 1
)

select
    SOPInstanceUID,
    patient_id,
    StudyInstanceUID,
    StudyDate,
    ViewPosition,
    covid_status,
    swab_date,
    days_from_swab
from near_swab
