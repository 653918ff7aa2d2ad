-- title: External validation of a diagnosis model
-- question: On which chest X-rays can a model that was trained elsewhere be tried, as many positive as negative?
-- definition: One row per patient: the frontal chest X-ray nearest to a swab, no more than days_apart days from it,
--   of the centres held out from training, and if named of the scanners. Balanced: of each projection (AP, PA) as
--   many positive as negative films are taken, so that neither status nor prevalence can be read off the projection.
--   Which films are left out is drawn by a digest of their UID: the same for everybody; another draw draws others.
-- limits: Balanced data have no true prevalence: predictive values do not carry over. Held out are whole centres by
--   the name that they send, letter case and spaces aside; a patient seen at two centres counts for the one that sent
--   the record. A projection that the header does not name is left out.
-- grain: image
-- param centres VARCHAR[] = []: the centres that are held out; all when empty, for a model trained on other data
-- param scanners VARCHAR[] = []: only these ManufacturerModelName; all when empty
-- param days_apart INTEGER = 14: a film may be so many days from the swab
-- param draw INTEGER = 1: another number draws other films
-- label covid_status: positive or negative
-- label days_from_swab: days from the swab to the film; below 0 the film is older
with
-- Frontal chest X-rays with their projection; an image sent twice counts once.
films as (
    select
        patient_id, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, StudyDate, ViewPosition, ManufacturerModelName
    from images
    where
        Modality in ('CR', 'DX')
        and coalesce(BodyPartExamined, 'CHEST') ilike '%chest%'
        and ViewPosition in ('AP', 'PA')
        and SOPInstanceUID is not null
        and StudyDate is not null
    qualify row_number() over (partition by SOPInstanceUID order by available_date, key, source) = 1
),

-- Records of the centres held out.
held_out as (
    select *
    from clinical
    where
        len($centres) = 0
        or lower(regexp_replace(trim(submitting_centre), '\s+', ' ', 'g')) in (
            select lower(regexp_replace(trim(named), '\s+', ' ', 'g')) from (select unnest($centres) as named)
        )
),

-- The swab of a positive patient, and every swab of a negative one, as in covid_risk.
swabs as (
    select
        patient_id,
        'positive' as covid_status,
        submitting_centre,
        coalesce(
            date_of_positive_covid_swab,
            case when first_rt_pcr_result = 'Positive' then date_of_acquisition_of_1st_rt_pcr end,
            case when second_rt_pcr_result = 'Positive' then date_of_acquisition_of_2nd_rt_pcr end
        ) as swab_date
    from held_out
    where kind = 'data' and final_covid_status is distinct from 'Negative'
    union all
    select
        patient_id,
        'negative' as covid_status,
        submitting_centre,
        unnest(list_append(list_transform(coalesce(swabdates, []), lambda swab: swab.swabdate), swabdate)) as swab_date
    from held_out
    where
        kind = 'status'
        and swab_status is distinct from 'Positive'
        and not list_contains(list_transform(coalesce(swabdates, []), lambda swab: swab.swab_status), 'Positive')
),

-- Of the scanners.
of_scanners as (
    select *
    from films
    where len($scanners) = 0 or ManufacturerModelName = any($scanners)
),

-- Of patients of the centres, near a swab.
near_swab as (
    select
        of_scanners.*,
        swabs.covid_status,
        swabs.submitting_centre,
        of_scanners.StudyDate - swabs.swab_date as days_from_swab
    from of_scanners
    inner join swabs on of_scanners.patient_id = swabs.patient_id
    where abs(of_scanners.StudyDate - swabs.swab_date) <= $days_apart
),

-- One film a patient: the nearest to a swab, then the earliest.
one_a_patient as (
    select *
    from near_swab
    qualify
        row_number() over (
            partition by patient_id order by abs(days_from_swab), StudyDate, SOPInstanceUID
        ) = 1
),

-- How many of each status and projection there are, and the place of each film in the draw.
drawn as (
    select
        *,
        count(*) filter (covid_status = 'positive') over (partition by ViewPosition) as n_positive,
        count(*) filter (covid_status = 'negative') over (partition by ViewPosition) as n_negative,
        row_number() over (
            partition by ViewPosition, covid_status order by md5(SOPInstanceUID || ' ' || $draw), SOPInstanceUID
        ) as place
    from one_a_patient
),

-- As many positive as negative of each projection.
balanced as (
    select *
    from drawn
    where place <= least(n_positive, n_negative)
)

select
    SOPInstanceUID,
    patient_id,
    StudyInstanceUID,
    StudyDate,
    ViewPosition,
    submitting_centre,
    ManufacturerModelName,
    covid_status,
    days_from_swab
from balanced
