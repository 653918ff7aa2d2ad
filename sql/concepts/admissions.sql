-- admissions: one row per patient with a data file: the stay in hospital in the record in effect.
-- Admission, intensive care, intubation and death with their days, and the last day on which the record shows the
-- patient alive. A day without the fact means that it happened; a fact that is denied and yet has a day is unknown and
-- marked as contradicted; a fact without a day is true and undated.
-- last_known_alive is the last day in the record on which the patient was alive: the field of that name, or the day of
-- an admission, an intubation, a film or a swab, if it is not later than the upload of the file or the death. The
-- upload itself is not evidence of survival. follow_up_end is the day of death, else last_known_alive.
-- is_plausible_order: nothing before admission, nothing after death or the upload; null with fewer than two days.
-- Limits: a single stay; that in a second hospital is in its own file. No times of day. Discharge is not recorded.
create or replace view admissions as
with
recorded as (
    select
        *,
        case
            when date_of_itu_admission is null then itu_admission
            when coalesce(itu_admission, true) then true
        end as was_in_itu,
        case
            when date_of_intubation is null then intubation
            when coalesce(intubation, true) then true
        end as was_intubated,
        case
            when date_of_death is null then death
            when coalesce(death, true) then true
        end as has_died
    from clinical
    where kind = 'data'
),

dated as (
    select
        *,
        case when was_in_itu then date_of_itu_admission end as itu_date,
        case when was_intubated then date_of_intubation end as intubation_date,
        case when has_died then date_of_death end as death_date
    from recorded
),

followed as (
    select
        *,
        list_max(list_filter(
            [
                date_last_known_alive,
                date_of_admission,
                itu_date,
                intubation_date,
                date_of_1st_cxr,
                date_of_2nd_cxr,
                date_of_positive_covid_swab,
                date_of_acquisition_of_1st_rt_pcr,
                date_of_acquisition_of_2nd_rt_pcr
            ],
            lambda day: day <= available_date and day <= coalesce(death_date, day)
        )) as last_known_alive
    from dated
)

select
    patient_id,
    group_name,
    available_date,
    source,
    key,
    date_of_admission as admission_date,
    was_in_itu,
    itu_date,
    was_intubated,
    intubation_date,
    has_died,
    death_date,
    last_known_alive,
    coalesce(death_date, last_known_alive) as follow_up_end,
    admission_date is not null as is_admission_dated,
    itu_date is not null as is_itu_dated,
    intubation_date is not null as is_intubation_dated,
    death_date is not null as is_death_dated,
    case
        when
            len(list_filter(
                [date_of_admission, itu_date, intubation_date, death_date], lambda day: day is not null
            )) > 1
            then
                coalesce(itu_date >= date_of_admission, true)
                and coalesce(intubation_date >= date_of_admission, true)
                and coalesce(death_date >= list_max([date_of_admission, itu_date, intubation_date]), true)
                and coalesce(death_date >= date_last_known_alive, true)
                and list_max([date_of_admission, itu_date, intubation_date, death_date]) <= available_date
    end as is_plausible_order,
    coalesce(not itu_admission and date_of_itu_admission is not null, false) as is_itu_contradicted,
    coalesce(not intubation and date_of_intubation is not null, false) as is_intubation_contradicted,
    coalesce(not death and date_of_death is not null, false) as is_death_contradicted
from followed;
