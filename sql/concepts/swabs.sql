-- swabs: one row per swab for SARS-CoV-2 in the record in effect.
-- A data file has the first positive swab and up to two RT-PCR tests, a status file one swab or a list. A swab without
-- day and result does not count. Two fields with the same day and the same result are one swab.
-- result is the cleaned field, Positive or Negative. If that is null, the submitted entry is searched, but only for
-- reasons not to call a patient negative: words for an inconclusive result, and the code 2 (outside the schema, which
-- has 0 and 1), are Indeterminate. Words for positive are Positive if the entry says nothing else than the test, its
-- strength and its date; with any other word or a question mark (false, possible, contact of a …) they are
-- Indeterminate. Words never make a swab Negative, and other entries are null.
-- covid_status is the status of the patient that the swab supports: positive, unless the record finally rules it out
-- (final_covid_status); negative, if nothing in a status record is or mentions positive; else null. A day with both a
-- positive and a negative swab supports neither.
-- Limits: a negative swab can miss the disease: of swabs from the nose, a third or more of those infected are missed
-- (Kucirka 2020, Ann Intern Med 173:262). Repeated swabs on the same day cannot be distinguished.
create or replace view swabs as
with
records as materialized (
    select
        source,
        key,
        patient_id,
        group_name,
        available_date,
        kind,
        date_of_positive_covid_swab,
        date_of_acquisition_of_1st_rt_pcr,
        date_of_result_of_1st_rt_pcr,
        first_rt_pcr_result,
        date_of_acquisition_of_2nd_rt_pcr,
        date_of_result_of_2nd_rt_pcr,
        second_rt_pcr_result,
        swabdate,
        swab_status,
        swabdates,
        final_covid_status
    from clinical
),

given as (
    select
        patient_id,
        'date_of_positive_covid_swab' as recorded_in,
        date_of_positive_covid_swab as swab_date,
        cast(null as date) as result_date,
        'Positive' as clean_result,
        cast(null as varchar) as result_field
    from records
    where date_of_positive_covid_swab is not null
    union all
    select
        patient_id,
        'first_rt_pcr' as recorded_in,
        date_of_acquisition_of_1st_rt_pcr as swab_date,
        date_of_result_of_1st_rt_pcr as result_date,
        first_rt_pcr_result as clean_result,
        '1st RT-PCR result' as result_field
    from records
    union all
    select
        patient_id,
        'second_rt_pcr' as recorded_in,
        date_of_acquisition_of_2nd_rt_pcr as swab_date,
        date_of_result_of_2nd_rt_pcr as result_date,
        second_rt_pcr_result as clean_result,
        '2nd RT-PCR result' as result_field
    from records
    union all
    select
        patient_id,
        'swabdate' as recorded_in,
        swabdate as swab_date,
        null as result_date,
        swab_status as clean_result,
        'SwabStatus' as result_field
    from records
    union all
    select
        patient_id,
        'swabdates' as recorded_in,
        swab.swabdate as swab_date,
        null as result_date,
        swab.swab_status as clean_result,
        'SwabDates[' || item || '].SwabStatus' as result_field
    from (
        select patient_id, unnest(swabdates) as swab, unnest(range(len(swabdates))) as item
        from records
        where len(swabdates) > 0
    )
),

-- Submitted results with a cleaning issue.
unread as (
    select records.patient_id, issues.field, any_value(issues.raw_value) as raw_value
    from clinical_issues as issues
    inner join records on issues.source = records.source and issues.key = records.key
    where issues.rule = 'not_a_result'
    group by records.patient_id, issues.field
),

-- mentions_positive: a word for positive that no word right before it denies, whatever else the entry says.
words as (
    select
        patient_id,
        field,
        raw_value,
        regexp_matches(
            regexp_replace(
                lower(raw_value),
                '\b(?:not?|non|never|nil|none|neither|nor|without|false(?:ly)?)\W+'
                || '(?:(?:yet|been|be|an?|any|sars|cov|covid|rna|virus|[0-9]+)\W+)*'
                || '(?:positive|pos|detected|reactive)\b',
                ' ', 'g'
            ),
            'positive|\bdetected|\breactive|\bpos\b|[+]'
        ) as mentions_positive,
        regexp_full_match(
            lower(raw_value),
            '(?:[^a-z?¿？]|\b(?:positive|pos|ve|detected|reactive|weak(?:ly)?|low|strong(?:ly)?|high|level|confirmed'
            || '|repeat|sars|cov|covid|coronavirus|virus|viral|rna|rt|pcr|gene|orf[0-9]?[ab]*|[ensx]|ct|value'
            || '|test(?:ed)?|swab|result|for|the|is|was|on|by|in|at'
            || '|nasal|nose|throat|np|nasopharyngeal|lab|laboratory)s?\b)*'
        ) as says_only_positive
    from unread
),

read_results as (
    select
        given.patient_id,
        given.recorded_in,
        given.swab_date,
        given.result_date,
        words.raw_value as unread_result,
        coalesce(words.mentions_positive, false) as mentions_positive,
        case
            when given.clean_result is not null then given.clean_result
            when
                regexp_full_match(trim(words.raw_value), '2(?:\.0*)?')
                or regexp_matches(words.raw_value, 'inconclusive|indeterminate|equivocal|borderline|invalid', 'i')
                then 'Indeterminate'
            when
                words.mentions_positive
                and not regexp_matches(words.raw_value, '(^|[^a-z])(not?|non|neg|nil|un)|undetect|awaited|pending', 'i')
                then case when words.says_only_positive then 'Positive' else 'Indeterminate' end
        end as result
    from given
    left join words on given.patient_id = words.patient_id and given.result_field = words.field
    where
        given.swab_date is not null
        or given.clean_result is not null
        or words.raw_value is not null
),

-- One row per swab.
merged as (
    select
        patient_id,
        swab_date,
        result,
        min(result_date) as result_date,
        min(unread_result) as unread_result,
        bool_or(mentions_positive) as mentions_positive,
        concat_ws(
            ', ',
            min(recorded_in) filter (recorded_in = 'date_of_positive_covid_swab'),
            min(recorded_in) filter (recorded_in = 'first_rt_pcr'),
            min(recorded_in) filter (recorded_in = 'second_rt_pcr'),
            min(recorded_in) filter (recorded_in = 'swabdate'),
            min(recorded_in) filter (recorded_in = 'swabdates')
        ) as recorded_in
    from read_results
    group by patient_id, swab_date, result, case when swab_date is null then recorded_in end
),

compared as (
    select
        *,
        coalesce(
            swab_date is not null
            and bool_or(result = 'Positive') over of_day
            and bool_or(result = 'Negative') over of_day,
            false
        ) as is_contradicted,
        coalesce(bool_or(result = 'Positive' or mentions_positive) over of_patient, false) as has_positive
    from merged
    window of_day as (partition by patient_id, swab_date), of_patient as (partition by patient_id)
)

select
    records.patient_id,
    records.group_name,
    records.available_date,
    records.source,
    records.key,
    records.kind,
    compared.swab_date,
    compared.result_date,
    compared.result,
    compared.unread_result,
    compared.recorded_in,
    compared.is_contradicted,
    case
        when
            records.kind = 'data'
            and compared.result = 'Positive'
            and not compared.is_contradicted
            and (records.final_covid_status is distinct from 'Negative')
            then 'positive'
        when
            records.kind = 'status'
            and compared.result = 'Negative'
            and not compared.has_positive
            and (records.final_covid_status is distinct from 'Positive')
            then 'negative'
    end as covid_status
from compared
inner join records on compared.patient_id = records.patient_id;
