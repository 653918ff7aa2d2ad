-- title: External validation of a diagnosis model
-- question: On which chest X-rays of centres held out from training can a model be tested, as many positive as negative?
-- definition: One row per patient: the frontal chest X-ray of an adult nearest to a swab, labelled as in covid_risk, of
--   the given centres and, if given, scanners. A patient with a clinical file of any other centre may have been trained
--   on, and is excluded. Matched: as many positive as negative films of each projection (AP, PA), sex, decade of age
--   and month, so that none of these predicts status. If no film of the month is left, one of another month is used;
--   loosen relaxes more, or nothing. matched_on shows what each film is matched on. The films to exclude are drawn by a
--   digest of their UID, the same for everybody; another draw selects others. The window, age and intubation are those
--   of covid_risk, for the same reasons.
-- limits: Matched data have no true prevalence: predictive values do not carry over. The centre is known only from
--   clinical files. Unknown sex and age are matched with unknown. Films of unknown projection are excluded. Scanner and
--   ward are not matched: see  chest cohort confounders external_validation. On the sample bucket (chest sample
--   --patients 40 --seed 1), with all its centres: 2 films; with loosen = 3, 8 films.
-- joins: as written
-- grain: image
-- param centres VARCHAR[]: the held-out centres, in any spelling
-- param scanners VARCHAR[] = []: only these ManufacturerModelName; all if empty
-- param days_before INTEGER = 3: the most days from a film to the swab after it
-- param days_after INTEGER = 7: the most days from the swab to a film after it
-- param min_age INTEGER = 18: youngest age in years
-- param max_age INTEGER = 120: oldest age in years
-- param before_intubation BOOLEAN = true: excludes films from the day of intubation or later
-- param loosen INTEGER = 1: 0 matches on projection, sex, age and month; 1 relaxes the month if no film is left, 2 also age, 3 also sex
-- param draw INTEGER = 1: another number selects other films
-- label covid_status: positive or negative
-- label days_from_swab: days from the swab to the film; below 0 the film is older
with
-- Frontal chest X-rays with their view; an image sent twice counts once.
films as (
    select *
    from chest_films
    where view in ('AP', 'PA') and StudyDate is not null
),

-- The given names in the spelling of the column centre.
named as (
    select distinct fold_centre(name) as centre
    from (select unnest($centres) as name)
    where centre is not null
),

-- Records of the given centres.
held_out as (
    select patient_id, centre, sex, age
    from clinical
    where centre in (select centre from named)
),

-- Patients who also have a file of another centre.
seen_elsewhere as (
    select distinct patient_id
    from clinical_history
    where centre not in (select centre from named)
),

-- Patients of only the held-out centres, in the age range.
of_held_out as (
    select
        films.*,
        held_out.centre,
        coalesce(held_out.sex, 'not known') as sex,
        coalesce(cast(floor(coalesce(held_out.age, films.header_age) / 10) * 10 as integer), -1) as decade
    from films
    inner join held_out on films.patient_id = held_out.patient_id
    where
        films.patient_id not in (select patient_id from seen_elsewhere)
        and coalesce(held_out.age, films.header_age, $min_age) between $min_age and $max_age
),

-- Films of the scanners.
of_scanners as (
    select *
    from of_held_out
    where len($scanners) = 0 or ManufacturerModelName = any($scanners)
),

-- Films from before intubation, as in covid_risk.
not_intubated as (
    select of_scanners.*
    from of_scanners
    left join admissions on of_scanners.patient_id = admissions.patient_id
    where
        not $before_intubation
        or coalesce(
            of_scanners.StudyDate < admissions.intubation_date,
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
    select *, strftime(StudyDate, '%Y-%m') as month
    from nearest_swab
    where covid_status is not null
),

-- One film per patient: the nearest to a swab, then the earliest.
one_a_patient as (
    select *, md5(SOPInstanceUID || ' ' || $draw) as lot
    from labelled
    qualify
        row_number() over (
            partition by patient_id order by abs(days_from_swab), StudyDate, SOPInstanceUID
        ) = 1
),

-- As many positive as negative of each projection, sex, decade and month.
of_month as (
    select
        *,
        case
            when
                row_number() over (partition by view, sex, decade, month, covid_status order by lot, SOPInstanceUID)
                <= least(
                    count_if(covid_status = 'positive') over (partition by view, sex, decade, month),
                    count_if(covid_status = 'negative') over (partition by view, sex, decade, month)
                )
                then 'projection, sex, age, month'
        end as on_month
    from one_a_patient
),

-- Of the rest, as many of each projection, sex and decade.
of_decade as (
    select
        *,
        case
            when on_month is not null then on_month
            when
                $loosen >= 1
                and row_number() over (
                    partition by view, sex, decade, on_month, covid_status order by lot, SOPInstanceUID
                ) <= least(
                    count_if(on_month is null and covid_status = 'positive')
                        over (partition by view, sex, decade),
                    count_if(on_month is null and covid_status = 'negative')
                        over (partition by view, sex, decade)
                )
                then 'projection, sex, age'
        end as on_decade
    from of_month
),

-- Of the rest, as many of each projection and sex.
of_sex as (
    select
        *,
        case
            when on_decade is not null then on_decade
            when
                $loosen >= 2
                and row_number() over (partition by view, sex, on_decade, covid_status order by lot, SOPInstanceUID)
                <= least(
                    count_if(on_decade is null and covid_status = 'positive') over (partition by view, sex),
                    count_if(on_decade is null and covid_status = 'negative') over (partition by view, sex)
                )
                then 'projection, sex'
        end as on_sex
    from of_decade
),

-- Of the rest, as many of each projection.
of_projection as (
    select
        *,
        case
            when on_sex is not null then on_sex
            when
                $loosen >= 3
                and row_number() over (partition by view, on_sex, covid_status order by lot, SOPInstanceUID)
                <= least(
                    count_if(on_sex is null and covid_status = 'positive') over (partition by view),
                    count_if(on_sex is null and covid_status = 'negative') over (partition by view)
                )
                then 'projection'
        end as matched_on
    from of_sex
),

-- Films with a match.
matched as (
    select *
    from of_projection
    where matched_on is not null
)

select
    SOPInstanceUID,
    patient_id,
    StudyInstanceUID,
    StudyDate,
    ViewPosition,
    view,
    sex,
    nullif(decade, -1) as decade,
    centre,
    ManufacturerModelName,
    covid_status,
    days_from_swab,
    matched_on
from matched
