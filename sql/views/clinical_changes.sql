-- clinical_changes: one row per patient and column that differs between a clinical file and the file it superseded,
-- as of the as-of date: select * from clinical_changes where field = 'death' and new_value = 'true' dates deaths.
-- Files supersede each other in the order of view clinical, so a status file not earlier than the first data file was
-- never in effect and is not compared. Kind is compared too: a change from status to data is a row.
create or replace view clinical_changes as
with
counted as (
    select *
    from clinical_history
    qualify
        kind = 'data'
        or available_date < coalesce(
            min(case when kind = 'data' then available_date end) over (partition by patient_id), date '9999-12-31'
        )
),

chain as (
    select
        *,
        row_number() over (
            partition by patient_id
            order by kind = 'data', available_date, last_modified, key, source
        ) as place
    from counted
),

compared as (
    select
        newer.patient_id,
        newer.group_name,
        newer.available_date,
        older.key as old_key,
        newer.key as new_key,
        older.available_date as old_available_date,
        unnest(list_filter([
            {{ compared_fields }}
        ], lambda change: change is not null)) as change
    from chain as newer
    inner join chain as older on newer.patient_id = older.patient_id and newer.place = older.place + 1
)

select
    patient_id,
    group_name,
    available_date,
    change.field,
    change.old_value,
    change.new_value,
    old_key,
    new_key,
    old_available_date
from compared;
