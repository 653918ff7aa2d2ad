-- swabs: one row per swab for SARS-CoV-2 that the clinical file that counts speaks of.
-- A record with a data file names the swab that was first positive and up to two RT-PCR tests, one with a status file
-- one swab or a list. Two fields with the same day and the same result are one swab.
-- result is Positive or Negative as the field was cleaned. Where that came to nothing the entry itself is looked at, and
-- only for what keeps a patient from being called negative: words for neither are Indeterminate, as is the code 2
-- (beyond the schema, which has 0 and 1), words for positive are Positive. Words never make a swab Negative, and what
-- is not understood is null.
-- covid_status is what the swab shows of the patient: positive, where the record is not ruled out at last
-- (final_covid_status); negative, where nothing in a status record says positive; else null. A day with a positive and a
-- negative swab shows neither.
-- Limits: a negative swab can miss the disease: of swabs from the nose, a third or more of those infected are missed
-- (Kucirka 2020, Ann Intern Med 173:262). A swab is not told from a repetition of it on the same day.
create or replace view swabs as
with
given as (
    select
        source,
        key,
        'date_of_positive_covid_swab' as recorded_in,
        date_of_positive_covid_swab as swab_date,
        cast(null as date) as result_date,
        'Positive' as clean_result,
        cast(null as varchar) as result_field
    from clinical
    where date_of_positive_covid_swab is not null
    union all
    select
        source,
        key,
        'first_rt_pcr',
        date_of_acquisition_of_1st_rt_pcr,
        date_of_result_of_1st_rt_pcr,
        first_rt_pcr_result,
        '1st RT-PCR result'
    from clinical
    where coalesce(date_of_acquisition_of_1st_rt_pcr, date_of_result_of_1st_rt_pcr) is not null or first_rt_pcr_result is not null
    union all
    select
        source,
        key,
        'second_rt_pcr',
        date_of_acquisition_of_2nd_rt_pcr,
        date_of_result_of_2nd_rt_pcr,
        second_rt_pcr_result,
        '2nd RT-PCR result'
    from clinical
    where coalesce(date_of_acquisition_of_2nd_rt_pcr, date_of_result_of_2nd_rt_pcr) is not null or second_rt_pcr_result is not null
    union all
    select source, key, 'swabdate', swabdate, null, swab_status, 'SwabStatus'
    from clinical
    where kind = 'status' or swabdate is not null or swab_status is not null
    union all
    select source, key, 'swabdates', swab.swabdate, null, swab.swab_status, 'SwabDates[' || item || '].SwabStatus'
    from (
        select source, key, unnest(swabdates) as swab, unnest(range(len(swabdates))) as item
        from clinical
        where len(swabdates) > 0
    )
),

-- Entries of results that were not taken as they were.
unread as (
    select source, key, field, any_value(raw_value) as raw_value
    from clinical_issues
    where rule = 'not_a_result'
    group by source, key, field
),

read_results as (
    select
        given.* exclude (clean_result, result_field),
        unread.raw_value as unread_result,
        case
            when given.clean_result is not null then given.clean_result
            when
                trim(unread.raw_value) = '2'
                or regexp_matches(unread.raw_value, 'inconclusive|indeterminate|equivocal|borderline|invalid', 'i')
                then 'Indeterminate'
            when
                regexp_matches(unread.raw_value, 'positive|detected|reactive|(^|[^a-z])pos([^a-z]|$)|[+]', 'i')
                and not regexp_matches(unread.raw_value, '(^|[^a-z])(not?|non|neg|un)|undetect|negative|awaited|pending', 'i')
                then 'Positive'
        end as result
    from given
    left join unread on
        given.source = unread.source and given.key = unread.key and given.result_field = unread.field
    where
        coalesce(given.swab_date, given.result_date) is not null
        or given.clean_result is not null
        or unread.raw_value is not null
),

-- One row a swab.
merged as (
    select
        source,
        key,
        swab_date,
        result,
        min(result_date) as result_date,
        min(unread_result) as unread_result,
        string_agg(distinct recorded_in, ', ' order by recorded_in) as recorded_in
    from read_results
    group by source, key, swab_date, result, case when swab_date is null then recorded_in end
),

of_patients as (
    select
        clinical.patient_id,
        clinical.group_name,
        clinical.available_date,
        clinical.kind,
        clinical.final_covid_status,
        merged.*,
        merged.swab_date is not null
        and bool_or(merged.result = 'Positive') over of_day
        and bool_or(merged.result = 'Negative') over of_day as is_contradicted,
        coalesce(bool_or(merged.result = 'Positive') over (partition by clinical.patient_id), false) as has_positive
    from merged
    inner join clinical on merged.source = clinical.source and merged.key = clinical.key
    window of_day as (partition by clinical.patient_id, merged.swab_date)
)

select
    patient_id,
    group_name,
    available_date,
    source,
    key,
    kind,
    swab_date,
    result_date,
    result,
    unread_result,
    recorded_in,
    coalesce(is_contradicted, false) as is_contradicted,
    case
        when kind = 'data' and result = 'Positive' and not coalesce(is_contradicted, false)
            and final_covid_status is distinct from 'Negative' then 'positive'
        when kind = 'status' and result = 'Negative' and not has_positive
            and final_covid_status is distinct from 'Positive' then 'negative'
    end as covid_status
from of_patients;
