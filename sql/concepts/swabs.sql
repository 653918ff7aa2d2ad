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
-- Submitted results with a cleaning issue.
unread as (
    select source, key, field, any_value(raw_value) as raw_value
    from clinical_issues
    where rule = 'not_a_result'
    group by source, key, field
),

-- What each record in effect states of swabs. Which those are is found from few columns: finding it sorts all records, and
-- with all that is read here they would not fit into memory.
stated as (
    select
        source,
        key,
        patient_id,
        group_name,
        available_date,
        kind,
        final_covid_status,
        list_concat(
            [
                struct_pack(
                    recorded_in := 'date_of_positive_covid_swab',
                    swab_date := date_of_positive_covid_swab,
                    result_date := cast(null as date),
                    clean_result := case when date_of_positive_covid_swab is not null then 'Positive' end,
                    result_field := cast(null as varchar)
                ),
                struct_pack(
                    recorded_in := 'first_rt_pcr',
                    swab_date := date_of_acquisition_of_1st_rt_pcr,
                    result_date := date_of_result_of_1st_rt_pcr,
                    clean_result := first_rt_pcr_result,
                    result_field := '1st RT-PCR result'
                ),
                struct_pack(
                    recorded_in := 'second_rt_pcr',
                    swab_date := date_of_acquisition_of_2nd_rt_pcr,
                    result_date := date_of_result_of_2nd_rt_pcr,
                    clean_result := second_rt_pcr_result,
                    result_field := '2nd RT-PCR result'
                ),
                struct_pack(
                    recorded_in := 'swabdate',
                    swab_date := swabdate,
                    result_date := cast(null as date),
                    clean_result := swab_status,
                    result_field := 'SwabStatus'
                )
            ],
            list_transform(
                range(len(swabdates)),
                lambda item: struct_pack(
                    recorded_in := 'swabdates',
                    swab_date := swabdates[item + 1].swabdate,
                    result_date := cast(null as date),
                    clean_result := swabdates[item + 1].swab_status,
                    result_field := 'SwabDates[' || item || '].SwabStatus'
                )
            )
        ) as swabs
    from clinical_history
    semi join clinical on clinical_history.source = clinical.source and clinical_history.key = clinical.key
),

-- One row per swab that is stated; in a record with an unread result also for the fields that have nothing else.
given as (
    select
        source,
        key,
        patient_id,
        group_name,
        available_date,
        kind,
        final_covid_status,
        swab.recorded_in,
        swab.swab_date,
        swab.result_date,
        swab.clean_result,
        swab.result_field
    from (
        select
            stated.* exclude (swabs),
            unnest(list_filter(
                stated.swabs,
                lambda swab: swab['swab_date'] is not null or swab['clean_result'] is not null
                or of_unread.key is not null
            )) as swab
        from stated
        left join (select distinct source, key from unread) as of_unread
            on stated.source = of_unread.source and stated.key = of_unread.key
    )
),

-- mentions_positive: a word for positive that no word right before it denies, whatever else the entry says.
words as (
    select
        source,
        key,
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
        given.* exclude (clean_result, result_field),
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
    left join words on given.source = words.source and given.key = words.key and given.result_field = words.field
    where
        given.swab_date is not null
        or given.clean_result is not null
        or words.raw_value is not null
),

-- One row per swab; a patient has one record in effect, so that its other columns are the same in all of them.
merged as (
    select
        patient_id,
        any_value(group_name) as group_name,
        any_value(available_date) as available_date,
        any_value(source) as source,
        any_value(key) as key,
        any_value(kind) as kind,
        any_value(final_covid_status) as final_covid_status,
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
    is_contradicted,
    case
        when
            kind = 'data'
            and result = 'Positive'
            and not is_contradicted
            and (final_covid_status is distinct from 'Negative')
            then 'positive'
        when
            kind = 'status'
            and result = 'Negative'
            and not has_positive
            and (final_covid_status is distinct from 'Positive')
            then 'negative'
    end as covid_status
from compared;
